import pytest
from tiny_world import write_models


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    """A folder with models/pocket of untrained weights; tests copy it and leave it as it is."""
    folder = tmp_path_factory.mktemp("tiny")
    write_models(folder)
    return folder
