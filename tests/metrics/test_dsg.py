"""DSG is arithmetic: every expected number here is computed by hand."""

import json
from functools import partial

import pytest

from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.metrics import dsg
from selma.metrics.dsg import DSG_POLICIES

score_dsg = partial(dsg.score_dsg, no_answer_max=0.5)


def question(question_id, dependency="0", category="whole"):
    return {
        "question_id": question_id,
        "question": f"Question {question_id}?",
        "choices": ["yes", "no"],
        "answer": "yes",
        "dependency": dependency,
        "category": category,
        "element": "",
    }


def item(item_id, *questions):
    return {"item_id": item_id, "prompt": "", "source": "common", "questions": list(questions)}


def answers(item_id, *texts, sample=0, judge="pocket"):
    return [
        {
            "item_id": item_id,
            "sample": sample,
            "question_id": number,
            "judge": judge,
            "revision": "1",
            "sha256": "",
            "raw_answer": text,
            "answer": text,
        }
        for number, text in enumerate(texts, start=1)
    ]


CHAIN = item("a_1", question(1), question(2, "1"), question(3, "2"), question(4))


def score(benchmark, given, policy="official", mean="prompt", **options):
    return score_dsg(benchmark, given, policy=policy, mean=mean, **options)[0]


def scores_by_policy(benchmark, given):
    return {policy: score(benchmark, given, policy)[0]["score"] for policy in DSG_POLICIES}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("none", 3 / 4),
        ("official", 2 / 4),
        ("lenient", 2 / 4),
        ("selma", 1 / 4),
        ("transitive", 1 / 4),
    ],
)
def test_each_policy_filters_a_chain_below_a_wrong_root_as_counted_by_hand(policy, expected):
    given = answers("a_1", "no", "yes", "yes", "yes")
    assert score([CHAIN], given, policy)[0]["score"] == expected


def test_the_official_filter_does_not_depend_on_the_order_and_selmas_does():
    forward = item("a_1", question(1, "2"), question(2, "3"), question(3))
    found = scores_by_policy([forward], answers("a_1", "yes", "yes", "no"))
    official = dict.fromkeys(("official", "lenient", "selma"), 1 / 3)
    assert found == {"none": 2 / 3, **official, "transitive": 0.0}


def test_one_unreadable_cell_switches_the_official_filter_off_for_its_prompt_alone():
    broken = item("a_1", question(1), question(2, "1"), question(3, "1, right"))
    whole = item("b_1", question(1), question(2, "1"), question(3, "1"))
    given = answers("a_1", "no", "yes", "yes") + answers("b_1", "no", "yes", "yes")
    found = {p: [row["score"] for row in score([broken, whole], given, p)] for p in DSG_POLICIES}
    assert found["official"] == [2 / 3, 0.0]
    assert found["lenient"] == found["selma"] == found["transitive"] == [0.0, 0.0]


def test_a_parent_written_with_a_blank_is_read_by_all_but_selma():
    spaced = item("a_1", question(1), question(2), question(3, "2, 1"))
    found = scores_by_policy([spaced], answers("a_1", "no", "yes", "yes"))
    assert found == {"none": 2 / 3, "selma": 2 / 3} | dict.fromkeys(
        ("official", "lenient", "transitive"), 1 / 3
    )


def test_a_zero_among_real_parents_does_not_free_the_question():
    mixed = item("a_1", question(1), question(2, "0,1"))
    found = scores_by_policy([mixed], answers("a_1", "no", "yes"))
    assert found.pop("none") == 1 / 2
    assert set(found.values()) == {0.0}


def test_cycles_and_self_references_end_and_take_nothing_from_right_answers():
    looped = item("a_1", question(1, "1"), question(2, "3"), question(3, "2"))
    found = scores_by_policy([looped], answers("a_1", "yes", "yes", "yes"))
    assert set(found.values()) == {1.0}


def test_only_the_exact_word_yes_scores():
    given = answers("a_1", "Yes", "yes ", "yes 1000", "")
    assert score([CHAIN], given, "none")[0]["score"] == 0.0


def test_details_tell_raw_and_filtered_scores_and_the_table_how_they_were_made():
    given = answers("a_1", "no", "yes", "no", "yes")
    judge_about = {"libraries": {"torch": "2"}, "preprocessing": "squashed", "beams": 5}
    rows, about = score_dsg(
        [CHAIN], given, policy="official", mean="question", judge_about=judge_about
    )
    questions = json.loads(rows[0]["details"])["questions"]
    assert [(q["raw"], q["filtered"]) for q in questions] == [(0, 0), (1, 0), (0, 0), (1, 1)]
    assert (rows[0]["weight"], rows[0]["source"]) == (4.0, "common")
    assert about == {
        "coverage": 1.0,
        "judge": "pocket",
        "judge_settings": {"beams": 5},
        "left_out": [],
        "libraries": {"torch": "2"},
        "metric": "dsg",
        "n_items": 1,
        "n_pictures": 1,
        "n_wanted": 1,
        "factor": 100.0,
        "n_no_answer": 0,
        "no_answer": 0.0,
        "policy": "official, question mean",
        "preprocessing": "squashed",
        "revision": "1",
        "unanswered_count_0": [],
        "unit": "percent",
        "version": "arXiv 2310.18235",
    }


def test_a_missing_answer_stops_the_score_and_is_named():
    second = item("b_1", question(1))
    given = answers("a_1", *["yes"] * 4) + answers("a_1", *["yes"] * 3, sample=1)
    given += answers("b_1", "yes") + answers("b_1", "yes", sample=1)
    with pytest.raises(MissingDataError, match="1 of 10 are missing.*'a_1' sample 1 question 4"):
        score([CHAIN, second], given)


def test_a_partial_score_leaves_the_picture_out_and_carries_its_coverage():
    second = item("b_1", question(1))
    given = answers("a_1", *["yes"] * 3) + answers("b_1", "no")
    rows, about = score_dsg(
        [CHAIN, second], given, policy="official", mean="prompt", allow_partial=True
    )
    assert [(row["item_id"], row["score"]) for row in rows] == [("b_1", 0.0)]
    assert (about["coverage"], about["left_out"]) == (0.5, ["without an answer: a_1/0"])


def test_the_item_that_dsg_released_no_answers_for_counts_0_and_no_other_does():
    lost = item("tifa160_134", question(2, "1"), question(3, "1"))
    rows, about = score_dsg(
        [CHAIN, lost], answers("a_1", *["yes"] * 4), policy="official", mean="prompt"
    )
    assert [row["score"] for row in rows] == [1.0, 0.0]
    assert about["unanswered_count_0"] == ["tifa160_134"]
    with pytest.raises(MissingDataError, match="2 of 6 are missing"):
        score([CHAIN, {**lost, "item_id": "tifa160_135"}], answers("a_1", *["yes"] * 4))


def test_an_answer_without_a_question_is_refused():
    with pytest.raises(RecordError, match="1 belong to no question"):
        score([CHAIN], answers("a_1", *["yes"] * 5))


def test_answers_of_two_judges_are_not_mixed():
    given = answers("a_1", *["yes"] * 4) + answers("b_1", "yes", judge="other")
    with pytest.raises(RecordError, match="one judge, got other@1, pocket@1"):
        score([CHAIN, item("b_1", question(1))], given)


def test_a_parent_that_does_not_exist_is_wrong_but_ignored_by_selma():
    orphan = item("a_1", question(1), question(2, "7"))
    found = scores_by_policy([orphan], answers("a_1", "yes", "yes"))
    assert (found["selma"], found["none"]) == (1.0, 1.0)
    assert found["official"] == found["lenient"] == found["transitive"] == 0.5


def test_an_unknown_policy_lists_the_known_ones():
    with pytest.raises(ConfigError, match="lenient, none, official, selma, transitive"):
        score([CHAIN], [], "offical")


def test_multiple_choice_questions_are_no_dsg_questions():
    tifa = item("a_1", {**question(1), "choices": ["red", "blue"], "answer": "red"})
    with pytest.raises(RecordError, match="'a_1': question 1 is multiple choice.*TIFA"):
        score([tifa], answers("a_1", "red"))
