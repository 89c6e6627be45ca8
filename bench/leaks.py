"""What the leak gate catches of planted benchmark prompts, refuses of other prompts, and costs.

Files of prompts are Parquet (column prompt), CSV (column text), JSON or JSON lines (objects with a
caption or a prompt) or text (one prompt a line), as the public benchmarks are.
"""

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from selma.prompts.diversity import normalise
from selma.prompts.leaks import KINDS, BenchmarkGate

SPANS = {"1 to 2 words": 1, "3 words": 3, "4 to 5 words": 4, "6 words and more": 6}  # from


def main() -> None:
    """Print three tables; the last lists every refused prompt with the benchmark prompt."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmarks", nargs="+", type=Path, required=True)
    parser.add_argument("--others", nargs="*", type=Path, default=[])
    parser.add_argument("--word-edits-max", type=int, default=2)
    parser.add_argument("--words-per-edit", type=int, default=3, help="0: however short it is")
    parser.add_argument("--rouge-l-max", type=float, default=0.8)
    args = parser.parse_args()
    prompts = {
        f"{path.stem}/{number}": prompt
        for path in args.benchmarks
        for number, prompt in enumerate(read_prompts(path))
    }
    gate = BenchmarkGate(
        prompts, word_edits_max=args.word_edits_max, words_per_edit=args.words_per_edit,
        rouge_l_max=args.rouge_l_max,
    )  # fmt: skip
    print_caught(gate, list(prompts.values()))
    print_seconds(gate, prompts)
    for path in args.others:
        print_refused(gate, prompts, path)


def read_prompts(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        return list(pd.read_parquet(path)["prompt"])
    if path.suffix == ".csv":
        return list(pd.read_csv(path, keep_default_na=False)["text"].drop_duplicates())
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".txt":
        return [line for line in text.split("\n") if line.strip()]
    lines = path.suffix == ".jsonl"
    entries = map(json.loads, text.splitlines()) if lines else json.loads(text)
    return [entry.get("caption") or entry["prompt"] for entry in entries]


def print_caught(gate: BenchmarkGate, prompts: Sequence[str]) -> None:
    """Plant every prompt in each disguise; those of few words by how many words they have."""
    rng = random.Random(0)
    vocabulary = " ".join(map(normalise, prompts)).split()
    print("caught of planted prompts", *SPANS, sep=" | ")
    for name, edits in (("verbatim", 0), ("other case, marks", 0), ("1 edit", 1), ("2 edits", 2)):
        caught, planted = Counter[str](), Counter[str]()
        for prompt in prompts:
            tokens = normalise(prompt).split()
            span = [span for span, low in SPANS.items() if low <= len(tokens)][-1]
            text = f"«{prompt.swapcase()}»!" if name.startswith("other") else prompt
            if edits:
                text = " ".join(edited(tokens, edits, rng, vocabulary))
            planted[span] += 1
            caught[span] += gate.compare(text).leaked
        cells = (f"{100 * caught[span] / max(planted[span], 1):.1f} %" for span in SPANS)
        print(name, *cells, sep=" | ")


def edited(
    tokens: Sequence[str], edits: int, rng: random.Random, vocabulary: Sequence[str]
) -> list[str]:
    """Insert, delete or replace a word, `edits` times, by a word that the benchmarks have."""
    tokens = list(tokens)
    for _ in range(edits):
        place = rng.randrange(len(tokens) + 1)
        removed, inserted = rng.choice(((0, 1), (1, 0), (1, 1)))
        tokens[place : place + removed] = rng.choices(vocabulary, k=inserted)
    return tokens


def print_seconds(gate: BenchmarkGate, prompts: dict[str, str]) -> None:
    candidates = random.Random(1).sample(sorted(prompts.values()), min(1000, len(prompts)))
    candidates = [" ".join(reversed(text.split())) for text in candidates]  # so that few are leaks
    start = time.perf_counter()
    leaked = sum(gate.compare(text).leaked for text in candidates)
    seconds = time.perf_counter() - start
    print(f"\n{len(candidates)} x {len(prompts)} comparisons: {seconds:.2f} s, {leaked} leaks")


def print_refused(gate: BenchmarkGate, prompts: dict[str, str], path: Path) -> None:
    others = read_prompts(path)
    refused = {text: found for text in others if (found := gate.compare(text)).leaked}
    kinds = Counter(found.kind for found in refused.values())
    counts = ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS)
    print(f"\n{path.name}: {len(refused)} of {len(others)} refused "
          f"({100 * len(refused) / len(others):.2f} %): {counts}")  # fmt: skip
    for text, found in refused.items():
        print(f"  {found.kind}: {text.strip()} | {prompts[found.prompt_id or ''].strip()}")


if __name__ == "__main__":
    main()
