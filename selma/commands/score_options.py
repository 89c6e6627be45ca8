"""The options that the metrics of `selma score` share."""

import argparse
from pathlib import Path

from selma.commands.compare import add_bootstrap_options

NO_ANSWER_MAX = 0.5


def positive(text: str) -> int:
    """Read a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def add_answers(metric: argparse.ArgumentParser) -> None:
    add = metric.add_argument
    add("--answers", type=Path, required=True, metavar="FILE",
        help="answers: our .parquet, a released .csv, a TIFA result .json; with --images the "
        ".parquet that the judge's answers are kept in")  # fmt: skip
    _add_benchmark(metric)
    add("--t2i-model", metavar="NAME", help="whose pictures, in a file of several")
    add("--images", type=Path, metavar="FOLDER", help="have these pictures judged")
    add("--judge", metavar="NAME",
        help="with --images, who looks at them: blip2, instructblip, blip-vqa, vilt, chat, "
        "endpoint, mplug, pocket; without, who gave a published file's answers")  # fmt: skip
    add_model(metric, required=False)
    add("--template", help="bare (default), tifa-official, tifa-selma, yes-no: how questions are "
        "put")  # fmt: skip
    add("--normalise", help="as-is (default), gpt4o-helper, first-word: from a reply to the answer "
        "that counts")  # fmt: skip
    add("--beams", type=positive, help="default: 5 (endpoint: 1); 1 is greedy")
    add("--max-new-tokens", type=positive, help="default: 30 (endpoint: 512)")
    add("--no-answer-max", type=float, default=NO_ANSWER_MAX, metavar="SHARE",
        help=f"refuse if more replies than this are no answer (default: {NO_ANSWER_MAX:g})",
    )  # fmt: skip


def add_model(metric: argparse.ArgumentParser, *, required: bool) -> None:
    add = metric.add_argument
    add("--judge-path", required=required, metavar="PATH",
        help="the model's folder or Hub name; an endpoint's model name")  # fmt: skip
    add("--judge-revision", metavar="COMMIT", help="of a Hub model")
    add("--dtype", help="float32 (default), bfloat16, float16")
    add("--questions-per-batch", type=positive, help="default: 16")


def add_pictures(metric: argparse.ArgumentParser) -> None:
    metric.add_argument(
        "--images", type=Path, required=True, metavar="FOLDER",
        help="pictures named as their items, ITEM.png or ITEM_SAMPLE.png, or a samples .parquet",
    )  # fmt: skip
    _add_benchmark(metric)


def _add_benchmark(metric: argparse.ArgumentParser) -> None:
    add = metric.add_mutually_exclusive_group(required=True).add_argument
    add("--benchmark", type=Path, metavar="FILE.parquet", help="what `selma import` wrote")
    add("--annotations", type=Path, metavar="FILE", help="a public file: DSG's CSV, TIFA's JSON")
    add = metric.add_argument
    add("--source", nargs="+", default=[], metavar="NAME", help="only prompts of these sources")


def add_common(metric: argparse.ArgumentParser) -> None:
    add = metric.add_argument
    add("--allow-partial", action="store_true",
        help="score what is there; the number carries its coverage")  # fmt: skip
    add("--out", type=Path, metavar="SCORES.parquet", help="for `selma compare`")
    add_bootstrap_options(metric)
