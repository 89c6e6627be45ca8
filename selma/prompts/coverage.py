"""Counts what prompts are about and how they are put, by word lists; compares sets of prompts.

No model and no parser: a word counts wherever it stands, so "a rose garden" has a plant, and what
no list holds is not seen (`mentions_none`). docs/prompts.md says what the counts cannot tell.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from selma.runtime.yaml_files import read_yaml

_LISTS = Path(__file__).with_name("word_lists.yaml")
_LONGEST_PHRASE = 4
_LENGTHS = (0, 5, 10, 15, 20, 30, 40, 60, math.inf)  # edges of bins, in words
_WINDOW = 500  # n-grams: the share of different ones falls as a set grows, not in a window
_QUOTED = re.compile(r"\"[^\"]+\"|“[^”]+”|(?<!\w)'[^']+'(?!\w)")
_SEVERAL = re.compile(r"\w[.!?]+\s+\w")
JUDGED_FROM = 30  # prompts: in fewer, a share of one half may be chance
COMMONEST_MAX = 0.5
# No public set (the sources of DSG-1k and TIFA, T2I-CompBench by kind, GenEval …, 27 in all) is
# farther than 0.70 from DSG-1k or TIFA, whichever is nearer; prompts for flat shapes are from 0.74.
DISTANCE_MAX = 0.72
_COMMONEST = {
    "openings_commonest": "begin with the same two words",
    "objects_commonest": "name the same object",
    "numbers_commonest": "name the same number",
}
_FORMS: dict[str, Callable[[str], bool]] = {
    "several_sentences": lambda prompt: bool(_SEVERAL.search(prompt)),
    "question": lambda prompt: prompt.rstrip().endswith("?"),
    "list": lambda prompt: prompt.count(",") > 1,  # three parts or more
    "quotes": lambda prompt: bool(_QUOTED.search(prompt)),
}


class Mention(NamedTuple):
    """A word or phrase of a list, as the list has it."""

    aspect: str
    kind: str
    word: str


@cache
def _phrases() -> tuple[dict[str, Mention], dict[str, str]]:
    """Read what each phrase stands for, and the kinds of opening words."""
    lists = read_yaml(_LISTS)
    openings = {word: kind for kind, words in lists.pop("openings").items() for word in words}
    known = {
        " ".join(_words(word)): Mention(aspect, kind, word)
        for aspect, kinds in lists.items()
        for kind, words in kinds.items()
        for word in words
    }
    return {_plural(phrase): mention for phrase, mention in known.items()} | known, openings


def _plural(word: str) -> str:
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + ("es" if re.search(r"(?:s|x|z|ch|sh)$", word) else "s")


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def find_mentions(prompt: str) -> list[Mention]:
    """List what the prompt names, in its order; of phrases that overlap the first and longest."""
    known, _ = _phrases()
    words, found, at = _words(prompt), list[Mention](), 0
    while at < len(words):
        lengths = range(min(_LONGEST_PHRASE, len(words) - at), 0, -1)
        held = [n for n in lengths if " ".join(words[at : at + n]) in known]
        if held:
            found.append(known[" ".join(words[at : at + held[0]])])
        elif re.fullmatch(r"[2-9]|[1-9]\d", words[at]):
            found.append(Mention("numbers", "number", words[at]))
        at += held[0] if held else 1
    return found


def coverage(prompts: Sequence[str]) -> dict[str, float]:
    """Count over a set of prompts, which must not be empty.

    `length_*` and `opens_*` are shares of the prompts that sum to 1, `mentions_*` the shares that
    name something of a list, or of none, and `form_*` those so put. For each aspect, such as
    `objects`: mentions `_per_prompt`, `_distinct` words, and the share of prompts that name the
    `_commonest` of them. `openings_*` are about the first two words. `distinct_1` and `distinct_2`
    are the shares of different words and pairs of words in windows of 500; the entropies are in
    bits and grow with the size of the set.
    """
    known, openings = _phrases()
    kinds = {mention.kind: mention.aspect for mention in known.values()}
    found = [find_mentions(prompt) for prompt in prompts]
    words = [_words(prompt) for prompt in prompts]
    lengths = [len(prompt.split()) for prompt in prompts]
    starts = Counter(" ".join(each[:2]) for each in words)
    numbers = {
        "prompts": len(prompts),
        "words_mean": sum(lengths) / len(prompts),
        "words_entropy": _entropy(Counter(word for each in words for word in each)),
        "distinct_1": _distinct([word for each in words for word in each]),
        "distinct_2": _distinct([pair for each in words for pair in pairwise(each)]),
        "openings_commonest": max(starts.values()) / len(prompts),
        "openings_entropy": _entropy(starts),
    }
    for aspect in dict.fromkeys(kinds.values()):
        named = [[m.word for m in mentions if m.aspect == aspect] for mentions in found]
        holders = Counter(word for each in named for word in set(each))
        numbers[f"{aspect}_per_prompt"] = sum(map(len, named)) / len(prompts)
        numbers[f"{aspect}_distinct"] = len(holders)
        numbers[f"{aspect}_commonest"] = max(holders.values(), default=0) / len(prompts)
    groups: dict[str, tuple[Iterable[str], list[Iterable[str]]]] = {
        "form": (_FORMS, [[form for form, has in _FORMS.items() if has(p)] for p in prompts]),
        "length": (map(_bin, _LENGTHS[1:]), [[_bin(length)] for length in lengths]),
        "mentions": ((*kinds, "none"), [{m.kind for m in each} or {"none"} for each in found]),
        "opens": ({*openings.values(), "number", "other"}, [[_opening(each)] for each in words]),
    }
    for group, (names, held) in groups.items():
        counts = Counter(name for each in held for name in each)
        numbers |= {f"{group}_{name}": counts[name] / len(prompts) for name in sorted(names)}
    return numbers


def _bin(length: float) -> str:
    """Name a bin of lengths; names sort as lengths do."""
    low, high = next((low, high) for low, high in pairwise(_LENGTHS) if length <= high)
    return f"{low + 1:02}_{'up' if high == math.inf else f'{high:02}'}"


def _opening(words: Sequence[str]) -> str:
    phrases, openings = _phrases()
    first = words[0] if words else ""
    if first.isdigit() or (first in phrases and phrases[first].kind == "number"):
        return "number"
    return openings.get(first, "other")


def _entropy(counts: Counter[str]) -> float:
    total = counts.total()
    return sum(n / total * math.log2(total / n) for n in counts.values())


def _distinct(grams: Sequence[object]) -> float:
    starts = range(0, max(len(grams) - _WINDOW, 0) + 1, _WINDOW)
    windows = [grams[start : start + _WINDOW] for start in starts]
    return sum(len(set(window)) / max(len(window), 1) for window in windows) / len(windows)


def distance(first: Mapping[str, float], second: Mapping[str, float], group: str) -> float:
    """Total variation between two sets in a group of keys: 0 alike, 1 nothing in common.

    A prompt may name things of several lists, so the shares of `mentions` are made to sum to 1.
    """
    keys = [key for key in first if key.startswith(f"{group}_")]
    sums = [sum(numbers[key] for key in keys) for numbers in (first, second)]
    return sum(abs(first[key] / sums[0] - second[key] / sums[1]) for key in keys) / 2


def compare(
    own: Mapping[str, float], benchmarks: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """Sum a set's coverage up for one line of a table, with its distances from benchmarks.

    What `plot_csv` has for each list, bin and opening is left out.
    """
    groups = ("length", "mentions")
    kept = {k: round(v, 4) for k, v in own.items() if not k.startswith((*groups, "opens"))}
    apart = {
        f"{group}_distance_{name}": round(distance(own, other, group), 4)
        for name, other in benchmarks.items()
        for group in groups
    }
    return kept | apart


def plot_csv(own: Mapping[str, float], benchmarks: Mapping[str, Mapping[str, float]]) -> str:
    """Write every number of a skill's set and of the benchmarks as CSV, for `dvc plots`."""
    lines = ["set,measure,value"]
    for name, numbers in (("skill", own), *sorted(benchmarks.items())):
        lines += [f"{name},{key},{value:.6g}" for key, value in numbers.items()]
    return "\n".join(lines) + "\n"


def lopsided(compared: Mapping[str, float]) -> list[str]:
    """Say what a person should look at before pictures of these prompts are drawn.

    Half of the prompts alike is a template, or half the cost for one thing. A relation or attribute
    may be that common ("on"), in sets that are well mixed.
    """
    if compared["prompts"] < JUDGED_FROM:
        return []
    found = [
        f"{compared[key]:.0%} of the prompts {what}"
        for key, what in _COMMONEST.items()
        if compared[key] > COMMONEST_MAX
    ]
    start = "mentions_distance_"
    apart = {k.removeprefix(start): v for k, v in compared.items() if k.startswith(start)}
    if apart and min(apart.values()) > DISTANCE_MAX:
        nearest = min(apart, key=lambda name: apart[name])
        found.append(
            f"they are about other things than all benchmarks ({apart[nearest]:.2f} from {nearest} "
            f"by what they mention; more than {DISTANCE_MAX})"
        )
    return found
