"""DSG is arithmetic: every expected number here is computed by hand."""

import json

import pytest

from selma.errors import ConfigError, MissingDataError, RecordError
from selma.evaluation.dsg import DSG_POLICIES, score_dsg


def question(question_id, parents=(0,), category="entity - whole"):
    return {
        "question_id": question_id,
        "question": f"Question {question_id}?",
        "choices": ["yes", "no"],
        "answer": "yes",
        "parents": list(parents),
        "category": category,
    }


def item(item_id, *questions):
    return {"item_id": item_id, "prompt": "", "source": "common", "questions": list(questions)}


def answers(item_id, *texts, sample=0, judge="pocket"):
    return [
        {
            "item_id": item_id,
            "sample": sample,
            "question_id": number,
            "raw_answer": text,
            "answer": text,
            "judge": judge,
            "revision": "1",
        }
        for number, text in enumerate(texts, start=1)
    ]


CHAIN = item("a_1", question(1), question(2, [1]), question(3, [2]), question(4))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("none", 3 / 4), ("official", 2 / 4), ("selma", 1 / 4), ("transitive", 1 / 4)],
)
def test_each_policy_filters_a_chain_below_a_wrong_root_as_counted_by_hand(policy, expected):
    given = answers("a_1", "no", "yes", "yes", "yes")
    assert score_dsg([CHAIN], given, policy=policy, mean="prompt")[0]["score"] == expected


def test_the_official_filter_does_not_depend_on_the_order_and_selmas_does():
    forward = item("a_1", question(1, [2]), question(2, [3]), question(3))
    given = answers("a_1", "yes", "yes", "no")
    scores = {
        policy: score_dsg([forward], given, policy=policy, mean="prompt")[0]["score"]
        for policy in DSG_POLICIES
    }
    assert scores == {"none": 2 / 3, "official": 1 / 3, "selma": 1 / 3, "transitive": 0.0}


def test_cycles_and_self_references_end_and_take_nothing_from_right_answers():
    looped = item("a_1", question(1, [1]), question(2, [3]), question(3, [2]))
    given = answers("a_1", "yes", "yes", "yes")
    for policy in DSG_POLICIES:
        assert score_dsg([looped], given, policy=policy, mean="prompt")[0]["score"] == 1.0


def test_only_the_exact_word_yes_scores():
    given = answers("a_1", "Yes", "yes ", "yes 1000", "")
    assert score_dsg([CHAIN], given, policy="none", mean="prompt")[0]["score"] == 0.0


def test_details_tell_raw_and_filtered_scores_and_how_they_were_made():
    given = answers("a_1", "no", "yes", "no", "yes")
    row = score_dsg([CHAIN], given, policy="official", mean="question")[0]
    details = json.loads(row["details"])
    assert [(q["raw"], q["filtered"]) for q in details["questions"]] == [
        (0, 0), (1, 0), (0, 0), (1, 1)
    ]  # fmt: skip
    assert details["policy"] == "official, question mean"
    assert details["judge"] == "pocket@1"
    assert details["weight"] == 4


def test_a_missing_answer_stops_the_score_and_is_named():
    second = item("b_1", question(1))
    given = answers("a_1", *["yes"] * 4) + answers("a_1", *["yes"] * 3, sample=1)
    given += answers("b_1", "yes") + answers("b_1", "yes", sample=1)
    with pytest.raises(MissingDataError, match="1 of 10 are missing.*'a_1' sample 1 question 4"):
        score_dsg([CHAIN, second], given, policy="official", mean="prompt")


def test_an_answer_without_a_question_is_refused():
    given = answers("a_1", *["yes"] * 5)
    with pytest.raises(RecordError, match="1 belong to no question"):
        score_dsg([CHAIN], given, policy="official", mean="prompt")


def test_answers_of_two_judges_are_not_mixed():
    given = answers("a_1", *["yes"] * 4) + answers("b_1", "yes", judge="other")
    with pytest.raises(RecordError, match="one judge"):
        score_dsg([CHAIN, item("b_1", question(1))], given, policy="official", mean="prompt")


def test_a_parent_that_does_not_exist_is_refused_by_name_and_ignored_by_selma():
    orphan = item("a_1", question(1), question(2, [7]))
    given = answers("a_1", "yes", "yes")
    with pytest.raises(RecordError, match=r"'a_1': question 2 names parents \[7\]"):
        score_dsg([orphan], given, policy="official", mean="prompt")
    assert score_dsg([orphan], given, policy="selma", mean="prompt")[0]["score"] == 1.0


def test_an_unknown_policy_lists_the_known_ones():
    with pytest.raises(ConfigError, match="none, official, selma, transitive"):
        score_dsg([CHAIN], [], policy="offical", mean="prompt")
