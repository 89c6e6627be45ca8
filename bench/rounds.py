"""What bench/train.py and bench/sample.py share: ways that take turns, the peak, the table."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from selma.training.speed import gpu_peak

OURS = "selma"
PEAK_PRODUCT = 2048  # rows and columns of the product that measures the peak


@dataclass
class Way:
    """One way to do the work; `run` does a round of it and returns the seconds for one item.

    `seconds` are what the rounds gave, None if the memory did not suffice; `memory` is the most
    that a round took of a GPU's, in bytes, beyond what was taken before.
    """

    name: str
    run: Callable[[], float]
    seconds: list[float] | None = field(default_factory=list)
    memory: int = 0

    def measure(self, device: str) -> float | None:
        """Do a round; None if the memory does not suffice."""
        import torch

        if device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        try:
            seconds = self.run()
        except torch.OutOfMemoryError:
            return None
        if device == "cuda":
            self.memory = max(self.memory, torch.cuda.max_memory_allocated() - before)
        return seconds


def clock(device: str, threads: int) -> Callable[[], float]:
    """Count seconds of computing on one thread, which other work hardly changes; else the time."""
    if device == "cpu":
        return time.process_time if threads == 1 else time.perf_counter

    def now() -> float:
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()

    return now


def take_turns(ways: Sequence[Way], rounds: int, device: str) -> None:
    """Measure the ways in turns, in one process, after a round to warm up."""
    for number in range(rounds + 1):
        for way in ways:
            if way.seconds is None:
                continue
            seconds = way.measure(device)
            if seconds is None:
                way.seconds = None
            elif number:
                way.seconds.append(seconds)


def measure_peak(args: Any, now: Callable[[], float]) -> float:
    """FLOP/s that the machine can do: of a big product, or as told, or as the GPU's maker says."""
    import torch

    if args.peak_tflops:
        return float(args.peak_tflops) * 1e12
    if args.device == "cuda":
        known = gpu_peak()
        if known is None or args.dtype == "float32":
            name = torch.cuda.get_device_name()
            raise SystemExit(f"bench: the peak of {name} is not known; give --peak-tflops")
        return known
    left, right = torch.randn(2, PEAK_PRODUCT, PEAK_PRODUCT, dtype=getattr(torch, args.dtype))
    times = []
    for _ in range(6):
        start = now()
        left @ right
        times.append(now() - start)
    return 2 * PEAK_PRODUCT**3 / min(times)


def print_table(ways: Sequence[Way], item: str, flops: float, peak: float) -> None:
    """Print a line per way: its speed, how many times as fast selma is, and its use of the peak.

    `flops` are the useful ones of an item, the same for all ways. A ratio is of medians, and in
    brackets the smallest and largest of single rounds.
    """
    width = max(len(way.name) for way in ways)
    ours = next(way for way in ways if way.name == OURS)
    print(f"{'':{width}}  {item + '/s':>10}  {'selma ÷ it':>20}  GFLOP/s  of peak  memory")
    for way in ways:
        if not way.seconds:
            print(f"{way.name:{width}}  out of memory")
            continue
        speed, ratio = 1 / statistics.median(way.seconds), ""
        if way is not ours and ours.seconds:
            each = [its / own for its, own in zip(way.seconds, ours.seconds, strict=True)]
            times = statistics.median(way.seconds) / statistics.median(ours.seconds)
            ratio = f"{times:.2f} ({min(each):.2f} to {max(each):.2f})"
        print(
            f"{way.name:{width}}  {speed:10.2f}  {ratio:>20}  {speed * flops / 1e9:7.1f}  "
            f"{100 * speed * flops / peak:5.1f} %  "
            + (f"{way.memory / 2**30:.1f} GiB" if way.memory else "")
        )
