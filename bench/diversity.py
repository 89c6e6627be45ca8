"""Filters 1,000 to 100,000 prompts: selma, rapidfuzz on every pair, rouge-score on every pair.

Each way keeps a prompt if its ROUGE-L F with every prompt kept before is at most 0.8. "pocket
NAME" are a skill's prompts of the pocket grammar: 40 to 50 words, so all of them share many.
"templates" are sentences of ten patterns whose slots are filled from 8,000 nouns, 2,000 adjectives
and 1,000 verbs, the k-th one with a frequency of 1 / k, as in natural language.
"""

import argparse
import math
import random
import re
import resource
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from rapidfuzz.distance import Indel
from rapidfuzz.process import extractOne
from rouge_score.rouge_scorer import RougeScorer

from selma.pocket.skills import DRAW, TRAINED_SKILLS, write_prompt
from selma.prompts.diversity import Alphabet, PromptIndex, words

Way = tuple[Callable[[str], float], Callable[[str], None]]  # the greatest F so far; keep a prompt
LIMIT = 0.8
SIZES = (1_000, 5_000, 20_000, 100_000)
RAPIDFUZZ_SIZES = SIZES[:3]
ROUGE_SCORE_SIZES = SIZES[:1]
SLOTS = {"noun": 8_000, "adjective": 2_000, "verb": 1_000}
PATTERNS = (
    "a {adjective} {noun} {verb}ing on a {noun}",
    "a photo of a {noun} and a {adjective} {noun} in the {noun}",
    "two {noun}s {verb}ing next to a {adjective} {adjective} {noun}",
    "the {noun} of a {noun}, {adjective} light, {adjective} background",
    "an old {noun} with {adjective} {noun}s and {adjective} {noun}s",
    "a {noun} that {verb}s while the {noun}s {verb} in front of the {adjective} {noun}",
    "{noun}, {noun}, {adjective} {noun}, highly detailed",
    "in the {noun} there is a {adjective} {noun}; behind it a {noun} is {verb}ing",
    "a {noun} to the left of three {adjective} {noun}s under the {noun}",
    "this is a picture of a {adjective} {noun}. a {noun} is {verb}ing at it from the {noun}. "
    "the {noun}s are {adjective} and the {noun} looks {adjective}",
)  # fmt: skip
ROW = "{:>8}{:>8}{:>9}{:>13}{:>7}{:>13}{:>8}{:>10}"


def main() -> None:
    """Print a table per corpus; seconds are the process's own computing time, on one thread."""
    parser = argparse.ArgumentParser(description=__doc__)
    corpora = (*(f"pocket {skill}" for skill in TRAINED_SKILLS), "templates")
    parser.add_argument("corpora", nargs="*", help=f"some of: {', '.join(corpora)}")
    chosen = parser.parse_args().corpora or ["pocket paragraph", "pocket attributes", "templates"]
    print("~: seconds per pair at the most prompts measured, times the number of pairs")
    for corpus in chosen:
        compare(corpus)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\npeak memory of this process: {peak:.2f} GiB")


def compare(corpus: str) -> None:
    prompts = list(draw(corpus, max(SIZES)))
    print(f"\n{corpus}: {sum(len(words(text)) for text in prompts) / len(prompts):.1f} words each")
    print(ROW.format("prompts", "kept", "selma", "rapidfuzz", "ratio", "rouge-score", "ratio",
                     "exponent"), flush=True)  # fmt: skip
    kept, ours = keep(selma(), prompts, SIZES)
    same, theirs = keep(rapidfuzz(), prompts, RAPIDFUZZ_SIZES)
    still_same, original = keep(rouge_score(), prompts, ROUGE_SCORE_SIZES)
    assert same == kept[: len(same)] and still_same == kept[: len(still_same)]
    pairs = [0, *accumulate(bisect_left(kept, number) for number in range(len(prompts)))]
    for size, before in zip(SIZES, (None, *SIZES), strict=False):
        cells = [str(size), str(bisect_left(kept, size)), f"{ours[size]:.2f}"]
        for seconds in (theirs, original):
            most = max(seconds)
            found = seconds.get(size, seconds[most] * pairs[size] / pairs[most])
            cells += [f"{'' if size in seconds else '~'}{found:.2f}", f"{found / ours[size]:.0f}"]
        growth = before and math.log(ours[size] / ours[before]) / math.log(size / before)
        print(ROW.format(*cells, f"{growth:.2f}" if growth else ""), flush=True)


def keep(
    way: Way, prompts: Sequence[str], sizes: Sequence[int]
) -> tuple[list[int], dict[int, float]]:
    """Filter the first prompts, up to the last size: which are kept, and seconds at each size."""
    nearest, add = way
    kept, seconds = [], {}
    start = time.process_time()
    for number, prompt in enumerate(prompts[: sizes[-1]]):
        if nearest(prompt) <= LIMIT:
            add(prompt)
            kept.append(number)
        if number + 1 in sizes:
            seconds[number + 1] = time.process_time() - start
    return kept, seconds


def selma() -> Way:
    index = PromptIndex()
    return lambda text: index.nearest(text).rouge_l, lambda text: index.add(text, text)


def rapidfuzz() -> Way:
    alphabet, kept = Alphabet(), list[str]()

    def nearest(text: str) -> float:
        found = extractOne(alphabet.learn(words(text)), kept, scorer=Indel.normalized_similarity)
        return round(found[1], 12) if found else 0.0  # 1 - 0.2 is a little more than 0.8

    return nearest, lambda text: kept.append(alphabet.write(words(text)))


def rouge_score() -> Way:
    scorer, kept = RougeScorer(["rougeL"], use_stemmer=False), list[str]()

    def nearest(text: str) -> float:
        scores = (scorer.score(other, text)["rougeL"].fmeasure for other in kept)
        return round(max(scores, default=0.0), 12)  # 8 of 10 words are 0.8000000000000002 there

    return nearest, kept.append


def draw(corpus: str, number: int) -> Iterator[str]:
    rng = random.Random(0)
    if corpus != "templates":
        skill = corpus.removeprefix("pocket ")
        for _ in range(number):
            yield write_prompt(skill, DRAW[skill](rng), rng)
        return
    frequencies = {
        slot: list(accumulate(1 / rank for rank in range(1, size + 1)))
        for slot, size in SLOTS.items()
    }

    def fill(slot: re.Match[str]) -> str:
        sums = frequencies[slot[1]]
        return f"{slot[1]}{bisect_left(sums, rng.random() * sums[-1])}"

    for _ in range(number):
        yield re.sub("{(.*?)}", fill, rng.choice(PATTERNS))


if __name__ == "__main__":
    main()
