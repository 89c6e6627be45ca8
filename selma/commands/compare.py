"""`selma compare`: is A better than B, by how much, and would a difference have been found."""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.commands.text_table import (
    DIFFERENCE,
    NO_VARIATION,
    VERDICT,
    Columns,
    number_of,
    short_hashes,
    text_of,
    text_table,
)
from selma.core.errors import ConfigError, MissingDataError, RecordError

if TYPE_CHECKING:
    from selma.comparing.categories import Parts
    from selma.comparing.comparison import Record
    from selma.comparing.items import ItemScores
    from selma.comparing.statistics import Bootstrap

SCORES = Path("data/scores")
REGRESSION_EXIT_CODE = 5  # 2, 3 and 4 are errors, see selma.core.errors
BY = ("skill", "category", "none")
RULE = """\
Intervals: {percent:g} % percentile bootstrap over prompts, {resamples:,} resamples; p: as many sign
flips of the prompts' differences. A verdict needs p ≤ {alpha:g} and an interval {beyond}.
The row "all" is judged by its own p; the rows below it, of one measure, are one family and judged
by the p adjusted by Holm's method. detectable: the true difference found with 80 % power."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "compare",
        help="A − B of scores on the same prompts, with intervals and verdicts",
        description="Compares the scores of two models' pictures on the same prompts, A − B. "
        "Exit code 5 with --fail-on-regression and a verdict that is worse.",
    )
    add = parser.add_argument
    what = "score file, folder of score files, or NAME for data/scores/*/NAME.parquet"
    add("first", metavar="A", help=what)
    add("second", metavar="B", help="the same for the model it is measured against")
    words = "also compare by the prompts' skill (their source), or by the questions' category"
    add("--by", choices=BY, default="skill", help=words)
    words = "a difference up to this, in the measure's unit, is neither better nor worse"
    add("--margin", type=float, default=0.0, metavar="X", help=words)
    add("--allow-partial", action="store_true", help="leave out prompts that only one has")
    words = f"exit with {REGRESSION_EXIT_CODE} if A is worse, over all or on any part"
    add("--fail-on-regression", action="store_true", help=words)
    add_bootstrap_options(parser)
    parser.set_defaults(run=run)


def add_bootstrap_options(parser: argparse.ArgumentParser) -> None:
    """Add --resamples, --confidence, --seed and --json."""
    add = parser.add_argument
    add("--resamples", type=int, default=10_000)
    add("--confidence", type=float, default=0.95, help="coverage of the intervals")
    add("--seed", type=int, default=0)
    add("--json", action="store_true", help="print all numbers unrounded")


def run(args: argparse.Namespace) -> int:
    """Print the comparison; exit code 0, or `REGRESSION_EXIT_CODE`."""
    from selma.comparing.statistics import Bootstrap

    how = Bootstrap(args.resamples, args.confidence, args.seed)
    files = paired_files(args.first, args.second)
    if not 0 <= args.margin < math.inf or (args.margin and len(files) > 1):
        raise ConfigError(
            "--margin: expected at least 0, finite, and one measure, for it is in its unit, got "
            f"{args.margin:g} and {', '.join(sorted(files))}"
        )
    records, makings, notes = [], [], []
    options = {"by": args.by, "margin": args.margin, "allow_partial": args.allow_partial}
    for _, pair in sorted(files.items()):
        of_one, making, besides = compare_files(*pair, how, **options)
        records += of_one
        makings.append(making)
        notes += besides
    worse = [f"{r['measure']} {r[_key(args.by)]}" for r in records if r["verdict"] == "worse"]
    if args.json:
        result = {name: getattr(args, name) for name in ("first", "second", "by", "seed")}
        result |= {"comparisons": records, "notes": notes, "worse": worse}
        print(json.dumps(result, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False))
    else:
        print("\n".join([f"A: {args.first}", f"B: {args.second}", *makings]))
        print("\n".join(["", _text(records, args.by, args.margin, how), *notes]))
    if args.fail_on_regression and worse:
        print(f"selma: regression: {', '.join(worse)}", file=sys.stderr)
        return REGRESSION_EXIT_CODE
    return 0


def paired_files(first: str, second: str) -> dict[str, tuple[Path, Path]]:
    """Pair the score files of two models by measure; two single files are a pair in any case."""
    one, other = score_files(first), score_files(second)
    if len(one) == len(other) == 1:
        return dict(zip(one, zip(one.values(), other.values(), strict=True), strict=True))
    unpaired = sorted(set(one) ^ set(other))
    if unpaired:
        raise RecordError(
            f"{first} and {second}: {unpaired[0]} is only in "
            f"{first if unpaired[0] in one else second}; compare the same measures of both"
        )
    return {measure: (path, other[measure]) for measure, path in one.items()}


def score_files(given: str) -> dict[str, Path]:
    """Find score files by measure: a file, all in and below a folder, or those of a NAME."""
    from selma.comparing.items import measure_of
    from selma.core.tables import read_about

    path = Path(given)
    if path.is_dir():
        files = [f for f in sorted(path.rglob("*.parquet")) if measure_of(read_about(f))]
    else:
        files = [path] if path.suffix == ".parquet" else sorted(SCORES.glob(f"*/{given}.parquet"))
    if not files:
        raise MissingDataError(
            f"{given}: expected a score file, a folder with score files, or a name such that "
            f"{SCORES}/*/{given}.parquet is there; found none"
        )
    found: dict[str, Path] = {}
    for file in files:
        measure = str(measure_of(about_scores(file)))
        if measure in found:
            raise RecordError(
                f"{given}: {found[measure]} and {file} both hold scores of {measure}; name one"
            )
        found[measure] = file
    return found


def about_scores(path: Path) -> dict[str, Any]:
    """Read what a score file says about itself; one that names no metric is refused."""
    from selma.core.tables import read_about

    about = read_about(path)
    if not isinstance(about.get("metric"), str):
        raise RecordError(f"{path}: names no metric, so it holds no scores; score it again")
    return about


def compare_files(
    first: Path, second: Path, how: "Bootstrap", *, by: str, margin: float, allow_partial: bool
) -> "tuple[list[Record], str, list[str]]":
    """Compare two score files as the compare stage does; a model's name is its file's.

    Returns the records, how the numbers were made, and what to know besides.
    """
    from selma.comparing.categories import split
    from selma.comparing.comparison import compare_parts
    from selma.comparing.items import ALL_SKILLS, item_scores, measure_of, on_common_items
    from selma.core.tables import read_table

    def parts_of(path: Path) -> "Parts":
        rows, about = read_table(path, "scores"), about_scores(path)
        return split(item_scores(str(measure_of(about)), path.stem, rows, about), rows, by)

    mine, theirs = parts_of(first), parts_of(second)
    records = compare_parts(mine, theirs, how, margin=margin, allow_partial=allow_partial)
    one, other, unpaired = on_common_items(
        mine[ALL_SKILLS], theirs[ALL_SKILLS], allow_partial=allow_partial
    )
    notes = list(_notes((first, second), one, other, unpaired))
    lost = sorted({*mine, *theirs} - {record["skill"] for record in records})
    notes += [f"left out the {by} {part}, which only one has" for part in lost]
    if by == "category" and len(records) == 1:
        notes.append("asks no questions, so it has no categories; --by skill splits it")
    for record in records:
        record["by"] = by
        record[_key(by)] = record.pop("skill")
    return records, _making(one, other), [f"{one.measure}: {note}" for note in notes]


def _making(first: "ItemScores", second: "ItemScores") -> str:
    """Say in one line what the numbers of a measure are; one benchmark may have two names."""
    from selma.comparing.items import judge_label

    about = first.about
    benchmarks = [scores.about.get("benchmark") for scores in (first, second)]
    facts = {key: about[key] for key in ("version", "policy")}
    facts["judge"] = short_hashes(judge_label(about))
    facts["benchmark"] = " = ".join(dict.fromkeys(filter(None, benchmarks))) or "unknown"
    return f"{first.measure}: " + "; ".join(f"{k} {v}" for k, v in facts.items() if v)


def _notes(
    paths: tuple[Path, Path], first: "ItemScores", second: "ItemScores", unpaired: Sequence[str]
) -> Iterator[str]:
    from selma.comparing.items import shortened

    if unpaired:
        yield f"left out {len(unpaired)} prompts that only one has: {shortened(unpaired)}"
    for path, scores in zip(paths, (first, second), strict=True):
        coverage = scores.about.get("coverage", 1.0)
        if coverage < 1:
            yield f"{path} covers {100 * coverage:.2f} % of what was to be scored"
    pictures = first.items["pictures"], second.items["pictures"]
    if not pictures[0].equals(pictures[1]):
        means = " and ".join(f"{one.mean():g}" for one in pictures)
        yield f"different numbers of pictures per prompt, on average {means}"
    one, other = (scores.about.get("libraries", {}) for scores in (first, second))
    differ = [
        f"{name} {one.get(name, 'unknown')} and {other.get(name, 'unknown')}"
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]
    if differ:
        yield f"scored with different libraries: {', '.join(differ)}"


def _key(by: str) -> str:
    return "category" if by == "category" else "skill"


def _text(records: "Sequence[Record]", by: str, margin: float, how: "Bootstrap") -> str:
    columns: Columns = {
        "measure": lambda r, _: r["measure"] + (", %" if r["unit"] == "percent" else ""),
        _key(by): text_of(_key(by)),
        "A": number_of("first"),
        "B": number_of("second"),
        "A − B": number_of("difference", sign="+"),
        **DIFFERENCE,
        "Holm p": number_of("p_value_holm", 4),
        **VERDICT,
    }
    rule = RULE.format(
        percent=100 * how.confidence,
        resamples=how.resamples,
        alpha=round(1 - how.confidence, 9),
        beyond=f"beyond ±{margin:g}" if margin else "that leaves 0 out",
    )
    still = [NO_VARIATION] if any(r["minimum_detectable_effect"] is None for r in records) else []
    return "\n".join([text_table(columns, records), "", rule, *still])
