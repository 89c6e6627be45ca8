"""Shows how a pocket base model answers to the guidance scale: DSG and clean shapes per scale.

The prompts are drawn like pocket-dsg's but from other seeds, so that no benchmark prompt is used.
Self-training can only help where DSG still rises beyond the guidance scale that params.yaml uses.

python bench/guidance.py [--base models/pocket/base] [--items 20] [--scales 1 2 3 5 8]
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from selma.core.devices import prepare_device
from selma.core.seeds import derive_seed
from selma.core.tables import read_table
from selma.diffusion.loading import load_backbone
from selma.diffusion.requests import to_uint8
from selma.diffusion.sampling import draw_batch
from selma.foundation.benchmarks import benchmark_rows
from selma.metrics.dsg import official
from selma.pocket.judge import answer_questions, detect_all
from selma.runtime.params import load_params

DEVELOPMENT_SEED = 12345
BATCH_SIZE = 50


def development_items(items_per_skill):
    """Draw items like pocket-dsg's, without any prompt of the benchmarks."""
    known = {
        row["prompt"].lower()
        for path in sorted(Path("data/benchmarks").glob("*.parquet"))
        for row in read_table(path, "benchmark")
    }
    rows = benchmark_rows("pocket-dsg", items_per_skill, DEVELOPMENT_SEED)
    return [row for row in rows if row["prompt"].lower() not in known]


def dsg(row, answers):
    """Score one picture by the official policy."""
    questions = row["questions"]
    raw = {q["question_id"]: int(a == "yes") for q, a in zip(questions, answers, strict=True)}
    filtered = official(raw, {q["question_id"]: q["dependency"] for q in questions})
    return sum(filtered.values()) / len(filtered)


def main():
    """Print one line per guidance scale."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="models/pocket/base")
    parser.add_argument("--items", type=int, default=20, help="prompts per skill")
    parser.add_argument("--scales", type=float, nargs="+", default=[1, 2, 3, 5, 8])
    args = parser.parse_args()
    rows = development_items(args.items)
    backbone = load_backbone(args.base, "float32", prepare_device())
    skills = sorted({row["source"] for row in rows})
    print("guidance   DSG  ± 95 %  clean shapes  " + "  ".join(f"{skill:>14}" for skill in skills))
    for scale in args.scales:
        pictures = []
        for start in range(0, len(rows), BATCH_SIZE):
            batch = rows[start : start + BATCH_SIZE]
            pixels = draw_batch(
                [row["prompt"] for row in batch],
                [derive_seed(DEVELOPMENT_SEED, row["item_id"]) for row in batch],
                backbone,
                guidance_scale=scale,
                inference_steps=load_params().samples.inference_steps,
            )
            pictures += to_uint8(pixels, [row["item_id"] for row in batch])
        asked = [[(q["question"], q["choices"]) for q in row["questions"]] for row in rows]
        scores = defaultdict(list)
        for row, answers in zip(rows, answer_questions(pictures, asked), strict=True):
            scores[row["source"]].append(dsg(row, answers))
        everything = np.concatenate([scores[skill] for skill in skills])
        half = 1.96 * everything.std(ddof=1) / len(everything) ** 0.5
        seen = detect_all(pictures)
        objects = sum(len(found.objects) for found in seen)
        clean = objects / max(1, objects + sum(found.leftovers for found in seen))
        line = f"{scale:8.1f} {100 * everything.mean():6.1f} {100 * half:6.1f} "
        line += f"{100 * clean:11.1f} %"
        print(line + "  " + "  ".join(f"{100 * np.mean(scores[skill]):14.1f}" for skill in skills))


if __name__ == "__main__":
    main()
