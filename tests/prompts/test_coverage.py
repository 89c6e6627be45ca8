"""What prompts are about and how they are put, counted by hand."""

import random
from pathlib import Path

import pytest

from selma.prompts import coverage as module
from selma.prompts.coverage import compare, coverage, distance, find_mentions, lopsided, plot_csv
from selma.runtime.yaml_files import read_yaml

LISTS = Path(module.__file__).with_name("word_lists.yaml")
FOUR = [
    "Two red cats on a mat.",
    "a cat, a dog, and 3 cherries",
    'Imagine a shop. It says "OPEN"',
    "Behind it?",
]


def mentioned(prompt: str) -> list[str]:
    return [f"{mention.kind} {mention.word}" for mention in find_mentions(prompt)]


def shares(group: str, prompts: list[str] = FOUR) -> dict[str, float]:
    """The shares of a group that are not 0."""
    start = f"{group}_"
    numbers = coverage(prompts).items()
    return {k.removeprefix(start): v for k, v in numbers if k.startswith(start) and v}


def test_things_named_are_counted_by_list():
    assert shares("mentions") == {
        "animals": 0.5, "colour": 0.25, "food": 0.25, "number": 0.5, "places": 0.25, "position": 0.5
    }  # fmt: skip
    assert coverage(["a cat, a cat and a dog", "a dog"])["objects_commonest"] == 1
    numbers = coverage(FOUR)
    found = {key: numbers[f"objects_{key}"] for key in ("per_prompt", "distinct", "commonest")}
    assert found == {"per_prompt": 5 / 4, "distinct": 4, "commonest": 2 / 4}
    assert (numbers["numbers_distinct"], numbers["numbers_commonest"]) == (2, 1 / 4)


def test_a_prompt_that_names_nothing_known_is_counted_as_such():
    assert shares("mentions", ["qwx", "a cat"]) == {"none": 0.5, "animals": 0.5}


def test_lengths_openings_and_forms_are_shares_of_the_prompts():
    assert coverage(FOUR)["words_mean"] == (6 + 7 + 6 + 2) / 4
    assert shares("length") == {"01_05": 0.25, "06_10": 0.75}
    assert shares("opens") == dict.fromkeys(["number", "article", "command", "preposition"], 0.25)
    assert shares("form") == dict.fromkeys(
        ["list", "several_sentences", "quotes", "question"], 0.25
    )
    assert shares("opens", ["12 cats", "dozen eggs", "cats"]) == {
        "number": pytest.approx(2 / 3), "other": pytest.approx(1 / 3)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "name"), [(1, "01_05"), (5, "01_05"), (6, "06_10"), (60, "41_60"), (61, "61_up")]
)
def test_a_bin_of_lengths_holds_its_last_word(words: int, name: str):
    assert shares("length", ["x " * words]) == {name: 1}


def test_of_phrases_that_overlap_the_longest_counts_and_plurals_are_known():
    assert mentioned("hot dogs on top of the polar bear") == [
        "food hot dog", "position on top of", "animals polar bear",
    ]  # fmt: skip
    assert mentioned("Strawberries, foxes and a glass") == [
        "food strawberry", "animals fox", "material glass",
    ]  # fmt: skip
    assert mentioned("8k, 1920, 1, 99 and 100") == ["number 99"]


def test_an_apostrophe_is_no_quote():
    assert "quotes" not in shares("form", ["the baker's and the tailor's shop"])
    assert shares("form", ["a sign with 'GO ON'"]) == {"quotes": 1}


def test_diversity_is_the_share_of_different_words_and_the_entropy_of_openings():
    numbers = coverage(FOUR)
    assert numbers["distinct_1"] == 17 / 21
    assert numbers["distinct_2"] == 1
    assert (numbers["openings_commonest"], numbers["openings_entropy"]) == (1 / 4, 2)
    alike = coverage(["the old mill"] * 3 + ["the old oak"])
    assert (alike["openings_commonest"], alike["openings_entropy"]) == (1, 0)
    assert alike["words_entropy"] == pytest.approx(
        2 / 3 * 1.584962500721156 + 1 / 4 * 2 + 1 / 12 * 3.584962500721156
    )


def test_a_larger_set_of_the_same_words_is_no_less_distinct():
    assert coverage(["x y"] * 250)["distinct_1"] == coverage(["x y"] * 1000)["distinct_1"] == 0.004


def test_the_order_of_a_small_set_does_not_matter():
    shuffled = random.Random(1).sample(FOUR, k=4)
    assert shuffled != FOUR
    assert coverage(shuffled) == pytest.approx(coverage(FOUR))


def test_distances_are_total_variations():
    cats, both, pies = coverage(["a cat"]), coverage(["a cat", "a red cat"]), coverage(["a pie"])
    assert distance(cats, cats, "mentions") == 0
    assert distance(cats, pies, "mentions") == 1
    assert distance(cats, both, "mentions") == pytest.approx(1 / 3)  # 1, 0 and 2/3, 1/3
    long = coverage(["six words are in this one", "a cat", "a cat", "a cat"])
    assert distance(long, coverage(FOUR), "length") == 0.5  # 3/4, 1/4 and 1/4, 3/4


def test_a_table_row_has_a_sets_numbers_and_its_distances_from_each_benchmark():
    row = compare(coverage(["a cat"]), {"b": coverage(["a cat", "a pie"]), "c": coverage(FOUR)})
    assert (row["mentions_distance_b"], row["length_distance_c"]) == (0.5, 0.75)
    assert row["objects_distinct"] == 1
    assert not [key for key in row if key.startswith(("mentions_a", "length_0", "opens"))]


def test_the_plot_has_every_number_of_every_set():
    own = coverage(FOUR)
    lines = plot_csv(own, {"b": coverage(["a cat"])}).splitlines()
    assert lines[0] == "set,measure,value"
    assert len(lines) == 1 + 2 * len(own)
    assert {"skill,mentions_food,0.25", "b,mentions_animals,1"} <= set(lines)


def test_more_than_half_of_the_prompts_alike_is_lopsided():
    others = [f"{letter} x" for letter in "abcdefghijklmno"]
    assert lopsided(compare(coverage([*others, *["so it goes"] * 15]), {})) == []
    (said,) = lopsided(compare(coverage([*others[:14], *["so it goes"] * 16]), {}))
    assert said == "53% of the prompts begin with the same two words"
    assert lopsided(compare(coverage(["so it goes"] * 29), {})) == []
    same = [f"z{number} x three cats" for number in range(30)]
    assert [line.partition("prompts ")[2] for line in lopsided(compare(coverage(same), {}))] == [
        "name the same object", "name the same number",
    ]  # fmt: skip


def test_a_set_far_from_every_benchmark_is_lopsided():
    own = coverage([f"z{number} red" for number in range(30)])
    far, near = coverage(["a cat"]), coverage(["a red cat"])
    (said,) = lopsided(compare(own, {"far": far}))
    assert "other things than all benchmarks (1.00 from far" in said
    assert lopsided(compare(own, {"far": far, "near": near})) == []


def test_no_word_stands_in_two_lists_and_none_is_too_long_to_be_found():
    lists = read_yaml(LISTS)
    del lists["openings"]
    words = [word for kinds in lists.values() for listed in kinds.values() for word in listed]
    assert sorted({word for word in words if words.count(word) > 1}) == []
    for word in words:
        (mention,) = find_mentions(word)
        assert mention.word == word
