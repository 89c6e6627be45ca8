"""The command `selma score`: pictures or answers in, a named number with its interval out."""

import argparse
from pathlib import Path

from selma.commands.compare import add_bootstrap_options

PREFERENCE = {
    "pickscore": "exp(logit_scale) * cosine of a CLIP, PickScore's checkpoint",
    "hps": "100 * cosine of a CLIP, HPS v2.0's or v2.1's checkpoint",
    "imagereward": "ImageReward's reward",
    "clipscore": "CLIPScore, one of its named definitions",
}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command's arguments."""
    command = commands.add_parser(
        "score", help="score pictures or stored answers by DSG, TIFA, PickScore, HPS, …"
    )
    metrics = command.add_subparsers(title="metrics", required=True, metavar="METRIC")

    metric = metrics.add_parser("dsg", help="yes/no questions that count if their parents hold")
    _add_answers(metric)
    metric.add_argument(
        "--policy",
        nargs="+",
        default=["official"],
        help="official (default), lenient, selma, transitive, none; several, or all",
    )
    metric.add_argument(
        "--mean", nargs="+", default=["prompt"], help="prompt (default), question; or all"
    )
    _add_common(metric)
    metric.set_defaults(run=run, metric="dsg")

    metric = metrics.add_parser("tifa", help="multiple-choice questions")
    _add_answers(metric)
    metric.add_argument(
        "--mapping",
        default="exact",
        help="from a free answer to a choice: exact (default), sbert",
    )
    metric.add_argument(
        "--sbert", metavar="FOLDER", help="sentence-transformers/all-mpnet-base-v2, for sbert"
    )
    _add_common(metric)
    metric.set_defaults(run=run, metric="tifa")

    for name, words in PREFERENCE.items():
        metric = metrics.add_parser(name, help=words)
        _add_pictures(metric)
        metric.add_argument("--weights", type=Path, required=True, metavar="FOLDER")
        if name == "hps":
            metric.add_argument("--version", required=True, help="v2.0 or v2.1; not comparable")
            metric.add_argument(
                "--antialias", choices=("yes", "no"), help="of the resize; default: the folder's"
            )
        if name == "clipscore":
            metric.add_argument(
                "--variant", required=True, help="cosine, hessel, tifa, torchmetrics"
            )
        metric.add_argument("--batch-size", type=positive, default=16)
        metric.add_argument(
            "--shuffled", action="store_true", help="also score each picture with another's prompt"
        )
        _add_common(metric)
        metric.set_defaults(run=run, metric=name)

    metric = metrics.add_parser("vqascore", help="a chat model's probability of Yes")
    _add_pictures(metric)
    metric.add_argument("--variant", required=True, help="p-yes, geometric-mean, yes-no")
    _add_model(metric, required=True)
    _add_common(metric)
    metric.set_defaults(run=run, metric="vqascore")


def run(args: argparse.Namespace) -> None:
    """Score by the chosen metric and print the result."""
    if args.metric in ("dsg", "tifa"):
        from selma.commands.score_answers import score_answers

        score_answers(args)
    else:
        from selma.commands.score_pictures import score_pictures

        score_pictures(args)


def _add_answers(metric: argparse.ArgumentParser) -> None:
    metric.add_argument(
        "--answers",
        type=Path,
        required=True,
        metavar="FILE",
        help="answers: our .parquet, a released .csv, a TIFA result .json; with --images the "
        ".parquet that the judge's answers are kept in",
    )
    _add_benchmark(metric)
    metric.add_argument("--t2i-model", metavar="NAME", help="whose pictures, in a file of several")
    metric.add_argument("--images", type=Path, metavar="FOLDER", help="have these pictures judged")
    metric.add_argument(
        "--judge",
        metavar="NAME",
        help="with --images, who looks at them: blip2, instructblip, blip-vqa, vilt, chat, "
        "endpoint, mplug, pocket; without, who gave a published file's answers",
    )
    _add_judge(metric)


def _add_judge(metric: argparse.ArgumentParser) -> None:
    _add_model(metric, required=False)
    metric.add_argument(
        "--template",
        help="bare (default), tifa-official, tifa-selma, yes-no: how questions are put",
    )
    metric.add_argument(
        "--normalise",
        help="as-is (default), gpt4o-helper, first-word: from a reply to the answer that counts",
    )
    metric.add_argument("--beams", type=positive, help="default: 5; 1 is greedy")
    metric.add_argument("--max-new-tokens", type=positive, help="default: 30")


def _add_model(metric: argparse.ArgumentParser, *, required: bool) -> None:
    metric.add_argument(
        "--judge-path",
        required=required,
        metavar="PATH",
        help="the model's folder or Hub name; an endpoint's model name",
    )
    metric.add_argument("--judge-revision", metavar="COMMIT", help="of a Hub model")
    metric.add_argument("--dtype", help="float32 (default), bfloat16, float16")
    metric.add_argument("--questions-per-batch", type=positive, help="default: 16")


def positive(text: str) -> int:
    """Read a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _add_pictures(metric: argparse.ArgumentParser) -> None:
    metric.add_argument(
        "--images",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="pictures named as their items, ITEM.png or ITEM_SAMPLE.png, or a samples .parquet",
    )
    _add_benchmark(metric)


def _add_benchmark(metric: argparse.ArgumentParser) -> None:
    source = metric.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--benchmark", type=Path, metavar="FILE.parquet", help="what `selma import` wrote"
    )
    source.add_argument(
        "--annotations", type=Path, metavar="FILE", help="a public file: DSG's CSV, TIFA's JSON"
    )
    metric.add_argument(
        "--source", nargs="+", default=[], metavar="NAME", help="only prompts of these sources"
    )


def _add_common(metric: argparse.ArgumentParser) -> None:
    metric.add_argument(
        "--allow-partial",
        action="store_true",
        help="score what is there; the number carries its coverage",
    )
    metric.add_argument("--out", type=Path, metavar="SCORES.parquet", help="for `selma compare`")
    add_bootstrap_options(metric)
