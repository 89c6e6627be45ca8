"""How fast a training is, and how much of the machine it uses."""

import resource
import time
from collections.abc import Callable
from typing import Any

from selma.diffusion.backbone import Backbone

# What the makers give for products in half precision without sparsity, in operations a second.
PEAKS = {
    "H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L40": 181e12, "A10": 125e12,
}  # fmt: skip


def count_operations(action: Callable[[], Any]) -> int:
    """Run something and count its floating-point operations.

    A product of an addition and a multiplication counts as two. Norms, activations and additions
    are not counted; they take time, but next to no arithmetic.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter, torch.set_grad_enabled(True):
        action()
    return int(counter.get_total_flops())


def gpu_peak() -> float | None:
    """Look up this process's GPU in `PEAKS`; None if it is not there."""
    import torch

    words = torch.cuda.get_device_name().replace("-", " ").split()
    return next((peak for name, peak in PEAKS.items() if name in words), None)


class Meter:
    """Measures a training from when it is made; call it after each step."""

    def __init__(self, backbone: Backbone, samples: int, operations: float) -> None:
        """`samples` of a step, and the `operations` of each."""
        self._backbone, self._samples, self._operations = backbone, samples, operations
        self._steps, self._started = 0, time.monotonic()

    def __call__(self) -> None:
        """Count one step."""
        self._steps += 1

    def figures(self) -> dict[str, float]:
        """Samples a second, operations a second, bytes of memory at the peak, share of the GPU's.

        The last is the model-FLOP utilisation (PaLM, arXiv 2204.02311, appendix B), for a GPU of
        `PEAKS` in half precision.
        """
        import torch

        elapsed = max(time.monotonic() - self._started, 1e-9)
        speed = self._steps * self._samples / elapsed
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        figures = {"samples_per_second": speed, "flops_per_second": speed * self._operations}
        if self._backbone.device == "cuda":
            peak = torch.cuda.max_memory_allocated()
            known = gpu_peak()
            if known and self._backbone.denoiser.dtype != torch.float32:
                figures["model_flop_utilisation"] = figures["flops_per_second"] / known
        return {**figures, "peak_memory_bytes": float(peak)}


def in_words(figures: dict[str, float]) -> str:
    """Write a meter's figures for a log line."""
    words = [
        f"{figures['samples_per_second']:.3g} samples/s",
        f"{figures['flops_per_second'] / 1e9:.3g} GFLOP/s",
        f"peak memory {figures['peak_memory_bytes'] / 2**30:.1f} GiB",
    ]
    if "model_flop_utilisation" in figures:
        words.insert(2, f"{100 * figures['model_flop_utilisation']:.0f} % of the GPU's peak")
    return ", ".join(words)
