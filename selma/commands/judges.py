"""`selma judges`: does a result depend on the model that judged it."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.commands.compare import add_bootstrap_options, bootstrap_of, metric_of, read_scores
from selma.commands.text_table import (
    NO_VARIATION,
    NO_WIDTH,
    interval,
    plain,
    short_hashes,
    signed,
    text_table,
)
from selma.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from selma.comparing.agreement import Judged
    from selma.comparing.comparison import Record

CONCLUSIONS = {
    "none decides": "No judge decides.",
    "same": "All judges come to the same verdict.",
    "reversed": "The judges contradict each other: one finds A better, another finds it worse.",
    "not all decided": "Not all judges find the difference; none contradicts another. Whether they "
    "see different ones is what the shifts test.",
}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "judges",
        help="how much scores, and the difference of two models, depend on the judge",
        description="Lays several judges' scores of the same pictures side by side. With --against "
        "also the difference of two models, A − B, under each judge.",
    )
    parser.add_argument("scores", type=Path, nargs="+", metavar="A.parquet", help="one per judge")
    parser.add_argument(
        "--against", type=Path, nargs="+", default=[], metavar="B.parquet",
        help="another model's scores by the same judges",
    )  # fmt: skip
    add_bootstrap_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print means, agreement and, with --against, the differences and verdicts by judge."""
    from selma.comparing.agreement import (
        conclusion,
        judge_means,
        judge_pairs,
        judge_shifts,
        model_differences,
    )

    bootstrap = bootstrap_of(args)
    if len(args.scores) < 2:
        raise ConfigError("judges: expected score files of at least two judges, got one")
    first = _judged("A", args.scores)
    result: dict[str, Any] = {
        "judges": judge_means(first, bootstrap),
        "pairs": judge_pairs(first, bootstrap),
    }
    if args.against:
        second = _judged("B", args.against)
        differences = model_differences(first, second, bootstrap)
        result |= {
            "judges_against": judge_means(second, bootstrap),
            "differences": differences,
            "shifts": judge_shifts(first, second, bootstrap),
            "conclusion": conclusion(differences),
        }
    if args.json:
        print(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(_text(result))
    return 0


def _judged(model: str, paths: "Sequence[Path]") -> "list[Judged]":
    from selma.comparing.agreement import judged_tables

    metrics = {metric_of(path): path for path in paths}
    if len(metrics) > 1:
        told = ", ".join(f"{path} holds {metric}" for metric, path in sorted(metrics.items()))
        raise ConfigError(f"judges: expected one metric, but {told}")
    return judged_tables(model, [read_scores(path) for path in paths])


def _text(result: "dict[str, Any]") -> str:
    means = result["judges"]
    digits = 2 if means[0]["unit"] == "percent" else 4
    blocks = [
        f"{means[0]['metric']}, {means[0]['unit']}: {means[0]['n_items']} prompts, "
        f"{means[0]['n_pictures']} pictures, {means[0]['n_questions']} questions, each judge",
        _means(means + result.get("judges_against", []), digits),
        _pairs(result["pairs"], digits),
    ]
    if "differences" in result:
        blocks += [
            _differences(result["differences"], digits),
            _shifts(result["shifts"], digits),
            CONCLUSIONS[result["conclusion"]],
        ]
    rows = [row for rows in result.values() if isinstance(rows, list) for row in rows]
    if any(row["high"] - row["low"] < NO_WIDTH for row in rows):
        blocks.append(NO_VARIATION)
    return "\n\n".join(blocks)


def _means(records: "Sequence[Record]", digits: int) -> str:
    header = ["model", "judge", "mean", "interval", "standard error"]
    rows = [
        [
            r["model"],
            short_hashes(r["judge"]),
            plain(r["score"], digits),
            interval(r["low"], r["high"], digits),
            plain(r["standard_error"], digits),
        ]
        for r in records
    ]
    return text_table(header, rows)


def _pairs(records: "Sequence[Record]", digits: int) -> str:
    header = ["first", "second", "first − second", "interval", "p",
              "Pearson", "Spearman", "equal questions, %", "kappa"]  # fmt: skip
    rows = [
        [
            *_change(r, digits),
            plain(r["pearson"], 3),
            plain(r["spearman"], 3),
            plain(None if r["equal_questions"] is None else 100 * r["equal_questions"], 2),
            plain(r["kappa"], 3),
        ]
        for r in records
    ]
    return "How far two judges agree on A's pictures\n" + text_table(header, rows)


def _differences(records: "Sequence[Record]", digits: int) -> str:
    header = ["judge", "A − B", "interval", "p", "wins/ties/losses", "prompts", "detectable",
              "verdict"]  # fmt: skip
    rows = [
        [
            short_hashes(r["judge"]),
            signed(r["difference"], digits),
            interval(r["low"], r["high"], digits, sign=True),
            plain(r["p_value"], 4),
            f"{r['wins']}/{r['ties']}/{r['losses']}",
            str(r["n_items"]),
            plain(r["minimum_detectable_effect"], digits),
            r["verdict"],
        ]
        for r in records
    ]
    return "The difference of the models under each judge\n" + text_table(header, rows)


def _shifts(records: "Sequence[Record]", digits: int) -> str:
    header = ["first", "second", "shift", "interval", "p"]
    rows = [_change(record, digits) for record in records]
    title = (
        "How far the difference shifts with the judge: A − B under first, less that under second"
    )
    return f"{title}\n{text_table(header, rows)}"


def _change(record: "Record", digits: int) -> list[str]:
    return [
        short_hashes(record["first"]),
        short_hashes(record["second"]),
        signed(record["difference"], digits),
        interval(record["low"], record["high"], digits, sign=True),
        plain(record["p_value"], 4),
    ]
