"""Where models run, in which precision, and so that they repeat themselves exactly.

Whatever computes with torch calls `prepare_device`, `set_threads` or `check_device` first, and so
gets the kernels of `selma.core.kernels`.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from selma.core import team
from selma.core.choices import choose, choose_name
from selma.core.errors import ConfigError
from selma.core.kernels import use_portable_kernels

if TYPE_CHECKING:
    import torch

DEVICES = ("cpu", "cuda")
DTYPES = ("bfloat16", "float16", "float32")  # that weights may have, on either device


def prepare_device() -> str:
    """Choose the device to work on, "cuda" if there is one, and make it repeat itself exactly.

    Each process of a team gets a GPU of its own, as far as there are enough; so a stage calls this
    after its processes have parted, which a GPU that is in use would not survive.
    """
    import torch

    use_portable_kernels()

    if not torch.cuda.is_available():
        return "cpu"
    torch.cuda.set_device(team.rank() % torch.cuda.device_count())
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    return "cuda"


def set_threads(threads: int) -> None:
    """Fix the number of CPU threads: sums, and so the last bits, depend on it."""
    import torch

    use_portable_kernels()

    torch.set_num_threads(threads)


def check_device(device: str) -> None:
    """Check that torch can use a device.

    Raises:
        ConfigError: it is none of `DEVICES`, or torch does not find it.
    """
    import torch

    use_portable_kernels()
    choose("device", device, dict.fromkeys(DEVICES))
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda': torch finds no CUDA device; use 'cpu'")


def torch_dtype(name: str) -> "torch.dtype":
    """Look up a precision of `DTYPES`; ConfigError if it is none of them."""
    import torch

    found: torch.dtype = getattr(torch, choose_name("dtype", name, DTYPES))
    return found


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Keep CUDA from rounding float32 factors to 10 bits (TF32), its default in convolutions."""
    from torch import backends

    convolution: Any = backends.cudnn.conv  # type: ignore[attr-defined]
    product = backends.cuda.matmul
    before = convolution.fp32_precision, product.fp32_precision
    convolution.fp32_precision = product.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolution.fp32_precision, product.fp32_precision = before
