import pytest


@pytest.fixture
def world(tmp_path, monkeypatch):
    """An empty folder to run stages in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def with_models(world, tiny_models):
    """The same folder with models/pocket, which tests leave as it is."""
    (world / "models").mkdir()
    (world / "models/pocket").symlink_to(tiny_models / "models/pocket", target_is_directory=True)
    return world


@pytest.fixture
def one_thread():
    """Torch works with one thread before a test and after it."""
    import torch

    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)
