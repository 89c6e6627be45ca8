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


@pytest.fixture(scope="session")
def tiny_backbones(tmp_path_factory):
    """A folder with untrained backbones of two families, sd1 and sdxl; tests leave it as it is."""
    from selma.diffusion.tiny import write_tiny_backbone

    folder = tmp_path_factory.mktemp("backbones")
    for kind in ("sd1", "sdxl"):
        write_tiny_backbone(kind, folder / kind)
    return folder


@pytest.fixture(scope="session")
def tiny_inpainting(tiny_backbones, tmp_path_factory):
    """A folder with their inpainting models, sd1-9 and sdxl-9, whose U-Nets have 9 channels."""
    from tiny_inpainting import INPAINTING, write_nine_channels

    folder = tmp_path_factory.mktemp("inpainting")
    for kind, name in INPAINTING.items():
        write_nine_channels(tiny_backbones / kind, folder / f"{kind}-9", name)
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A function that gives the folder of a tiny detector or segmenter by its kind."""
    import tiny_vision

    written = {}

    def folder(kind):
        if kind not in written:
            path = tmp_path_factory.mktemp(kind)
            getattr(tiny_vision, f"write_{kind}")(path)
            written[kind] = path
        return written[kind]

    return folder


@pytest.fixture(params=["sd1", "sdxl"])
def make_backbone(request, tiny_backbones):
    """A function that loads one of them anew."""
    from selma.diffusion.loading import load_backbone

    return lambda dtype="float32": load_backbone(str(tiny_backbones / request.param), dtype, "cpu")
