"""`selma plan`: what a run would draw, train, ask and compute, and what the last one took."""

import argparse
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selma.checking.plan import Work


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("plan", help="say what a run will cost, before it runs")
    command.add_argument("--params", type=Path, default=Path("params.yaml"))
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print one line for each kind of stage, and the whole."""
    from selma.checking.plan import DEVICES, SHARE, plan_work, stages_to_run
    from selma.runtime.params import load_params
    from selma.runtime.progress import duration
    from selma.tracking.journals import last_seconds

    root = Path()
    works = list(plan_work(root, args.params, load_params(args.params)))
    waiting = stages_to_run(root)
    took = last_seconds(root / ".selma/runs")
    kinds = list(dict.fromkeys(_kind(work) for work in works))
    for kind in kinds:
        print(_line(kind, [w for w in works if _kind(w) == kind], waiting, took))
    to_run = [work for work in works if work.stage in waiting]
    operations = sum(work.operations or 0 for work in to_run)
    print(f"\nto run: {len(to_run)} of {len(works)} stages, {operations / 1e12:,.1f} TFLOP", end="")
    print(f", {sum(work.disk for work in to_run) / 1e9:.2f} GB of pictures")
    if operations:
        hours = ", ".join(
            f"{name} {duration(operations / (SHARE * peak))}" for name, peak in DEVICES.items()
        )
        print(f"that is, at {SHARE:.0%} of the makers' bfloat16 figures: {hours}")
    if any(work.operations is None and _kind(work) == "lora" for work in works):
        print("operations are not counted: the backbone's folder holds no U-Net's config")
    if any(work.number is None for work in works):
        print("a benchmark is not there yet: its pictures and questions are not counted")
    print("not counted: text encoders, judges, scorers, merges; what an LLM is paid")


def _kind(work: "Work") -> str:
    return work.stage.partition("@")[0]


def _line(
    kind: str, works: "Sequence[Work]", waiting: Collection[str], took: Mapping[str, float]
) -> str:
    from selma.runtime.progress import duration

    to_run = [work for work in works if work.stage in waiting]
    text = f"{kind + ':':13}{len(to_run)} of {len(works)} to run, "
    text += f"{sum(work.number or 0 for work in to_run):,} {works[0].what}"
    operations = sum(work.operations or 0 for work in to_run)
    if operations:
        text += f", {operations / 1e12:,.1f} TFLOP"
    known = [work for work in works if work.stage in took]
    if known:
        seconds = sum(took[work.stage] for work in known)
        text += f"; the last runs of {len(known)} took {duration(seconds)}"
    return text
