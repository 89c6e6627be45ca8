"""Replies that are no answer are told from wrong answers, counted and, above a share, refused."""

import pytest

from selma.core.errors import RecordError
from selma.metrics.dsg import score_dsg
from selma.metrics.replies import Reply, is_not_yes_or_no, is_refusal
from selma.metrics.tifa import score_tifa

REFUSAL = "I'm sorry, I cannot help with that."


def test_to_a_yes_no_question_only_yes_and_no_are_answers():
    for word in ("yes", "no", "Yes.", " NO!\n", '"yes"'):
        assert not is_not_yes_or_no(Reply(word, word))
    for words in ("", "yes 1000000", "no bus", "I don't know", "yesterday", REFUSAL):
        assert is_not_yes_or_no(Reply(words, words))


def test_what_a_normaliser_made_of_the_reply_counts_for_a_yes_no_question():
    assert not is_not_yes_or_no(Reply("yes", "Yes, there is a cat."))
    assert is_not_yes_or_no(Reply("Yes, there is a cat.", "Yes, there is a cat."))


@pytest.mark.parametrize(
    "reply",
    [
        "", " ", "...", REFUSAL, "I’m sorry, but I can't see a picture", "Sorry!",
        "I cannot determine that", "As an AI language model, I", "Unable to answer", "N/A",
        "I don't know.", "It is not possible to tell", "unanswerable",
    ],
)  # fmt: skip
def test_a_refusal_answers_no_multiple_choice_question(reply):
    assert is_refusal(Reply(reply, reply))
    assert is_refusal(Reply("red", reply))  # whatever a normaliser or a mapping made of it


@pytest.mark.parametrize(
    "reply", ["red", "I see a dog", "can", "unknown", "no", "3", "a sorry dog", "0", "两", "nag"]
)
def test_any_other_words_answer_a_multiple_choice_question(reply):
    assert not is_refusal(Reply(reply, reply))


def item(*choices, answer, questions):
    return {
        "item_id": "a_1",
        "prompt": "",
        "source": "a",
        "questions": [
            {
                "question_id": number,
                "question": f"Question {number}?",
                "choices": list(choices),
                "answer": answer,
                "dependency": "0",
                "category": "whole",
                "element": "",
            }
            for number in range(1, questions + 1)
        ],
    }


def given(*texts):
    known = {"item_id": "a_1", "sample": 0, "judge": "j", "revision": "1", "sha256": ""}
    return [
        {**known, "question_id": number, "raw_answer": text, "answer": text}
        for number, text in enumerate(texts, start=1)
    ]


def dsg(answers, most):
    benchmark = [item(answer="yes", questions=len(answers))]
    return score_dsg(benchmark, answers, policy="none", mean="prompt", no_answer_max=most)


def test_a_judge_that_refuses_is_refused_with_a_count_examples_and_what_to_do():
    with pytest.raises(RecordError) as caught:
        dsg(given("yes", REFUSAL, "no", "maybe so"), 0.49)
    message = str(caught.value)
    assert "2 of 4 (50.0%) are no answer, at most 49.0% may be" in message
    assert f"{REFUSAL!r} to 'Question 2?' and 'maybe so' to 'Question 4?'" in message
    assert "another template, normaliser or judge" in message


def test_below_the_limit_they_are_counted_beside_the_score():
    rows, about = dsg(given("yes", REFUSAL, "no", "maybe so"), 0.5)
    assert (about["n_no_answer"], about["no_answer"], rows[0]["score"]) == (2, 0.5, 0.25)
    assert (about["unit"], about["factor"]) == ("percent", 100.0)


def test_an_answer_that_is_no_choice_is_counted_apart_from_refusals():
    benchmark = [item("red", "blue", answer="red", questions=4)]
    answers = given("red", "Red", "crimson", "I can't tell")
    rows, about = score_tifa(benchmark, answers, no_answer_max=0.25)
    assert (about["not_a_choice"], about["n_no_answer"], about["no_answer"]) == (3, 1, 0.25)
    assert rows[0]["score"] == 0.25
    with pytest.raises(RecordError, match=r"1 of 4 \(25.0%\) are no answer"):
        score_tifa(benchmark, answers, no_answer_max=0.2)
