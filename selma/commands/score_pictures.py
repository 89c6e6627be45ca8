"""`selma score` for the metrics that look at pictures themselves: preference models, VQAScore."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.commands.benchmark_input import benchmark_name, read_benchmark
from selma.commands.compare import bootstrap_of
from selma.commands.judging import read_samples
from selma.commands.outputs import check_table_out
from selma.commands.score_result import Scored, print_results, result_of
from selma.comparing.breakdown import prompt_cells, prompt_scores
from selma.core.choices import choose
from selma.core.errors import MissingDataError
from selma.core.tables import content_hash, write_table

Row = Mapping[str, Any]
VERSIONS = {"pickscore": "arXiv 2305.01569", "imagereward": "arXiv 2304.05977"}
ANTIALIAS = {"yes": True, "no": False, None: None}


def score_pictures(args: argparse.Namespace) -> None:
    """Score pictures against their prompts and print the result."""
    how = bootstrap_of(args)
    check_table_out(args.out, "scores")
    benchmark = read_benchmark(args)
    pictures = read_samples(args.images, benchmark, args.allow_partial)
    samples = pictures.rows
    if not samples:
        raise MissingDataError(f"{args.images}: no picture of the benchmark can be scored")
    score = _vqascore if args.metric == "vqascore" else _preference
    rows, about, controls = score(args, samples, benchmark)
    about |= {
        "benchmark": benchmark_name(args),
        "benchmark_sha256": content_hash(benchmark, "benchmark"),
        "coverage": len(rows) / pictures.n_wanted,
        "left_out": pictures.findings.problems(),
        "n_items": len({row["item_id"] for row in rows}),
        "n_pictures": len(rows),
        "n_wanted": pictures.n_wanted,
    }
    if args.out is not None:
        write_table(args.out, "scores", rows, about)
    tables = {"source": prompt_cells(rows, lambda row: row["source"], 1.0, how)}
    extra = hps_aggregate(rows, args.allow_partial) if args.metric == "hps" else {}
    print_results(
        [result_of(Scored(rows, about, tables, controls, extra), 1.0, how)], as_json=args.json
    )


def _preference(
    args: argparse.Namespace, samples: Sequence[Row], benchmark: Sequence[Row]
) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Score by a preference model; with --shuffled also against other items' prompts."""
    from selma.core.devices import prepare_device
    from selma.measuring.scoring import shuffled_prompts
    from selma.runtime.progress import progress
    from selma.scorers.hps import HPS_VERSIONS
    from selma.scorers.preference import SCORERS, score_samples

    if args.metric == "hps":
        choose("HPS version", args.version, {**HPS_VERSIONS, "pocket": ""})
    version = {"hps": "version", "clipscore": "variant"}.get(args.metric)
    named = getattr(args, version) if version else VERSIONS[args.metric]
    options = {"antialias": ANTIALIAS[args.antialias]} if args.metric == "hps" else {}
    scorer = SCORERS[args.metric](args.weights, named, device=prepare_device(), **options)
    sources = {row["item_id"]: row["source"] for row in benchmark}

    def scored(pictures: Sequence[Row], label: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        with progress(len(pictures), label) as advance:
            return score_samples(
                pictures,
                scorer,
                metric=args.metric,
                judge=Path(args.weights).resolve().name,
                sources=sources,
                batch_size=args.batch_size,
                advance=advance,
            )

    rows, about = scored(samples, args.metric)
    if not args.shuffled:
        return rows, about, {}
    others = shuffled_prompts({row["item_id"]: row["prompt"] for row in benchmark}, args.seed)
    spoilt = [{**row, "prompt": others[row["item_id"]]} for row in samples]
    return rows, about, {"shuffled prompts": scored(spoilt, f"{args.metric}, shuffled")[0]}


def _vqascore(
    args: argparse.Namespace, samples: Sequence[Row], benchmark: Sequence[Row]
) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Score by a chat model's probability of "Yes"."""
    from selma.commands.judging import settings_of
    from selma.judges.chat.vqascore import load_vqascore
    from selma.judges.loading import describe_judge
    from selma.pictures.png import picture_of
    from selma.runtime.progress import progress

    model = settings_of(args)
    scorer = load_vqascore(model, args.variant)
    sources = {row["item_id"]: row["source"] for row in benchmark}
    rows: list[dict[str, Any]] = []
    with progress(len(samples), "vqascore") as advance:
        for start in range(0, len(samples), model.questions_per_batch):
            batch = samples[start : start + model.questions_per_batch]
            pictures = [picture_of(row) for row in batch]
            scores = scorer(pictures, [row["prompt"] for row in batch])
            rows += [
                {
                    "item_id": row["item_id"],
                    "sample": row["sample"],
                    "source": sources[row["item_id"]],
                    "score": score,
                    "weight": 1.0,
                    "details": "{}",
                }
                for row, score in zip(batch, scores, strict=True)
            ]
            advance(len(batch))
    settings = describe_judge(scorer.about, model)
    about = {
        "judge": settings["path"],
        "judge_settings": settings,
        "libraries": settings.pop("libraries", {}),
        "metric": "vqascore",
        "policy": args.variant,
        "preprocessing": json.dumps(settings.pop("preprocessing")),
        "revision": settings["revision"],
        "unit": "probability",
        "version": "arXiv 2404.01291",
    }
    return rows, about, {}


def hps_aggregate(rows: Sequence[Row], partial: bool) -> dict[str, Any]:
    """Aggregate as the HPS benchmark prints it, if the pictures are those of its four styles.

    It knows one picture a prompt; of several, their mean counts.
    """
    import numpy as np

    from selma.scorers.hps import PICTURES_PER_STYLE, STYLES, benchmark_score

    if {row["source"] for row in rows} != set(STYLES):
        return {}
    scores = {style: np.full(PICTURES_PER_STYLE, np.nan) for style in STYLES}
    for item_id, score in prompt_scores(rows).items():
        style, _, index = item_id.rpartition("/")
        scores[style][int(index)] = score
    found = benchmark_score(scores, partial=partial)
    styles = {
        style: {"mean": one.mean, "deviation_of_chunk_means": one.deviation, "n": one.pictures}
        for style, one in found.styles.items()
    }
    return {"hps_benchmark": {"styles": styles, "average": found.mean, "n": found.pictures}}
