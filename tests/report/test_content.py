"""Pictures are joined with what the judge said, and chosen failures first, balanced."""

import pytest

from selma.core.errors import MissingDataError, RecordError
from selma.report.content import (
    build_examples,
    choose_examples,
    count_outcomes,
    parse_curve,
    typical_examples,
)

from .conftest import examples_of, item, tables


def test_an_example_has_both_pictures_and_the_judges_answer_to_each_question():
    (example,) = examples_of([item("a", "count")], lambda _: 1, lambda _: 2)
    assert example.questions == ("is there a star?", "is it red?")
    assert [verdict.answer for verdict in example.base.verdicts] == ["yes", "no"]
    assert [verdict.right for verdict in example.merged.verdicts] == [True, True]
    assert (example.difference, example.outcome) == (0.5, "better")


def test_a_picture_without_a_score_is_told_by_its_item():
    benchmark = [item("a", "count")]
    samples, answers, _ = tables(benchmark, lambda _: 1)
    both = {model: samples for model in ("base", "merged")}
    said = {model: answers for model in both}
    with pytest.raises(MissingDataError, match="none for item 'a' sample 0"):
        build_examples(benchmark, both, said, {model: [] for model in both})


def test_failures_come_first_and_outcomes_are_shared_evenly():
    benchmark = [item(f"{number:02}", "count") for number in range(30)]
    base = {f"{n:02}": 2 if n < 10 else 0 for n in range(30)}
    merged = {f"{n:02}": 0 if n < 20 else 2 for n in range(30)}
    chosen = choose_examples(examples_of(benchmark, base.get, merged.get), 6)
    assert [example.outcome for example in chosen] == [
        *["worse"] * 2, *["both_fail"] * 2, *["better"] * 2
    ]  # fmt: skip


def test_the_largest_loss_is_shown_before_smaller_ones():
    benchmark = [item("a", "count"), item("b", "count")]
    chosen = choose_examples(examples_of(benchmark, lambda _: 2, {"a": 1, "b": 0}.get), 2)
    assert [example.item_id for example in chosen] == ["b", "a"]


def test_skills_take_turns_so_that_none_fills_the_page():
    benchmark = [item(f"a{n}", "attributes") for n in range(9)] + [item("z", "count")]
    chosen = choose_examples(examples_of(benchmark, lambda _: 0, lambda _: 2), 2)
    assert {example.skill for example in chosen} == {"attributes", "count"}


def test_the_typical_example_of_a_skill_is_the_median_of_those_that_changed():
    benchmark = [item(name, "count") for name in "abcd"]
    base, merged = {"a": 2, "b": 0, "c": 0, "d": 0}, {"a": 0, "b": 1, "c": 2, "d": 0}
    (example,) = typical_examples(examples_of(benchmark, base.get, merged.get), 6)
    assert example.item_id == "b"  # differences −1, 0.5, 1; d did not change


def test_every_pair_is_counted_under_one_outcome():
    benchmark = [item(name, "count") for name in "abcd"]
    base, merged = {"a": 2, "b": 0, "c": 1, "d": 2}, {"a": 0, "b": 1, "c": 1, "d": 2}
    counts = count_outcomes(examples_of(benchmark, base.get, merged.get))
    assert counts == {"worse": 1, "better": 1, "both_fail": 1, "both_right": 1}


def test_a_broken_line_of_a_loss_curve_is_named():
    assert parse_curve("step,loss\n10,0.5\n", "count.csv") == [(10, 0.5)]
    with pytest.raises(RecordError, match=r"count.csv:3: expected step,loss, got '20'"):
        parse_curve("step,loss\n10,0.5\n20\n", "count.csv")
