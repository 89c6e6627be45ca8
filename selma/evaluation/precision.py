"""Where the scorers run, and in which precision: float32, whatever their files hold."""

import contextlib
from collections.abc import Iterator
from typing import Any

from selma.choices import choose
from selma.errors import ConfigError

DEVICES = ("cpu", "cuda")


def check_device(device: str) -> None:
    """Check that torch can use a device.

    Raises:
        ConfigError: it is none of `DEVICES`, or torch does not find it.
    """
    import torch

    choose("device", device, dict.fromkeys(DEVICES))
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda': torch finds no CUDA device; use 'cpu'")


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
