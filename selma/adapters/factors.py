"""One layer's LoRA factors, and an adapter of many layers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from selma.adapters.linear_algebra import product
from selma.core.errors import AdapterMismatchError

if TYPE_CHECKING:
    import torch


LOW, HIGH = 2.0**-7, 2.0**12  # numbers 100 times smaller than LOW are float16's subnormal ones


@dataclass(frozen=True)
class LoraFactors:
    """One layer's update ΔW = scale · B A, with lora_b = B (out, r) and lora_a = A (r, in).

    A convolution's `in` is channels · height · width of its `kernel`, flattened; merging is the
    same for both. None: a linear layer.
    """

    lora_a: "torch.Tensor"
    lora_b: "torch.Tensor"
    scale: float = 1.0
    kernel: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse factors that are no matrices, or differ in rank or have none, with an error."""
        a, b = tuple(self.lora_a.shape), tuple(self.lora_b.shape)
        if len(a) != 2 or len(b) != 2 or a[0] != b[1] or not a[0]:
            raise AdapterMismatchError(
                f"LoRA factors A {a} and B {b} do not fit: expected (rank, in) and (out, rank)"
            )

    @property
    def rank(self) -> int:
        """r, the number of rows of A."""
        return int(self.lora_a.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of ΔW as a matrix: (out, in)."""
        return int(self.lora_b.shape[0]), int(self.lora_a.shape[1])

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of the layer's own weight: (out, in), or (out, channels, height, width)."""
        out, inside = self.shape
        kernel = self.kernel or ()
        return (out, inside // math.prod(kernel), *kernel)

    def to(self, *where: Any) -> "LoraFactors":
        """Move or cast both factors, as `torch.Tensor.to` does."""
        return replace(self, lora_a=self.lora_a.to(*where), lora_b=self.lora_b.to(*where))

    def cast(self, dtype: "torch.dtype") -> "LoraFactors":
        """Fold the scale into B and round to a type; the scale is then 1.

        float16 has few exponents: where digits would be lost because a factor's largest number is
        so small or large, a power of two goes from one factor to the other, which is exact.
        """
        import torch

        a, b = self.lora_a, self.lora_b
        if self.scale == 1 and a.dtype == b.dtype == dtype:
            return LoraFactors(a, b, kernel=self.kernel)
        a, b = a.double(), self.scale * b.double()
        if dtype is torch.float16 and not (_holds(dtype, a) and _holds(dtype, b)):
            tops = float(a.abs().max()), float(b.abs().max())
            possible = all(0 < top < math.inf for top in tops)
            if possible and not all(LOW < top < HIGH for top in tops):
                shift = 2.0 ** round(math.log2(tops[1] / tops[0]) / 2)
                a, b = a * shift, b / shift
        return LoraFactors(a.to(dtype), b.to(dtype), kernel=self.kernel)

    def delta(self) -> "torch.Tensor":
        """Multiply out the dense update ΔW (out, in), in float64."""
        return self.scale * product(self.lora_b.double(), self.lora_a.double())


Adapter = Mapping[str, LoraFactors]  # per layer: component and module, ``unet.mid_block…to_q``


def _holds(dtype: "torch.dtype", tensor: "torch.Tensor") -> bool:
    return tensor.to(dtype).double().equal(tensor)
