import os

# The processor is pinned before anything loads numpy or torch.
from selma.core.processor import pin_processor

pin_processor()
os.environ.setdefault("SELMA_PROCESSES", "1")  # tests that want more say so

import pytest  # noqa: E402
from tiny_world import write_models  # noqa: E402


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    """A folder with models/pocket of untrained weights; tests copy it and leave it as it is."""
    folder = tmp_path_factory.mktemp("tiny")
    write_models(folder)
    return folder
