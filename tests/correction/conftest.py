"""Folders of tiny models, written once."""

import pytest
import tiny_vision


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A function that gives the folder of a tiny model by its kind."""
    written = {}

    def folder(kind):
        if kind not in written:
            path = tmp_path_factory.mktemp(kind)
            getattr(tiny_vision, f"write_{kind}")(path)
            written[kind] = path
        return written[kind]

    return folder
