"""Compares the rank-space engine with a dense SVD: seconds for the SVD of one merged layer."""

import time
from collections.abc import Callable

import torch

from selma.merging.factors import LoraFactors
from selma.merging.lowrank import factor_svd, weighted_sum

EXPERTS = 5
REPEATS = 2
LAYERS = [  # (out, in, rank): attention layers of Stable Diffusion 1
    (320, 320, 16),
    (640, 640, 16),
    (1280, 1280, 16),
    (640, 640, 128),
    (1280, 1280, 128),
]


def best_time(work: Callable[[], object]) -> float:
    """Measure the least seconds of a few repetitions."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print one row per layer; both sides decompose the same float64 sum in this process."""
    print(f"SVD of the mean of {EXPERTS} experts, seconds (best of {REPEATS}), threads:", end=" ")
    print(torch.get_num_threads())
    print(f"{'layer':>12}{'rank':>6}{'dense':>10}{'engine':>10}{'ratio':>8}{'difference':>12}")
    generator = torch.Generator().manual_seed(0)
    for out, inside, rank in LAYERS:
        experts = [
            LoraFactors(
                torch.randn(rank, inside, generator=generator),
                torch.randn(out, rank, generator=generator),
            )
            for _ in range(EXPERTS)
        ]
        total = weighted_sum(experts, [1 / EXPERTS] * EXPERTS)
        dense = total.delta()
        slow = best_time(lambda dense=dense: torch.linalg.svd(dense, full_matrices=False))
        fast = best_time(lambda total=total: factor_svd(total))
        found = factor_svd(total).s
        want = torch.linalg.svdvals(dense)[: len(found)]
        difference = float((found - want).abs().max() / want[0])
        print(
            f"{f'{out}×{inside}':>12}{rank:6}{slow:10.3f}{fast:10.3f}{slow / fast:8.1f}"
            f"{difference:12.1e}"
        )


if __name__ == "__main__":
    main()
