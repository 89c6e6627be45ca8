"""`selma plan`: what a run needs in work, disk and money, beside what the last one took."""

import argparse
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.errors import ConfigError

if TYPE_CHECKING:
    from selma.checking.plan import Paid, Work

DEVICE = "H100"


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("plan", help="say what a run will cost, before it runs")
    command.add_argument("--params", type=Path, default=Path("params.yaml"))
    command.add_argument("--each", action="store_true", help="a line for each stage")
    command.add_argument("--device", default=DEVICE, help="the GPU of the planned time")
    for name, what in (("in", "read"), ("out", "written")):
        text = f"USD for a million tokens {what} by a hosted model"
        command.add_argument(f"--price-{name}", type=float, help=text)
    text = "tokens that a hosted judge counts for a picture"
    command.add_argument("--picture-tokens", type=int, help=text)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print one line for each kind of stage, or for each stage, and what it comes to."""
    from selma.checking.plan import plan_work, stages_to_run
    from selma.commands.text_table import text_table
    from selma.core.choices import choose
    from selma.runtime.params import load_params
    from selma.tracking.journals import last_seconds
    from selma.training.speed import PEAKS

    peak = choose("device", args.device, PEAKS)
    if (args.price_in is None) != (args.price_out is None):
        raise ConfigError("--price-in, --price-out: one is given; expected both or none")
    for name in ("price_in", "price_out", "picture_tokens"):
        if not (getattr(args, name) or 0) >= 0:
            option = name.replace("_", "-")
            raise ConfigError(f"--{option}: expected at least 0, got {getattr(args, name)}")
    root = Path()
    params = load_params(args.params)
    works = list(plan_work(root, args.params, params))
    waiting, took = stages_to_run(root), last_seconds(root / ".selma/runs")
    groups: dict[str, list[Work]] = {}
    for work in works:
        groups.setdefault(work.stage if args.each else _kind(work), []).append(work)
    records = [
        _record(name, group, waiting, took, peak, args.each) for name, group in groups.items()
    ]
    names = dict.fromkeys(key for record in records for key in record)
    columns = {
        f"{args.device}, arithmetic" if name == "time" else name: _cell(name) for name in names
    }
    print(text_table(columns, records))
    to_run = [work for work in works if work.stage in waiting]
    print(f"\nto run: {len(to_run)} of {len(works)} stages, {_work(to_run, peak, args.device)}")
    for line in [*_money(to_run, args), *_budget(root, params.llm.budget_usd), *_notes(works)]:
        print(line)


def _kind(work: "Work") -> str:
    return work.stage.partition("@")[0]


def _cell(name: str) -> Any:
    return lambda record, digits: record[name]


def _record(
    name: str, works: "Sequence[Work]", waiting: Collection[str], took: Mapping[str, float],
    peak: float, each: bool,
) -> dict[str, str]:  # fmt: skip
    """Say in words what of these stages is to be done, and what all of them took."""
    from selma.checking.plan import SHARE
    from selma.runtime.progress import duration

    to_run = [work for work in works if work.stage in waiting]
    operations = sum(work.operations or 0 for work in to_run)
    disk = sum(work.disk for work in to_run)
    paid = [work.paid for work in to_run if work.paid is not None]
    known = [work for work in works if work.stage in took]
    seconds = sum(took[work.stage] for work in known)
    done = sum(work.operations or 0 for work in known)
    share = "" if each else f" ({len(known)} of {len(works)})"
    return {
        "stage": name,
        "to run": str(len(to_run)),
        "cached": str(len(works) - len(to_run)),
        "work": f"{sum(work.number or 0 for work in to_run):,} {works[0].what}",
        "TFLOP": f"{operations / 1e12:,.1f}" if operations else "–",
        "time": duration(operations / (SHARE * peak)) if operations else "–",
        "disk": _bytes(disk) if disk else "–",
        "LLM tokens": f"{sum(p.tokens_in + p.tokens_out for p in paid):,}" if paid else "–",
        "took": duration(seconds) + share if known else "–",
        "TFLOP/s": f"{done / seconds / 1e12:.3g}" if done and seconds else "–",
    }


def _work(to_run: "Sequence[Work]", peak: float, device: str) -> str:
    from selma.checking.plan import SHARE
    from selma.runtime.progress import duration

    operations = sum(work.operations or 0 for work in to_run)
    held = max((work.scratch for work in to_run), default=0.0)
    time = duration(operations / (SHARE * peak))
    return (
        f"{operations / 1e12:,.1f} TFLOP, {time} at {SHARE:.0%} of {device}'s half precision\n"
        f"disk: {_bytes(sum(work.disk for work in to_run))} of results, and at most {_bytes(held)} "
        "more while one training works"
    )


def _money(to_run: "Sequence[Work]", args: argparse.Namespace) -> list[str]:
    """One line for each hosted model."""
    from selma.llm.prices import Price

    asked: dict[str, list[Paid]] = {}
    for work in to_run:
        if work.paid is not None:
            asked.setdefault(work.paid.model, []).append(work.paid)
    lines = []
    for model, paid in sorted(asked.items()):
        pictures = sum(one.pictures for one in paid)
        into = sum(one.tokens_in for one in paid) + pictures * (args.picture_tokens or 0)
        out = sum(one.tokens_out for one in paid)
        unknown = " without the pictures" if pictures and args.picture_tokens is None else ""
        price = paid[0].price
        if args.price_in is not None:
            price = Price(model, "as given", (args.price_in, args.price_out))
        cost = f"price unknown (llm.price, or --price-in and --price-out){unknown}"
        if price is not None:
            cost = f"about {price.usd(into, out):,.2f} USD{unknown} ({price.source})"
        lines.append(
            f"LLM {model}: at least {sum(one.requests for one in paid):,} requests, "
            f"{into:,} tokens in, {out:,} out; {cost}"
        )
        if unknown:
            lines.append(f"  {pictures:,} pictures are sent: --picture-tokens counts them")
    return lines


def _budget(root: Path, limit_usd: float | None) -> list[str]:
    """What is left to spend on prompts, if there is a limit."""
    from selma.llm.budget import LEDGER, Budget

    if limit_usd is None:
        return []
    spent = Budget(root / LEDGER, limit_usd).look() if (root / LEDGER).exists() else 0.0
    return [f"llm.budget_usd: ${spent:.4f} of ${limit_usd:g} are spent in this working copy"]


def _notes(works: "Sequence[Work]") -> list[str]:
    """What the figures leave out."""
    notes = []
    if any(work.operations is None and _kind(work) == "lora" for work in works):
        notes.append("operations and disk are not counted: the backbone's folder holds no U-Net")
    if any(work.number is None for work in works):
        notes.append("a benchmark is not there yet: its pictures and questions are not counted")
    if any(work.paid is not None for work in works):
        notes.append(
            "tokens: a quarter of the characters of the texts; retries come on top, and what is in "
            "the transcript already is not taken off"
        )
    return [*notes, "operations not counted: judges, scorers, text encoders, merges"]


def _bytes(number: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number / 1e3:.1f} kB"
