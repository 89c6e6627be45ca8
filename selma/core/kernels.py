"""Replaces the torch kernels that are slow, or differ between processors, once these are pinned."""

import functools
import warnings
from typing import Any

_registrations: list[Any] = []  # kernels stay registered as long as these objects live


@functools.cache
def use_portable_kernels() -> None:
    """Replace some of torch's CPU kernels in this process, once and for all.

    1. Products of float32 matrices (`mm`, `addmm`: linear layers and their gradients) go to oneDNN.
       MKL gives the same bytes on Intel and AMD only with its slowest kernels, oneDNN with AVX2's.
    2. Square roots go to numpy, which rounds correctly. MKL's begin with the processor's estimate
       of 1/√x, which is another one for each maker; so do its log2, log10, atan, asin, acos and, in
       float64, its log and tan: nothing here may use those in torch.

    Other types, empty matrices and scaled sums stay with the kernels they had.
    """
    import numpy as np
    import torch

    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    product = torch.ops.mkldnn._linear_pointwise.default
    names = ("mm", "addmm", "sqrt", "sqrt_", "pow.Tensor_Scalar")
    stock = {name: torch.library.get_kernel(f"aten::{name}", "CPU").call_boxed for name in names}

    def fits(left: torch.Tensor, right: torch.Tensor) -> Any:
        float32 = left.dtype is right.dtype is torch.float32
        return float32 and left.shape[1] == right.shape[0] and left.numel() and right.numel()

    def mm(keys: Any, left: torch.Tensor, right: torch.Tensor) -> Any:
        if fits(left, right):
            return product(left, right.t(), None, "none", [], "")
        return stock["mm"](keys, left, right)

    def addmm(
        keys: Any, bias: torch.Tensor, left: torch.Tensor, right: torch.Tensor,
        *, beta: float = 1, alpha: float = 1,
    ) -> Any:  # fmt: skip
        plain = beta == alpha == 1 and bias.dtype is torch.float32
        if plain and bias.shape == right.shape[1:] and fits(left, right):
            return product(left, right.t(), bias, "none", [], "")
        return stock["addmm"](keys, bias, left, right, beta=beta, alpha=alpha)

    def sqrt(keys: Any, values: torch.Tensor) -> Any:
        if values.dtype not in (torch.float32, torch.float64):
            return stock["sqrt"](keys, values)
        with np.errstate(invalid="ignore"):
            return torch.from_numpy(np.asarray(np.sqrt(values.detach().numpy())))

    def sqrt_(keys: Any, values: torch.Tensor) -> Any:
        return values.copy_(sqrt(keys, values))

    def power(keys: Any, values: torch.Tensor, exponent: float) -> Any:
        if exponent == 0.5 and values.is_floating_point():
            return sqrt(keys, values)
        return stock["pow.Tensor_Scalar"](keys, values, exponent)

    library: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # that it overrides
        for name, kernel in zip(names, (mm, addmm, sqrt, sqrt_, power), strict=True):
            library.impl(name, kernel, "CPU", with_keyset=True, allow_override=True)
    _registrations.append(library)
