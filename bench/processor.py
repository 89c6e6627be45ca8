"""Measures what pinning the instruction set costs, and what the portable kernels win back.

Four processes, unpinned and pinned, with and without `selma.core.kernels`, take turns in drawing a
batch of 50 pictures (12 steps, guidance 3) and in training for a few steps (rank 8, batch 32) with
the pocket model. The smallest time of each is what counts: other work only ever adds to it. On a
busy machine `--threads 1` measures seconds of computing instead of seconds.
"""

import argparse
import copy
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selma.core.processor import PINNED

ROOT = Path(__file__).parent.parent
BASE = "models/pocket/base"
VARIANTS = {
    "unpinned, stock kernels": ({}, "stock"),
    "unpinned, portable kernels": ({}, "portable"),
    "pinned, stock kernels": (PINNED, "stock"),
    "pinned, portable kernels": (PINNED, "portable"),
}
PICTURES, TRAIN_STEPS, TRAIN_BATCH = 50, 6, 32


def work(kernels: str, threads: int) -> None:
    """Do what each line of standard input asks for and answer with the seconds it took.

    On one thread these are seconds of computing, which other work on the machine hardly changes.
    """
    import torch

    from selma.core.kernels import use_portable_kernels

    torch.set_num_threads(threads)
    if kernels == "portable":
        use_portable_kernels()
    clock = time.process_time if threads == 1 else time.perf_counter
    tasks = {"draw": drawing(), "train": training()}
    for task in tasks.values():
        task()  # once to warm up
    print("ready", flush=True)
    for line in sys.stdin:
        start = clock()
        tasks[line.strip()]()
        print(clock() - start, flush=True)


def drawing() -> Callable[[], Any]:
    """Prepare to draw one batch."""
    from selma.diffusion.loading import load_backbone
    from selma.diffusion.sampling import draw_batch

    backbone = load_backbone(BASE, "float32", "cpu")
    prompts = [f"{k} red circles and a blue square" for k in range(PICTURES)]
    seeds = range(PICTURES)
    return lambda: draw_batch(prompts, seeds, backbone, guidance_scale=3.0, inference_steps=12)


def training() -> Callable[[], Any]:
    """Prepare to train an adapter for some steps."""
    import torch

    from selma.diffusion.loading import load_backbone
    from selma.training.moments import Examples
    from selma.training.trainer import train_experts

    backbone = load_backbone(BASE, "float32", "cpu")
    clean, shape = backbone.denoiser, (64, *backbone.latent_shape)
    examples = Examples(
        shards=[{"mean": torch.randn(shape), "deviation": torch.full(shape, 0.1)}],
        order=range(64),
        conditions={"text": torch.randn(64, 48, clean.config.cross_attention_dim)},
        condition_index=torch.arange(64),
        per_shard=64,
    )

    def train() -> None:
        backbone.denoiser = copy.deepcopy(clean)
        train_experts(
            backbone, {"bench": examples}, seed=0, rank=8, targets=None, learning_rate=1e-4,
            weight_decay=0.01, train_steps=TRAIN_STEPS, batch_size=TRAIN_BATCH,
            micro_batch_size=TRAIN_BATCH, max_gradient_norm=1.0, min_snr_gamma=None,
            average_decay=None, flip=False, select=None,
        )  # fmt: skip

    return train


def start(environment: dict[str, str], kernels: str, threads: int) -> "subprocess.Popen[str]":
    """Start a process that waits for work."""
    clean = {name: value for name, value in os.environ.items() if name not in PINNED}
    return subprocess.Popen(
        [sys.executable, __file__, "--work", kernels, "--threads", str(threads)],
        env={**clean, **environment}, cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def main() -> None:
    """Let the variants take turns and print their speed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", choices=("stock", "portable"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work, args.threads)
        return
    running = {name: start(*how, args.threads) for name, how in VARIANTS.items()}
    for process in running.values():
        assert process.stdout is not None
        process.stdout.readline()
    amounts = {"draw": PICTURES, "train": TRAIN_STEPS * TRAIN_BATCH}
    best: dict[tuple[str, str], float] = {}
    for _ in range(args.rounds):
        for task in amounts:
            for name, process in running.items():
                assert process.stdin is not None and process.stdout is not None
                print(task, file=process.stdin, flush=True)
                seconds = float(process.stdout.readline())
                best[task, name] = min(seconds, best.get((task, name), seconds))
    for process in running.values():
        process.communicate()
    first = next(iter(VARIANTS))
    for task, amount in amounts.items():
        for name in VARIANTS:
            ratio = best[task, name] / best[task, first]
            speed = amount / best[task, name]
            print(f"{task:6} {name:28} {speed:7.1f} per second, time x {ratio:.2f}")


if __name__ == "__main__":
    main()
