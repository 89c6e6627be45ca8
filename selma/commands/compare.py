"""`selma compare`: is A better than B, by how much, and would a difference have been found."""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.commands.text_table import (
    NO_VARIATION,
    interval,
    plain,
    short_hashes,
    signed,
    text_table,
)
from selma.core.errors import ConfigError, MissingDataError, RecordError

if TYPE_CHECKING:
    from selma.comparing.comparison import Bootstrap, ItemScores, Record

SCORES = Path("data/scores")
REGRESSION_EXIT_CODE = 5  # 2, 3 and 4 are errors, see selma.core.errors
BY = ("source", "skill", "none")
RULE = """\
Intervals: {percent} % percentile bootstrap over prompts, {resamples:,} resamples; p: as many sign
flips of the prompts' differences. A verdict needs p ≤ {alpha:g} and an interval {beyond}.
The row "all" is judged by its own p; the rows below it, of one metric, are one family and judged by
the p adjusted by Holm's method. detectable: the true difference found with 80 % power."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "compare",
        help="A − B of scores on the same prompts, with intervals and verdicts",
        description="Compares the scores of two models' pictures on the same prompts, A − B. "
        "Exit code 5 with --fail-on-regression and a verdict that is worse.",
    )
    what = "score file, folder of score files, or NAME for data/scores/*/NAME.parquet"
    parser.add_argument("first", metavar="A", help=what)
    parser.add_argument("second", metavar="B", help="the same for the model it is measured against")
    parser.add_argument(
        "--by", choices=BY, default="source",
        help="also compare by the prompts' source, or by the skill a question asks for",
    )  # fmt: skip
    parser.add_argument(
        "--margin", type=float, default=0.0, metavar="X",
        help="a difference up to this, in the metric's unit, is neither better nor worse",
    )  # fmt: skip
    parser.add_argument(
        "--allow-partial", action="store_true", help="leave out prompts that only one has"
    )
    parser.add_argument(
        "--fail-on-regression", action="store_true",
        help=f"exit with {REGRESSION_EXIT_CODE} if A is worse, over all or on any skill",
    )  # fmt: skip
    add_bootstrap_options(parser)
    parser.set_defaults(run=run)


def add_bootstrap_options(parser: argparse.ArgumentParser) -> None:
    """Add --resamples, --confidence, --seed and --json."""
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--confidence", type=float, default=0.95, help="coverage of the intervals")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print all numbers unrounded")


def bootstrap_of(args: argparse.Namespace) -> "Bootstrap":
    """Check and give what `add_bootstrap_options` asked for.

    Raises:
        ConfigError: an option is out of range.
    """
    from selma.comparing.comparison import Bootstrap

    if not 0.5 < args.confidence < 1 or args.resamples < 100:
        raise ConfigError(
            "expected --confidence between 0.5 and 1 and --resamples of at least 100, got "
            f"{args.confidence} and {args.resamples}"
        )
    return Bootstrap(args.resamples, args.confidence, args.seed)


def run(args: argparse.Namespace) -> int:
    """Print the comparison; exit code 0, or `REGRESSION_EXIT_CODE`."""
    bootstrap = bootstrap_of(args)
    first, second = score_files(args.first), score_files(args.second)
    alone = sorted(set(first) ^ set(second))
    if alone:
        where = args.first if alone[0] in first else args.second
        raise RecordError(
            f"{args.first} and {args.second}: {alone[0]} is only in {where}; compare the same "
            "metrics of both"
        )
    if not 0 <= args.margin < math.inf or (args.margin and len(first) > 1):
        raise ConfigError(
            f"--margin: expected at least 0, finite, and one metric, for it is in its unit, got "
            f"{args.margin:g} and {', '.join(sorted(first))}"
        )
    records: list[Record] = []
    making: list[str] = []
    notes: list[str] = []
    for metric in sorted(first):
        found, made, said = _compare(metric, first[metric], second[metric], args, bootstrap)
        records += found
        making.append(made)
        notes += said
    worse = [f"{r['metric']} {r['skill']}" for r in records if r["verdict"] == "worse"]
    if args.json:
        about = {"first": args.first, "second": args.second, "by": args.by, "seed": args.seed}
        result = {**about, "comparisons": records, "notes": notes, "worse": worse}
        print(json.dumps(result, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False))
    else:
        print(_text(records, making, notes, args))
    if args.fail_on_regression and worse:
        print(f"selma: regression: {', '.join(worse)}", file=sys.stderr)
        return REGRESSION_EXIT_CODE
    return 0


def score_files(given: str) -> dict[str, Path]:
    """Find score files by metric.

    Args:
        given: a file, a folder that is searched with all below it, or NAME, which stands for
            data/scores/*/NAME.parquet.

    Raises:
        MissingDataError: there is none.
        RecordError: two files have one metric, or a file tells none.
    """
    path = Path(given)
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*.parquet")) if _holds_scores(file)]
    elif path.suffix == ".parquet":
        files = [path]
    else:
        files = sorted(SCORES.glob(f"*/{given}.parquet"))
    if not files:
        raise MissingDataError(
            f"{given}: expected a score file, a folder with score files, or a name such that "
            f"{SCORES}/*/{given}.parquet is there; found none"
        )
    found: dict[str, Path] = {}
    for file in files:
        metric = metric_of(file)
        if metric in found:
            raise RecordError(
                f"{given}: {found[metric]} and {file} both hold scores of {metric}; name one"
            )
        found[metric] = file
    return found


def metric_of(path: Path) -> str:
    """Give the metric that a scores table says it holds.

    Raises:
        MissingDataError: there is no such file.
        RecordError: it does not say.
    """
    from selma.core.tables import read_about

    metric = read_about(path).get("metric")
    if not isinstance(metric, str):
        raise RecordError(
            f"{path}: does not tell its metric, so it holds no scores; score it again"
        )
    return metric


def _holds_scores(path: Path) -> bool:
    from selma.core.tables import read_about

    return "metric" in read_about(path)


def _compare(
    metric: str, first: Path, second: Path, args: argparse.Namespace, bootstrap: "Bootstrap"
) -> "tuple[list[Record], str, list[str]]":
    """Compare two score files; also say how they were made, and what a reader should know."""
    from selma.comparing.comparison import (
        ALL_SKILLS,
        check_same_making,
        difference,
        on_common_items,
    )
    from selma.comparing.verdicts import add_verdicts

    one, other = _parts(metric, first, args.by), _parts(metric, second, args.by)
    check_same_making(one[ALL_SKILLS], other[ALL_SKILLS])
    kept, kept_other, alone = on_common_items(
        one[ALL_SKILLS], other[ALL_SKILLS], allow_partial=args.allow_partial
    )
    notes = _notes(metric, (first, second), (kept, kept_other), alone)
    if args.by == "skill" and len(one) == 1:
        notes.append(f"{metric}: asks no questions, so it has no skills; --by source splits it")
    records = []
    for part in [name for name in one if name in other]:
        if set(one[part].item_ids) & set(other[part].item_ids):
            a, b, _ = on_common_items(one[part], other[part], allow_partial=args.allow_partial)
            record = difference(a, b, part, bootstrap, args.margin)
            records.append({**record, "by": args.by, "first": a.mean, "second": b.mean})
    lost = sorted({*one, *other} - {record["skill"] for record in records})
    if lost and not args.allow_partial:
        raise RecordError(f"{first} and {second}: only one has {args.by} {lost[0]!r}; score both "
                          "on one benchmark, or allow a partial comparison")  # fmt: skip
    return add_verdicts(records), _making(metric, kept, kept_other), notes


def _parts(metric: str, path: Path, by: str) -> "dict[str, ItemScores]":
    """Give a file's scores over all, and then of each source or skill."""
    from selma.comparing.categories import category_scores
    from selma.comparing.comparison import ALL_SKILLS, item_scores
    from selma.core.tables import read_about, read_table

    rows = read_table(path, "scores")
    whole = item_scores(metric, path.stem, rows, read_about(path))
    parts = {ALL_SKILLS: whole}
    if by == "source":
        parts |= {skill: whole.of_skill(skill) for skill in sorted(set(whole.skills))}
    elif by == "skill":
        parts |= category_scores(whole, rows)
    return parts


def _making(metric: str, first: "ItemScores", second: "ItemScores") -> str:
    """Say in one line what the numbers of a metric are."""
    about = first.about
    judge = "@".join(str(about[key]) for key in ("judge", "revision") if about.get(key))
    told = {
        "version": about["version"],
        "policy": about["policy"],
        "judge": short_hashes(judge),
        "benchmark": _benchmarks(first.about, second.about),
    }
    parts = [f"{name} {value}" for name, value in told.items() if value]
    for side, scores in (("A", first), ("B", second)):
        coverage = scores.about.get("coverage", 1.0)
        if coverage < 1:
            parts.append(f"coverage of {side} {100 * coverage:.2f} %")
    return f"{metric}: {'; '.join(parts)}"


def _benchmarks(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Name the benchmark; the same content may have two names."""
    names = [str(about["benchmark"]) for about in (first, second) if about.get("benchmark")]
    return " = ".join(dict.fromkeys(names)) or "not told"


def _notes(
    metric: str,
    paths: tuple[Path, Path],
    kept: "tuple[ItemScores, ItemScores]",
    alone: Sequence[str],
) -> list[str]:
    notes = []
    if alone:
        shown = ", ".join(alone[:3]) + (", …" if len(alone) > 3 else "")
        notes.append(f"{metric}: left out {len(alone)} prompts that only one has: {shown}")
    for path, scores in zip(paths, kept, strict=True):
        coverage = scores.about.get("coverage", 1.0)
        if coverage < 1:
            notes.append(f"{metric}: {path} covers {100 * coverage:.2f} % of what was to be scored")
    if kept[0].pictures != kept[1].pictures:
        notes.append(
            f"{metric}: different numbers of pictures per prompt, on average "
            f"{_mean(kept[0].pictures):g} and {_mean(kept[1].pictures):g}"
        )
    return notes + _library_notes(metric, *(scores.about.get("libraries", {}) for scores in kept))


def _library_notes(metric: str, first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    odd = [
        f"{name} {first.get(name, 'not told')} and {second.get(name, 'not told')}"
        for name in sorted({*first, *second})
        if first.get(name) != second.get(name)
    ]
    return [f"{metric}: scored with different libraries: {', '.join(odd)}"] if odd else []


def _text(
    records: "Sequence[Record]",
    making: Sequence[str],
    notes: Sequence[str],
    args: argparse.Namespace,
) -> str:
    header = ["metric", "skill" if args.by == "none" else args.by, "A", "B", "A − B", "interval",
              "p", "Holm p", "wins/ties/losses", "prompts", "detectable", "verdict"]  # fmt: skip
    beyond = f"beyond ±{args.margin:g}" if args.margin else "that leaves 0 out"
    rule = RULE.format(
        percent=f"{100 * args.confidence:g}",
        resamples=args.resamples,
        alpha=round(1 - args.confidence, 9),
        beyond=beyond,
    )
    table = text_table(header, [_cells(record) for record in records])
    sides = [f"A: {args.first}", f"B: {args.second}"]
    still = [NO_VARIATION] if any(r["minimum_detectable_effect"] is None for r in records) else []
    return "\n".join([*sides, *making, "", table, "", rule, *still, *notes])


def _cells(record: "Record") -> list[str]:
    digits = 2 if record["unit"] == "percent" else 4
    return [
        record["metric"] + (", %" if record["unit"] == "percent" else ""),
        record["skill"],
        plain(record["first"], digits),
        plain(record["second"], digits),
        signed(record["difference"], digits),
        interval(record["low"], record["high"], digits, sign=True),
        plain(record["p_value"], 4),
        plain(record["p_value_holm"], 4),
        f"{record['wins']}/{record['ties']}/{record['losses']}",
        str(record["n_items"]),
        plain(record["minimum_detectable_effect"], digits),
        record["verdict"],
    ]


def _mean(numbers: Sequence[int]) -> float:
    return sum(numbers) / len(numbers)


def read_scores(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Read a score file: its rows, and what it says about itself."""
    from selma.core.tables import read_about, read_table

    metric_of(path)
    return read_table(path, "scores"), read_about(path)
