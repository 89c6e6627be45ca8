"""Has a judge answer a benchmark's questions about pictures, for a command line; resumable."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.commands.outputs import check_table_out
from selma.core.choices import choose
from selma.core.errors import ConfigError

if TYPE_CHECKING:
    from selma.judges.protocol import JudgeSettings
    from selma.pictures.checks import PictureSet

Row = Mapping[str, Any]
DEFAULTS: dict[str, Any] = {
    "dtype": "float32",
    "template": "bare",
    "questions_per_batch": 16,
    "max_new_tokens": 30,
    "beams": 5,
}
PICTURES_PER_BATCH = 8  # decoded at a time; does not change an answer


def judge_pictures(args: argparse.Namespace, benchmark: Sequence[Row]) -> None:
    """Fill the answers table --answers from the pictures --images.

    Answers lie in a log beside the table until all are given: a run that dies goes on from there.

    Raises:
        ConfigError: an option is missing or does not fit.
        MissingDataError: pictures or the judge's weights are not there.
        RecordError: pictures are doubled, black or unreadable, or the log is of another judge.
    """
    from selma.core.tables import content_hash, write_table
    from selma.judges.loading import JUDGES, describe_judge, load_judge, normaliser
    from selma.measuring.answer_log import AnswerLog
    from selma.measuring.asking import judge_samples
    from selma.runtime.progress import progress

    if args.judge is None or args.answers.suffix != ".parquet":
        raise ConfigError(
            "--images: expected --judge NAME, and --answers FILE.parquet to keep its answers in, "
            f"got --judge {args.judge} and --answers {args.answers}"
        )
    choose("judge", args.judge, JUDGES)
    if args.judge != "pocket" and args.judge_path is None:
        raise ConfigError(f"--judge {args.judge}: expected --judge-path, its folder or Hub name")
    if args.answers.exists():
        raise ConfigError(
            f"{args.answers}: is there; leave --images out to score it, or choose another file"
        )
    check_table_out(args.answers, "answers")
    if args.out == args.answers:
        raise ConfigError(f"--out and --answers: expected two files, got {args.out} for both")
    name = args.normalise or "as-is"
    normalise = normaliser(name)
    pictures = read_samples(args.images, benchmark, args.allow_partial, only_asked=True)
    samples = pictures.rows
    settings = settings_of(args)
    replies = args.answers.with_name(args.answers.name + ".replies.jsonl")
    judge = load_judge(args.judge, settings, replies)
    about = {
        **describe_judge(judge.about, settings),
        "benchmark_sha256": content_hash(benchmark, "benchmark"),
        "normalise": name,
    }
    log = args.answers.with_name(args.answers.name + ".log.jsonl")
    with progress(len(samples), f"answers of {args.judge}") as advance:
        rows = judge_samples(
            benchmark,
            samples,
            judge,
            judge_name=args.judge,
            revision=about.get("revision") or "",
            batch_size=PICTURES_PER_BATCH,
            normalise=normalise,
            advance=advance,
            store=AnswerLog(log, about),
            allow_partial=args.allow_partial,
        )
    seen = {"n_wanted": pictures.n_wanted, "left_out": pictures.findings.problems()}
    write_table(args.answers, "answers", rows, {**about, "pictures": seen})
    log.unlink()
    replies.unlink(missing_ok=True)


def settings_of(args: argparse.Namespace) -> "JudgeSettings":
    """Give the settings of the model that the --judge-… options name."""
    from selma.judges.loading import judge_settings

    given = {
        "path": args.judge_path,
        "revision": args.judge_revision,
        **{name: getattr(args, name, None) for name in DEFAULTS},
    }
    values = {**given, **{name: DEFAULTS[name] for name in DEFAULTS if given[name] is None}}
    return judge_settings(values, template=values["template"])


def read_samples(
    images: Path, benchmark: Sequence[Row], allow_partial: bool, *, only_asked: bool = False
) -> "PictureSet":
    """Read a folder of pictures or a samples table, only of the benchmark's items.

    Raises:
        MissingDataError: pictures are missing.
        RecordError: pictures are doubled, alike, black, unreadable or unknown.
    """
    from selma.core.tables import read_table
    from selma.pictures.checks import check_table
    from selma.pictures.folder import read_pictures

    if images.suffix == ".parquet":
        samples = read_table(images, "samples")
        return check_table(
            str(images), samples, benchmark, only_asked=only_asked, allow_partial=allow_partial
        )
    return read_pictures(images, benchmark, only_asked=only_asked, allow_partial=allow_partial)
