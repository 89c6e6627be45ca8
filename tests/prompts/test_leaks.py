"""The benchmark gate: what is a benchmark prompt in another dress, and what is one of its own."""

import csv
import json
import random
from pathlib import Path

import pytest

from selma.core.errors import RecordError
from selma.prompts.diversity import normalise
from selma.prompts.leaks import BenchmarkGate, check_disjoint

PUBLIC = Path(__file__).parents[3] / "shared/data/eval"
CIRCLE = "A red circle, on the white background."
PROMPTS = {"dsg/7": CIRCLE, "dsg/8": "three stars", "dsg/9": "cat"}


def gate_of(prompts: dict[str, str], edits: int, *, per_edit: int = 3) -> BenchmarkGate:
    return BenchmarkGate(prompts, word_edits_max=edits, words_per_edit=per_edit, rouge_l_max=None)


def gate(word_edits_max: int = 0, rouge_l_max: float | None = None) -> BenchmarkGate:
    return BenchmarkGate(
        PROMPTS, word_edits_max=word_edits_max, words_per_edit=3, rouge_l_max=rouge_l_max
    )


def verdict(gate: BenchmarkGate, prompt: str) -> tuple[str | None, str | None, bool]:
    found = gate.compare(prompt)
    return found.kind, found.prompt_id, found.leaked


@pytest.mark.parametrize(
    ("prompt", "item"),
    [
        ("a red circle on a white background", "dsg/7"),
        ("RED circle  on white background!", "dsg/7"),
        ("the Three stars", "dsg/8"),
    ],
)
def test_a_benchmark_prompt_is_refused_in_any_dress(prompt: str, item: str):
    assert verdict(gate(), prompt) == ("equal", item, True)


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
    strict = gate_of(benchmark, 2)
    assert strict.compare("six green birds sit on wires").leaked
    assert strict.compare("blue birds on wires").leaked
    assert not strict.compare("six green birds sit on roofs").leaked
    stricter = gate_of(benchmark, 1)
    assert not stricter.compare("six green birds sit on wires").leaked


def test_more_edits_are_refused_where_params_say_so():
    benchmark = {"b": "five blue birds sit on wires above old roofs"}
    lax = gate_of(benchmark, 3)
    assert lax.compare("six green birds sit on wires above new roofs").leaked


def test_a_prompt_of_another_meaning_passes_however_near_and_is_called_edited():
    prompt = "a red circle on the black background"
    assert verdict(gate(), prompt) == ("edited", "dsg/7", False)
    near = gate().nearest(prompt)
    assert near.prompt_id == "dsg/7"
    assert near.rouge_l == pytest.approx(6 / 7)


def test_a_rouge_l_at_the_limit_is_refused_unless_that_is_off():
    prompt = "a red square on the black wall"  # 4 common words of 7 and 7
    assert verdict(gate(rouge_l_max=4 / 7), prompt) == ("rouge_l", "dsg/7", True)
    assert not gate(rouge_l_max=0.58).compare(prompt).leaked
    assert not gate().compare(prompt).leaked


def test_without_benchmarks_nothing_is_refused():
    empty = gate_of({}, 2)
    assert verdict(empty, "a cat") == (None, None, False)


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


@pytest.mark.parametrize("per_edit", [0, 2, 3])
@pytest.mark.parametrize("most", [0, 1, 2, 4])
def test_random_prompts_are_refused_as_by_brute_force(most: int, per_edit: int):
    rng = random.Random(most)
    vocabulary = ["red", "blue", "cat", "dog", "on", "two"]

    def draw() -> str:
        return " ".join(rng.choices(vocabulary, k=rng.randint(1, 13)))

    prompts = {f"{number:03d}": draw() for number in range(100)}
    strict = gate_of(prompts, most, per_edit=per_edit)
    found = set()
    for prompt in (draw() for _ in range(50)):
        split = prompt.split()
        leaked = any(
            edits_by_table(split, other.split())
            <= (min(most, len(other.split()) // per_edit) if per_edit else most)
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


def edited(prompt: str, rng: random.Random, vocabulary: list[str], per_edit: int) -> str:
    """Insert, delete or replace one or two words, as many as the gate allows for."""
    tokens = normalise(prompt).split()
    edits = rng.choice((1, 2))
    for _ in range(min(edits, len(tokens) // per_edit) if per_edit else edits):
        place = rng.randrange(len(tokens) + 1)
        tokens[place : place + rng.choice((0, 1))] = rng.choices(vocabulary, k=rng.choice((0, 1)))
    return " ".join(tokens).capitalize() + "."


@pytest.mark.parametrize("per_edit", [0, 3])
def test_every_planted_prompt_of_the_public_benchmarks_is_caught(public, per_edit: int):
    """Each prompt once: verbatim, in another dress, or edited; by turns."""
    strict = gate_of(public, 2, per_edit=per_edit)
    rng = random.Random(0)
    vocabulary = " ".join(map(normalise, public.values())).split()
    for number, prompt in enumerate(public.values()):
        changed = edited(prompt, rng, vocabulary, per_edit)
        planted = (prompt, f" «{prompt.swapcase()}» …", changed)[number % 3]
        assert strict.compare(planted).leaked, (prompt, planted)


def test_a_dev_split_shares_no_prompt_with_a_benchmark_whatever_its_case_and_articles() -> None:
    check_disjoint("dev.parquet", {"a": "two stars", "b": "a cat on a mat"}, PROMPTS)
    dev = {"a": "Three stars!", "b": "two stars", "c": "the cat", "d": CIRCLE, "e": "three stars"}
    with pytest.raises(RecordError) as caught:
        check_disjoint("dev.parquet", dev, PROMPTS)
    message = str(caught.value)
    assert message.startswith("dev.parquet: 4 of its 5 prompts stand in a benchmark too: ")
    assert "a = dsg/8 ('Three stars!'), c = dsg/9 ('the cat'), d = dsg/7" in message
    assert "and 1 more; take them out" in message
    assert "two stars" not in message
