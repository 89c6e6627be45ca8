"""Pictures are joined with what the judge said, and chosen failures first, balanced."""

import json

import pytest

from selma.core.errors import MissingDataError, RecordError
from selma.report.charts import parse_curve
from selma.report.examples import (
    Example,
    Picture,
    build_examples,
    choose_examples,
    count_outcomes,
    typical_examples,
)

from .conftest import examples_of, item, png, tables


def test_an_example_has_both_pictures_and_the_judges_answer_to_each_question():
    (example,) = examples_of([item("a", "count")], lambda _: 1, lambda _: 2)
    old, new = example.pictures
    assert (old.png, new.png) == (png((100, 0, 0)), png((200, 0, 0)))
    assert example.questions == ("is there a star?", 'is it "red" & <i>warm</i>?')
    assert [verdict.answer for verdict in old.verdicts] == ["yes", "no"]
    assert [verdict.right for verdict in new.verdicts] == [True, True]
    assert (old.score, new.score) == (50.0, 100.0)
    assert (example.difference, example.outcome, example.skill) == (50.0, "better", "count")


def test_a_right_answer_whose_parent_is_wrong_is_not_counted():
    (example,) = examples_of([item("a", "count")], lambda _: -1, lambda _: 2)
    assert [(v.right, v.counted) for v in example.pictures[0].verdicts] == [
        (False, False), (True, False)
    ]  # fmt: skip


def test_multiple_choice_points_are_read_as_well():
    benchmark = [item("a", "count")]
    samples, answers, scores = tables(benchmark, lambda _: 1)
    points = [{"question_id": 1, "score": 0}, {"question_id": 2, "score": 1}]
    scores[0]["details"] = json.dumps({"questions": points})
    (example,) = build_examples(benchmark, {"m": samples}, {"m": answers}, {"m": scores})
    assert [(v.right, v.counted) for v in example.pictures[0].verdicts] == [
        (False, False), (True, True)
    ]  # fmt: skip


def test_a_measure_without_answers_takes_items_without_questions_too():
    benchmark = [item("a", "count"), {**item("b", "count"), "questions": []}]
    found = examples_of(benchmark, lambda _: 0, lambda _: 2, answered=False)
    assert [(e.item_id, e.questions, e.pictures[0].verdicts) for e in found] == [
        ("a", (), ()), ("b", (), ())
    ]  # fmt: skip
    assert [e.item_id for e in examples_of(benchmark, lambda _: 0, lambda _: 2)] == ["a"]


def test_a_picture_without_a_score_is_named_by_its_item_and_model():
    benchmark = [item("a", "count")]
    samples, answers, _ = tables(benchmark, lambda _: 1)
    with pytest.raises(MissingDataError, match="scores of m: none for item 'a' sample 0"):
        build_examples(benchmark, {"m": samples}, {"m": answers}, {"m": []})


def test_a_picture_that_one_model_lacks_is_named_by_that_model():
    benchmark = [item("a", "count")]
    samples, answers, scores = tables(benchmark, lambda _: 1)
    both = {"m": answers, "n": answers}, {"m": scores, "n": scores}
    for there, lacking in (("m", "n"), ("n", "m")):
        rows = {name: samples if name == there else [] for name in ("m", "n")}
        with pytest.raises(MissingDataError, match=f"samples of {lacking}: none for item 'a'"):
            build_examples(benchmark, rows, *both)


def test_a_question_without_an_answer_is_named():
    benchmark = [item("a", "count")]
    samples, answers, scores = tables(benchmark, lambda _: 1)
    with pytest.raises(MissingDataError, match="none to question 2 of item 'a' sample 0"):
        build_examples(benchmark, {"m": samples}, {"m": answers[:1]}, {"m": scores})


def test_failures_come_first_and_outcomes_are_shared_evenly():
    benchmark = [item(f"{number:02}", "count") for number in range(30)]
    old = {f"{n:02}": 2 if n < 10 else 0 for n in range(30)}
    new = {f"{n:02}": 0 if n < 20 else 2 for n in range(30)}
    chosen = choose_examples(examples_of(benchmark, old.get, new.get), 6)
    assert [example.outcome for example in chosen] == [
        *["worse"] * 2, *["alike"] * 2, *["better"] * 2
    ]  # fmt: skip


def test_the_largest_loss_is_shown_before_smaller_ones():
    benchmark = [item("a", "count"), item("b", "count")]
    chosen = choose_examples(examples_of(benchmark, lambda _: 2, {"a": 1, "b": 0}.get), 2)
    assert [example.item_id for example in chosen] == ["b", "a"]


def test_where_nothing_changed_the_lowest_score_comes_first():
    benchmark = [item("a", "count"), item("b", "count")]
    right = {"a": 1, "b": 0}.get
    assert [e.item_id for e in choose_examples(examples_of(benchmark, right, right), 2)] == [
        "b", "a"
    ]  # fmt: skip


def test_pairs_that_are_right_in_both_are_not_chosen():
    found = examples_of([item("a", "count")], lambda _: 2, lambda _: 2)
    assert found[0].outcome == "right"
    assert choose_examples(found, 5) == []


def test_skills_take_turns_so_that_none_fills_the_page():
    benchmark = [item(f"a{n}", "attributes") for n in range(9)] + [item("z", "count")]
    chosen = choose_examples(examples_of(benchmark, lambda _: 0, lambda _: 2), 2)
    assert {example.skill for example in chosen} == {"attributes", "count"}


def test_an_item_is_chosen_once_for_an_outcome():
    pictures = Picture(b"", 1.0, ()), Picture(b"", 0.0, ())
    twice = [Example("a", sample, "s", "p", (), pictures) for sample in (1, 0)]
    assert [example.sample for example in choose_examples(twice, 5)] == [0]


def test_the_typical_example_of_a_skill_is_the_median_of_those_that_changed():
    benchmark = [item(name, "count") for name in "abcd"] + [item("z", "spatial")]
    old, new = {"a": 2, "b": 0, "c": 0, "d": 0}, {"a": 0, "b": 1, "c": 2, "d": 0}
    found = examples_of(benchmark, {**old, "z": 1}.get, {**new, "z": 1}.get)
    # differences −100, 50, 100; d and z did not change
    assert [example.item_id for example in typical_examples(found, 6)] == ["b", "z"]
    assert [example.item_id for example in typical_examples(found, 1)] == ["b"]


def test_every_pair_is_counted_under_one_outcome(examples):
    assert count_outcomes(examples) == {"worse": 1, "alike": 1, "better": 1, "right": 1}


def test_a_broken_line_of_a_loss_curve_is_named():
    assert parse_curve("step,loss\n10,0.5\n", "count.csv") == [(10, 0.5)]
    with pytest.raises(RecordError, match=r"count.csv:3: expected step,loss, got '20'"):
        parse_curve("step,loss\n10,0.5\n20\n", "count.csv")
    with pytest.raises(RecordError, match=r"count.csv:1: expected the columns step,loss, got ''"):
        parse_curve("", "count.csv")
