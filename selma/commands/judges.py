"""`selma judges`: does a result depend on the model that judged it."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.commands.compare import about_scores, add_bootstrap_options
from selma.commands.text_table import (
    DIFFERENCE,
    NO_VARIATION,
    NO_WIDTH,
    VERDICT,
    Columns,
    interval_of,
    number_of,
    text_of,
    text_table,
)
from selma.core.errors import ConfigError

if TYPE_CHECKING:
    from selma.comparing.agreement import Judged

CONCLUSIONS = {
    "none decides": "No judge decides.",
    "same": "All judges come to the same verdict.",
    "reversed": "The judges contradict each other: one finds A better, another finds it worse.",
    "not all decided": "Not all judges find the difference; none contradicts another. Whether they "
    "see different ones is what the shifts test.",
}
MEANS: Columns = {
    "model": text_of("model"),
    "judge": text_of("judge"),
    "mean": number_of("score"),
    "interval": interval_of("low", "high"),
    "standard error": number_of("standard_error"),
}
TWO_JUDGES: Columns = {"first": text_of("first"), "second": text_of("second")}
PAIRS: Columns = {
    **TWO_JUDGES,
    "first − second": number_of("difference", sign="+"),
    **DIFFERENCE,
    "Pearson": number_of("pearson", 3),
    "Spearman": number_of("spearman", 3),
    "equal questions, %": number_of("equal_questions", 2, factor=100),
    "kappa": number_of("kappa", 3),
}
DIFFERENCES: Columns = {
    "judge": text_of("judge"),
    "A − B": number_of("difference", sign="+"),
    **DIFFERENCE,
    **VERDICT,
}
SHIFTS: Columns = {**TWO_JUDGES, "shift": number_of("difference", sign="+"), **DIFFERENCE}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "judges",
        help="how much scores, and the difference of two models, depend on the judge",
        description="Lays several judges' scores of the same pictures side by side. With --against "
        "also the difference of two models, A − B, under each judge.",
    )
    add = parser.add_argument
    add("scores", type=Path, nargs="+", metavar="A.parquet", help="one per judge")
    words = "another model's scores by the same judges"
    add("--against", type=Path, nargs="+", default=[], metavar="B.parquet", help=words)
    add_bootstrap_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print means, agreement and, with --against, the differences and verdicts by judge."""
    from selma.comparing import agreement
    from selma.comparing.statistics import Bootstrap

    how = Bootstrap(args.resamples, args.confidence, args.seed)
    if len(args.scores) < 2:
        raise ConfigError("judges: expected score files of at least two judges, got one")
    first = _judged("A", args.scores)
    result: dict[str, Any] = {
        "judges": agreement.judge_means(first, how),
        "pairs": agreement.judge_pairs(first, how),
    }
    if args.against:
        second = _judged("B", args.against)
        differences = agreement.model_differences(first, second, how)
        result |= {
            "judges_against": agreement.judge_means(second, how),
            "differences": differences,
            "shifts": agreement.judge_shifts(first, second, how),
            "conclusion": agreement.conclusion(differences),
        }
    if args.json:
        print(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(_text(result))
    return 0


def _judged(model: str, paths: Sequence[Path]) -> "list[Judged]":
    from selma.comparing.agreement import judged_tables
    from selma.core.tables import read_table

    abouts = {path: about_scores(path) for path in paths}
    if len({about["metric"] for about in abouts.values()}) > 1:
        held = ", ".join(f"{path} holds {about['metric']}" for path, about in abouts.items())
        raise ConfigError(f"judges: expected one metric, but {held}")
    return judged_tables(model, [(read_table(path, "scores"), abouts[path]) for path in paths])


def _text(result: dict[str, Any]) -> str:
    means, others = result["judges"], result.get("judges_against", [])
    blocks = [
        f"{means[0]['measure']}, {means[0]['unit']}: {means[0]['n_items']} prompts, "
        f"{means[0]['n_pictures']} pictures, {means[0]['n_questions']} questions, each judge",
        text_table(MEANS, means + others),
        f"How far two judges agree on A's pictures\n{text_table(PAIRS, result['pairs'])}",
    ]
    if "differences" in result:
        blocks += [
            "The difference of the models under each judge\n"
            + text_table(DIFFERENCES, result["differences"]),
            "How far the difference shifts with the judge: A − B under first, less that under "
            f"second\n{text_table(SHIFTS, result['shifts'])}",
            CONCLUSIONS[result["conclusion"]],
        ]
    rows = [row for rows in result.values() if isinstance(rows, list) for row in rows]
    if any(row["high"] - row["low"] < NO_WIDTH for row in rows):
        blocks.append(NO_VARIATION)
    return "\n\n".join(blocks)
