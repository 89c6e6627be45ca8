"""Shows how the preference scores go with a measure: on one model's pictures, and between models.

For each row of `preferences`: the correlation of its score and the measure over the second model's
pictures, and the mean difference of its score, first model − second, over the pictures (same prompt
and seed) where the measure rose, stayed and fell; ± 95 %, prompts being the unit. Then how many
objects the pocket judge sees in a picture of each, and how much of what it sees is a clean shape.

python bench/preferences.py [--measure dsg] [--first merged] [--second base]
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from selma.core.tables import read_table
from selma.pictures.png import picture_of
from selma.pocket.judge import detect_all
from selma.runtime.params import load_params

NORMAL_95 = 1.96
SCORES, SAMPLES = Path("data/scores"), Path("data/samples")


def scores(name, model):
    """Read one model's scores, by prompt and sample."""
    table = pd.read_parquet(SCORES / name / f"{model}.parquet")
    return table.set_index(["item_id", "sample"]).score


def mean_by_prompts(values):
    """Give the mean over pictures and half its 95 % interval, with prompts as clusters."""
    residuals = (values - values.mean()).groupby(level="item_id").sum()
    return values.mean(), NORMAL_95 * np.sqrt((residuals**2).sum()) / len(values)


def pieces(model, benchmark):
    """Count a model's pictures, the objects in them and the pieces that are no clean shape."""
    rows = read_table(SAMPLES / model / f"{benchmark}.parquet", "samples")
    seen = detect_all([picture_of(row) for row in rows])
    objects = sum(len(found.objects) for found in seen)
    return len(seen), objects, sum(found.leftovers for found in seen)


def main():
    """Print one line per preference score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", default="dsg")
    parser.add_argument("--first", default="merged")
    parser.add_argument("--second", default="base")
    args = parser.parse_args()
    first, second = (scores(args.measure, name) for name in (args.first, args.second))
    change = np.sign((first - second).round(9))
    kinds = {"rose": change > 0, "stayed": change == 0, "fell": change < 0}
    counts = "".join(f"  {f'{kind} ({chosen.sum()})':>18}" for kind, chosen in kinds.items())
    print(f"{args.first} − {args.second} where {args.measure} …")
    print(f"{'':12}     r{counts}")
    params = load_params(Path("params.yaml"))
    for name in params.preferences:
        theirs = scores(name, args.second)
        gain = scores(name, args.first) - theirs
        parts = [mean_by_prompts(gain[chosen]) for chosen in kinds.values()]
        cells = "".join(f"  {f'{mean:+.3f} ± {half:.3f}':>18}" for mean, half in parts)
        print(f"{name:12}{theirs.corr(second):6.2f}{cells}")
    benchmark = params.answers[params.measures[args.measure].answers].benchmark
    for model in (args.first, args.second):
        pictures, objects, leftovers = pieces(model, benchmark)
        clean = 100 * objects / (objects + leftovers)
        print(f"{model}: {objects / pictures:.2f} objects a picture, {clean:.1f} % of pieces clean")


if __name__ == "__main__":
    main()
