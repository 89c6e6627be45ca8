"""The benchmark gate: what is a benchmark prompt in another dress, and what is one of its own."""

import csv
import json
import random
from pathlib import Path

import pytest

from selma.prompts.diversity import normalise
from selma.prompts.leaks import BenchmarkGate, Nearness

PUBLIC = Path(__file__).parents[3] / "shared/data/eval"
CIRCLE = "A red circle, on the white background."
PROMPTS = {"dsg/7": CIRCLE, "dsg/8": "three stars", "dsg/9": "cat"}


def gate(word_edits_max: int = 0, rouge_l_max: float | None = None) -> BenchmarkGate:
    return BenchmarkGate(PROMPTS, word_edits_max=word_edits_max, rouge_l_max=rouge_l_max)


@pytest.mark.parametrize(
    ("prompt", "item"),
    [
        ("a red circle on a white background", "dsg/7"),
        ("RED circle  on white background!", "dsg/7"),
        ("the Three stars", "dsg/8"),
    ],
)
def test_a_benchmark_prompt_is_refused_in_any_dress(prompt: str, item: str):
    assert gate().compare(prompt) == Nearness("equal", item, leaked=True)


@pytest.mark.parametrize(
    ("prompt", "kind", "leaked"),
    [
        ("a red square on a white background", "edited", True),
        ("a big red circle on a white background", "edited", True),
        ("a circle on a white background", "edited", True),
        ("a red square on a black background", "rouge_l", False),  # two edits of five words
        ("three stars", "equal", True),
        ("two stars", "rouge_l", False),  # one edit of two words
        ("big cat", "rouge_l", False),
        ("dog", None, False),
    ],
)
def test_of_three_words_one_may_be_edited(prompt: str, kind: str | None, leaked: bool):
    likeness = gate(word_edits_max=2).compare(prompt)
    assert (likeness.kind, likeness.leaked) == (kind, leaked)


def test_two_edits_of_six_words_are_refused_and_three_are_not():
    benchmark = {"b": "five blue birds sit on wires"}
    strict = BenchmarkGate(benchmark, word_edits_max=2, rouge_l_max=None)
    assert strict.compare("six green birds sit on wires").leaked
    assert strict.compare("blue birds on wires").leaked
    assert not strict.compare("six green birds sit on roofs").leaked
    stricter = BenchmarkGate(benchmark, word_edits_max=1, rouge_l_max=None)
    assert not stricter.compare("six green birds sit on wires").leaked


def test_more_edits_are_refused_where_params_say_so():
    benchmark = {"b": "five blue birds sit on wires above old roofs"}
    lax = BenchmarkGate(benchmark, word_edits_max=3, rouge_l_max=None)
    assert lax.compare("six green birds sit on wires above new roofs").leaked


def test_a_prompt_of_another_meaning_passes_however_near_and_is_called_edited():
    prompt = "a red circle on the black background"
    assert gate().compare(prompt) == Nearness("edited", "dsg/7", leaked=False)
    near = gate().nearest(prompt)
    assert near.prompt_id == "dsg/7"
    assert near.rouge_l == pytest.approx(6 / 7)


def test_a_rouge_l_at_the_limit_is_refused_unless_that_is_off():
    prompt = "a red square on the black wall"  # 4 common words of 7 and 7
    assert gate(rouge_l_max=4 / 7).compare(prompt) == Nearness("rouge_l", "dsg/7", leaked=True)
    assert not gate(rouge_l_max=0.58).compare(prompt).leaked
    assert not gate().compare(prompt).leaked


def test_without_benchmarks_nothing_is_refused():
    empty = BenchmarkGate({}, word_edits_max=2, rouge_l_max=0.8)
    assert empty.compare("a cat") == Nearness(None, None, leaked=False)


def test_articles_alone_and_other_scripts_do_not_normalise_to_nothing():
    assert normalise("The A") == "the a"
    assert normalise("Ein roter Kreis, ГРОМ") == "ein roter kreis гром"


def edits_by_table(first: list[str], second: list[str]) -> int:
    """Levenshtein's distance by Wagner and Fischer's table."""
    row = list(range(len(second) + 1))
    for number, word in enumerate(first, start=1):
        before, row = row, [number]
        for place, other in enumerate(second, start=1):
            changed = before[place - 1] + (word != other)
            row.append(min(before[place] + 1, row[-1] + 1, changed))
    return row[-1]


@pytest.mark.parametrize("most", [0, 1, 2, 4])
def test_random_prompts_are_refused_as_by_brute_force(most: int):
    rng = random.Random(most)
    vocabulary = ["red", "blue", "cat", "dog", "on", "two"]

    def draw() -> str:
        return " ".join(rng.choices(vocabulary, k=rng.randint(1, 13)))

    prompts = {f"{number:03d}": draw() for number in range(100)}
    strict = BenchmarkGate(prompts, word_edits_max=most, rouge_l_max=None)
    found = set()
    for prompt in (draw() for _ in range(50)):
        split = prompt.split()
        leaked = any(
            edits_by_table(split, other.split()) <= min(most, len(other.split()) // 3)
            for other in prompts.values()
        )
        assert strict.compare(prompt).leaked == leaked
        found.add(leaked)
    assert found == {True, False}


@pytest.fixture(scope="module")
def public() -> dict[str, str]:
    """The 1,060 prompts of DSG-1k and the 4,081 of TIFA, by item id."""
    dsg, tifa = PUBLIC / "dsg-1k-anns.csv", PUBLIC / "tifa_v1.0_text_inputs.json"
    if not dsg.is_file() or not tifa.is_file():
        pytest.skip(f"the public files {dsg.name} and {tifa.name} are not in {PUBLIC}")
    with dsg.open(encoding="utf-8", newline="") as lines:
        prompts = {f"dsg/{row['item_id']}": row["text"] for row in csv.DictReader(lines)}
    entries = json.loads(tifa.read_text(encoding="utf-8"))
    prompts |= {f"tifa/{entry['id']}": entry["caption"] for entry in entries}
    assert len(prompts) == 1060 + 4081
    return prompts


def edited(prompt: str, rng: random.Random, vocabulary: list[str]) -> str:
    """Insert, delete or replace one or two words, as many as the gate allows for."""
    tokens = normalise(prompt).split()
    for _ in range(min(rng.choice((1, 2)), len(tokens) // 3)):
        place = rng.randrange(len(tokens))
        tokens[place : place + rng.choice((0, 1))] = rng.choices(vocabulary, k=rng.choice((0, 1)))
    return " ".join(tokens).capitalize() + "."


def test_every_planted_prompt_of_the_public_benchmarks_is_caught(public: dict[str, str]):
    """Each prompt once: verbatim, in another dress, or edited; by turns."""
    strict = BenchmarkGate(public, word_edits_max=2, rouge_l_max=None)
    rng = random.Random(0)
    vocabulary = " ".join(map(normalise, public.values())).split()
    for number, prompt in enumerate(public.values()):
        planted = (prompt, f" «{prompt.swapcase()}» …", edited(prompt, rng, vocabulary))[number % 3]
        assert strict.compare(planted).leaked, (prompt, planted)
