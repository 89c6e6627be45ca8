"""Where models run, so that they repeat themselves exactly."""

import os


def prepare_device() -> str:
    """Give the device to work on, "cuda" if there is one, and make it repeat itself exactly."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    return "cuda"
