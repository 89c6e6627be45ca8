"""The command `selma score`: pictures or answers in, a named number with its interval out."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.commands.outputs import check_table_out
from selma.commands.score_lmd import add_lmd
from selma.commands.score_options import add_answers, add_common, add_model, add_pictures, positive
from selma.commands.score_words import print_results
from selma.core.choices import choose
from selma.core.errors import ConfigError

if TYPE_CHECKING:
    from selma.comparing.statistics import Bootstrap
    from selma.judges.protocol import JudgeSettings

PREFERENCE = {
    "pickscore": "exp(logit_scale) * cosine of a CLIP, PickScore's checkpoint",
    "hps": "100 * cosine of a CLIP, HPS v2.0's or v2.1's checkpoint",
    "imagereward": "ImageReward's reward",
    "clipscore": "CLIPScore, one of its named definitions",
}
ANTIALIAS = {"yes": True, "no": False, None: None}
PICTURES_PER_BATCH = 8  # decoded at a time; does not change an answer
Row = Mapping[str, Any]
Rows = Sequence[Row]


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
        "score", help="score pictures or stored answers by DSG, TIFA, PickScore, HPS, …"
    )
    metrics = command.add_subparsers(title="metrics", required=True, metavar="METRIC")

    metric = metrics.add_parser("dsg", help="yes/no questions that count if their parents hold")
    add_answers(metric)
    add = metric.add_argument
    add("--policy", nargs="+", default=["official"],
        help="official (default), lenient, selma, transitive, none; several, or all")  # fmt: skip
    add("--mean", nargs="+", default=["prompt"], help="prompt (default), question; or all")
    add_common(metric)
    metric.set_defaults(run=run_answers, metric="dsg", mapping=None, sbert=None)

    metric = metrics.add_parser("tifa", help="multiple-choice questions")
    add_answers(metric)
    add = metric.add_argument
    add("--mapping", default="exact", help="from a free answer to a choice: exact (default), sbert")
    add("--sbert", metavar="FOLDER", help="sentence-transformers/all-mpnet-base-v2, for sbert")
    add_common(metric)
    metric.set_defaults(run=run_answers, metric="tifa", policy=None, mean=None)

    for name, words in PREFERENCE.items():
        _add_preference(name, metrics.add_parser(name, help=words))

    metric = metrics.add_parser("vqascore", help="a chat model's probability of Yes")
    add_pictures(metric)
    metric.add_argument("--variant", required=True, help="p-yes, geometric-mean, yes-no")
    add_model(metric, required=True)
    add_common(metric)
    metric.set_defaults(run=run_vqascore, metric="vqascore")

    add_lmd(metrics)


def _add_preference(name: str, metric: argparse.ArgumentParser) -> None:
    add_pictures(metric)
    add = metric.add_argument
    add("--weights", type=Path, required=True, metavar="FOLDER")
    metric.set_defaults(run=run_preference, metric=name, version=None, antialias=None)
    if name == "hps":
        add("--version", required=True, help="v2.0 or v2.1; not comparable")
        add("--antialias", choices=("yes", "no"), help="of the resize; default: the folder's")
    if name == "clipscore":
        words = "cosine, hessel, tifa, torchmetrics"
        add("--variant", dest="version", required=True, help=words)
    add("--batch-size", type=positive, default=16)
    add("--shuffled", action="store_true", help="also score each picture with another's prompt")
    add_common(metric)


def run_answers(args: argparse.Namespace) -> None:
    """Score answers by DSG or TIFA; with --images, have them given first."""
    from selma.benchmarks.answer_files import read_answers
    from selma.comparing.statistics import Bootstrap
    from selma.core.tables import read_about
    from selma.measuring.inputs import benchmark_aliases, read_benchmark

    settings = _measure_settings(args)
    how = Bootstrap(args.resamples, args.confidence, args.seed)
    _check_answer_options(args)
    path = args.benchmark or args.annotations
    benchmark = read_benchmark(path, args.source)
    if args.images is not None:
        _have_judged(args, benchmark)
    aliases = benchmark_aliases(path)
    answers = read_answers(
        args.answers, benchmark, metric=args.metric, t2i_model=args.t2i_model, aliases=aliases
    )
    if args.judge is not None and args.images is None:
        named = {"judge": args.judge, "revision": args.judge_revision or "as named by the user"}
        answers = [{**answer, **named} for answer in answers]
    judge_about = read_about(args.answers) if args.answers.suffix == ".parquet" else None
    given = benchmark, answers, judge_about, how, args.json or len(settings) == 1
    print_results([_answers_result(args, one, *given) for one in settings], as_json=args.json)


def _answers_result(
    args: argparse.Namespace,
    settings: dict[str, Any],
    benchmark: Rows,
    answers: Rows,
    judge_about: Row | None,
    how: "Bootstrap",
    with_details: bool,
) -> dict[str, Any]:
    """Score by one of the settings, and by the metric's control."""
    from selma.core.tables import write_table
    from selma.measuring.details import CONTROLS, answer_details
    from selma.measuring.naming import TITLES
    from selma.measuring.results import Scored, result_of
    from selma.measuring.scoring import score_answers

    score = partial(
        score_answers, args.metric, benchmark, measure=args.metric, title=TITLES[args.metric],
        benchmark_name=_benchmark_name(args), no_answer_max=args.no_answer_max,
        allow_partial=args.allow_partial,
    )  # fmt: skip
    rows, about = score(answers, judge_about, settings=settings)
    name, control = CONTROLS[args.metric]
    exact = settings | ({"mapping": "exact"} if args.metric == "tifa" else {})
    spoilt, _ = score(control(benchmark, answers), None, settings=exact)
    about |= {"t2i_model": args.t2i_model}
    if args.out is not None:
        write_table(args.out, "scores", rows, about)
    result = Scored(rows, about, {}, {name: spoilt}, {})
    if with_details:
        tables, extra = answer_details(args.metric, rows, answers, benchmark, how)
        result = replace(result, tables=tables, extra=extra)
    return result_of(result, how)


def run_preference(args: argparse.Namespace) -> None:
    """Score pictures by a preference model; with --shuffled also against other items' prompts."""
    from selma.core.devices import prepare_device
    from selma.measuring.details import hps_numbers
    from selma.measuring.naming import TITLES
    from selma.measuring.preferring import load_scorer, score_pictures
    from selma.runtime.progress import progress

    how, benchmark, pictures = _inputs(args)
    options = {"version": args.version, "antialias": ANTIALIAS[args.antialias]}
    scorer = load_scorer(args.metric, args.weights, **options, device=prepare_device())

    def scored(label: str, shuffle_seed: int | None) -> Any:
        with progress(len(pictures.rows), label) as advance:
            return score_pictures(
                benchmark, pictures, scorer,
                kind=args.metric, judge=args.weights.resolve().name, measure=args.metric,
                title=TITLES[args.metric], benchmark_name=_benchmark_name(args),
                batch_size=args.batch_size, advance=advance, shuffle_seed=shuffle_seed,
            )  # fmt: skip

    rows, about = scored(args.metric, None)
    controls = {}
    if args.shuffled:
        controls["shuffled prompts"] = scored(f"{args.metric}, shuffled", args.seed)[0]
    extra = hps_numbers(rows, args.allow_partial) if args.metric == "hps" else {}
    _print_pictures(args, rows, about, controls, extra, how)


def run_vqascore(args: argparse.Namespace) -> None:
    """Score pictures by a chat model's probability of "Yes"."""
    from selma.measuring.probability import score_by_probability
    from selma.runtime.progress import progress

    how, benchmark, pictures = _inputs(args)
    options = {"variant": args.variant, "benchmark_name": _benchmark_name(args)}
    with progress(len(pictures.rows), "vqascore") as advance:
        rows, about = score_by_probability(
            benchmark, pictures, settings=_judge_settings(args), advance=advance, **options
        )
    _print_pictures(args, rows, about, {}, {}, how)


def _inputs(args: argparse.Namespace) -> Any:
    """Check the options; read the benchmark and the pictures that are to be scored."""
    from selma.comparing.statistics import Bootstrap
    from selma.measuring.inputs import read_benchmark
    from selma.measuring.samples import read_samples

    how = Bootstrap(args.resamples, args.confidence, args.seed)
    check_table_out(args.out, "scores")
    benchmark = read_benchmark(args.benchmark or args.annotations, args.source)
    options = {"only_asked": False, "allow_partial": args.allow_partial}
    return how, benchmark, read_samples(args.images, benchmark, **options)


def _print_pictures(
    args: argparse.Namespace,
    rows: Rows,
    about: Row,
    controls: Mapping[str, Rows],
    extra: Mapping[str, Any],
    how: "Bootstrap",
) -> None:
    from selma.comparing.breakdown import prompt_cells
    from selma.core.tables import write_table
    from selma.measuring.results import Scored, result_of

    if args.out is not None:
        write_table(args.out, "scores", rows, about)
    tables = {"source": prompt_cells(rows, lambda row: row["source"], about["factor"], how)}
    result = result_of(Scored(rows, about, tables, controls, extra), how)
    print_results([result], as_json=args.json)


def _have_judged(args: argparse.Namespace, benchmark: Rows) -> None:
    """Have pictures judged; a log beside the answers keeps them until all are given."""
    from selma.core.tables import write_table
    from selma.measuring.asking import ask
    from selma.measuring.samples import read_samples
    from selma.runtime.progress import progress

    settings = _judge_settings(args)
    options = {"only_asked": True, "allow_partial": args.allow_partial}
    pictures = read_samples(args.images, benchmark, **options)
    log = args.answers.with_name(args.answers.name + ".log.jsonl")
    replies = args.answers.with_name(args.answers.name + ".replies.jsonl")
    with progress(len(pictures.rows), f"answers of {args.judge}") as advance:
        rows, about = ask(
            benchmark, pictures, kind=args.judge, settings=settings, revision="",
            normalise=args.normalise or "as-is", batch_size=PICTURES_PER_BATCH,
            log=log, replies=replies, advance=advance,
        )  # fmt: skip
    write_table(args.answers, "answers", rows, about)
    log.unlink()
    replies.unlink(missing_ok=True)


def _measure_settings(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Check and list the settings to score by: several policies and means of DSG, or TIFA's one."""
    from selma.metrics.dsg import DSG_MEANS, DSG_POLICIES
    from selma.metrics.tifa import TIFA_MAPPINGS

    if args.metric == "tifa":
        choose("tifa mapping", args.mapping, TIFA_MAPPINGS)
        if args.sbert is not None and args.mapping != "sbert":
            raise ConfigError("--sbert: expected --mapping sbert, which it is for")
        return [{"mapping": args.mapping, "sbert_path": args.sbert}]
    policies = list(DSG_POLICIES) if "all" in args.policy else args.policy
    means = list(DSG_MEANS) if "all" in args.mean else args.mean
    settings = [{"policy": policy, "mean": mean} for policy in policies for mean in means]
    for one in settings:
        choose("dsg policy", one["policy"], DSG_POLICIES)
        choose("dsg mean", one["mean"], DSG_MEANS)
    if args.out is not None and len(settings) > 1:
        raise ConfigError("--out: holds one score; choose one --policy and one --mean")
    return settings


def _check_answer_options(args: argparse.Namespace) -> None:
    """Refuse wrong options before a judge has worked for nothing."""
    from selma.judges.loading import DEFAULTS, JUDGES, WITHOUT_WEIGHTS
    from selma.judges.normalise import NORMALISERS

    check_table_out(args.out, "scores")
    is_table = args.answers.suffix == ".parquet"
    if args.images is None:
        asked = [name for name in ("judge_path", "normalise", *DEFAULTS)
                 if getattr(args, name) is not None]  # fmt: skip
        if asked:
            options = ", ".join("--" + name.replace("_", "-") for name in asked)
            raise ConfigError(f"{options}: expected --images, the pictures to look at")
        if args.judge is not None and is_table:
            raise ConfigError(f"--judge: {args.answers} says itself who answered; leave it out")
        return
    if args.t2i_model is not None:
        raise ConfigError("--t2i-model: chooses among given answers; leave it out with --images")
    if args.judge is None or not is_table:
        raise ConfigError(
            "--images: expected --judge NAME, and --answers FILE.parquet to keep its answers in, "
            f"got --judge {args.judge} and --answers {args.answers}"
        )
    choose("judge", args.judge, JUDGES)
    choose("answer normaliser", args.normalise or "as-is", NORMALISERS)
    if args.judge_path is None and (args.judge not in WITHOUT_WEIGHTS or args.judge == "endpoint"):
        raise ConfigError(
            f"--judge {args.judge}: expected --judge-path, its folder or Hub name; an endpoint's "
            "model name"
        )
    if args.answers.exists():
        raise ConfigError(
            f"{args.answers}: is there; leave --images out to score it, or choose another file"
        )
    check_table_out(args.answers, "answers")
    if args.out == args.answers:
        raise ConfigError(f"--out and --answers: expected two files, got {args.out} for both")


def _judge_settings(args: argparse.Namespace) -> "JudgeSettings":
    from selma.judges.loading import DEFAULTS, judge_settings, with_defaults

    given = {name: getattr(args, name, None) for name in DEFAULTS}
    values = with_defaults(getattr(args, "judge", None), given)
    values |= {"path": args.judge_path, "revision": args.judge_revision}
    kind = getattr(args, "judge", None) or "chat"  # which VQAScore asks
    return judge_settings(kind, values, template=values["template"])


def _benchmark_name(args: argparse.Namespace) -> str:
    stem = str((args.benchmark or args.annotations).stem)
    return stem + (f" ({', '.join(sorted(args.source))})" if args.source else "")
