"""Shows how the preference scores go with a measure: on one model's pictures, and between models.

For each row of `preferences`: the correlation of its score and the measure over the second model's
pictures, and the mean difference of its score, first model − second, over the pictures (same prompt
and seed) where the measure rose, stayed and fell; ± 95 %, prompts being the unit.

python bench/preferences.py [--measure dsg] [--first merged] [--second base] [--scores data/scores]
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from selma.runtime.params import load_params

NORMAL_95 = 1.96


def scores(folder, name, model):
    """Read one model's scores, by prompt and sample."""
    table = pd.read_parquet(folder / name / f"{model}.parquet")
    return table.set_index(["item_id", "sample"]).score


def mean_by_prompts(values):
    """Give the mean over pictures and half its 95 % interval, with prompts as clusters."""
    residuals = (values - values.mean()).groupby(level="item_id").sum()
    return values.mean(), NORMAL_95 * np.sqrt((residuals**2).sum()) / len(values)


def main():
    """Print one line per preference score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", default="dsg")
    parser.add_argument("--first", default="merged")
    parser.add_argument("--second", default="base")
    parser.add_argument("--scores", type=Path, default=Path("data/scores"))
    args = parser.parse_args()
    first, second = (scores(args.scores, args.measure, name) for name in (args.first, args.second))
    change = np.sign((first - second).round(9))
    kinds = {"rose": change > 0, "stayed": change == 0, "fell": change < 0}
    counts = "".join(f"  {f'{kind} ({chosen.sum()})':>18}" for kind, chosen in kinds.items())
    print(f"{args.first} − {args.second} where {args.measure} …")
    print(f"{'':12}     r{counts}")
    for name in load_params(Path("params.yaml")).preferences:
        theirs = scores(args.scores, name, args.second)
        gain = scores(args.scores, name, args.first) - theirs
        parts = [mean_by_prompts(gain[chosen]) for chosen in kinds.values()]
        cells = "".join(f"  {f'{mean:+.3f} ± {half:.3f}':>18}" for mean, half in parts)
        print(f"{name:12}{theirs.corr(second):6.2f}{cells}")


if __name__ == "__main__":
    main()
