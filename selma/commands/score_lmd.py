"""`selma score lmd`: the LMD benchmark's pass rates, by a named detector."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selma.commands.compare import add_bootstrap_options
from selma.commands.score_options import positive

ATTRIBUTION, OTHERS, NMS_IOU = 0.45, 0.20, 0.15  # SLD's evaluation by OWLv2


def add_lmd(metrics: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the metric."""
    metric = metrics.add_parser("lmd", help="pass rates of the LMD benchmark by a detector")
    add = metric.add_argument
    add("--images", type=Path, required=True, metavar="FOLDER",
        help="NNN/initial_image.jpg and NNN/round<i>.jpg by the prompts' numbers; or a samples or "
        "images .parquet")  # fmt: skip
    add("--detector", required=True, metavar="KIND", help="owlv2, grounding_dino, sam3")
    add("--detector-path", type=Path, required=True, metavar="FOLDER")
    add("--dtype", default="float32", help="float32 (default), bfloat16, float16")
    add("--vocabulary", type=Path, metavar="FILE.yaml",
        help="words of the prompts; default: the benchmark's own")  # fmt: skip
    add("--rounds", type=int, default=1, help="of a folder: the last round that counts (default 1)")
    add("--attribution", type=float, default=ATTRIBUTION, metavar="SCORE",
        help=f"lowest score of an object with an attribute (default {ATTRIBUTION:g})")  # fmt: skip
    add("--others", type=float, default=OTHERS, metavar="SCORE",
        help=f"lowest score in the other categories (default {OTHERS:g})")  # fmt: skip
    add("--nms-iou", type=float, default=NMS_IOU, help=f"(default {NMS_IOU:g})")
    add("--batch-size", type=positive, default=8)
    add("--allow-partial", action="store_true",
        help="score what is there; the number carries its coverage")  # fmt: skip
    add("--out", type=Path, metavar="FILE.json", help="all numbers, and the pictures that fail")
    add_bootstrap_options(metric)
    metric.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Score the pictures, print the result, and write it."""
    from selma.comparing.statistics import Bootstrap
    from selma.core.devices import prepare_device
    from selma.core.files import write_json
    from selma.core.fingerprints import content_sha256
    from selma.correction.detectors.loading import load_detector
    from selma.correction.lmd import LMD, read_vocabulary
    from selma.measuring.lmd import check_complete, judge_pictures, lmd_result, read_lmd_pictures
    from selma.runtime.progress import progress

    how = Bootstrap(args.resamples, args.confidence, args.seed)
    words = LMD if args.vocabulary is None else read_vocabulary(args.vocabulary)
    pictures = read_lmd_pictures(args.images, words, args.rounds)
    check_complete(pictures, allow_partial=args.allow_partial)
    detector = load_detector(
        args.detector, args.detector_path, dtype=args.dtype, device=prepare_device(),
        batch_size=args.batch_size,
    )  # fmt: skip
    scores = {"attribution": args.attribution, "others": args.others, "nms_iou": args.nms_iou}
    with progress(len(pictures.found), "pictures judged") as advance:
        passed = judge_pictures(
            pictures.found, detector, **scores, batch_size=args.batch_size, advance=advance
        )
    result = lmd_result(pictures, passed, how, allow_partial=args.allow_partial)
    weights = content_sha256(args.detector_path)
    result |= {"images": str(args.images), "vocabulary": words.prefix, "thresholds": scores}
    result["detector"] = {"kind": args.detector, "name": args.detector_path.resolve().name}
    result["detector"] |= {"sha256": weights, "dtype": args.dtype}
    if args.out is not None:
        write_json(args.out, result)
    if args.json:
        print(json.dumps(result, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False))
    else:
        print(_words(result))


def _words(result: Mapping[str, Any]) -> str:
    detector, scores = result["detector"], result["thresholds"]
    cells = {**result["categories"], "overall": result}
    line = "/".join(f"{cell['score']:.2f}" for cell in cells.values())
    lines = [
        f"LMD: {result['score']:.2f} %{_interval(result)}   {line}",
        f"  {result['version']}",
        f"  detector {detector['kind']} {detector['name']} {detector['sha256'][:12]}; scores from "
        f"{scores['attribution']:g} (attribution), {scores['others']:g}; NMS {scores['nms_iou']:g}",
        f"  {100 * result['confidence']:g} % intervals, {result['resamples']} resamples of "
        f"{result['resampled']}",
    ]
    for name, cell in cells.items():
        lines.append(
            f"  {name:12}{cell['score']:7.2f}  {cell['passed']} of {cell['pictures']}, "
            f"{cell['distinct_prompts']} distinct prompts{_interval(cell)}"
        )
    if result["coverage"] < 1:
        lines.append(f"  PARTIAL: {100 * result['coverage']:.2f} % of the pictures are there")
    if result["failed"]:
        lines.append(f"  failed: {', '.join(result['failed'])}")
    return "\n".join(lines)


def _interval(cell: Mapping[str, Any]) -> str:
    if cell["low"] is None:
        return ", no interval: the prompts are all alike"
    return f" [{cell['low']:.2f}, {cell['high']:.2f}]"
