"""Judging joins pictures, questions and answers and loses none of them."""

import io

import numpy as np
import pytest
from PIL import Image

from selma.errors import BackendError, MissingDataError, RecordError
from selma.evaluation.judges import Question, judge_samples

BENCHMARK = [
    {
        "item_id": item_id,
        "prompt": "",
        "source": "common",
        "questions": [
            {"question_id": 1, "question": "How bright?", "choices": []},
            {"question_id": 2, "question": "Bright?", "choices": ["yes", "no"]},
        ],
    }
    for item_id in ("a", "b")
]


def sample(item_id, number, grey):
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), grey, np.uint8)).save(buffer, "PNG")
    return {"item_id": item_id, "sample": number, "image": {"bytes": buffer.getvalue()}}


SAMPLES = [
    sample(i, n, grey) for i, n, grey in (("a", 0, 1), ("a", 1, 2), ("b", 0, 3), ("b", 1, 4))
]


def brightness_judge(pictures, questions):
    return [
        [str(picture[0, 0, 0]) if not q.choices else q.choices[0] for q in asked]
        for picture, asked in zip(pictures, questions, strict=True)
    ]


def ask(judge, samples, batch_size=3):
    done = []
    rows = judge_samples(
        BENCHMARK,
        samples,
        judge,
        judge_name="brightness",
        revision="7",
        batch_size=batch_size,
        advance=done.append,
    )
    return rows, done


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_each_picture_gets_its_own_answers_in_every_batch_size(batch_size):
    rows, done = ask(brightness_judge, SAMPLES, batch_size)
    found = {(r["item_id"], r["sample"], r["question_id"]): r["answer"] for r in rows}
    assert len(found) == len(rows) == 8
    assert [found[i, n, 1] for i, n in (("a", 0), ("a", 1), ("b", 0), ("b", 1))] == list("1234")
    assert found["b", 1, 2] == "yes"
    assert sum(done) == 4
    assert {(r["judge"], r["revision"]) for r in rows} == {("brightness", "7")}


def test_a_missing_picture_is_named():
    with pytest.raises(MissingDataError, match="1 of 4 pictures are missing.*'b' sample 1"):
        ask(brightness_judge, SAMPLES[:-1])


def test_a_judge_that_swallows_a_question_is_found_out():
    with pytest.raises(BackendError, match="answers to"):
        ask(lambda pictures, questions: [["yes"] for _ in pictures], SAMPLES)


def test_a_picture_that_cannot_be_read_is_an_error():
    broken = [*SAMPLES[:-1], {"item_id": "b", "sample": 1, "image": {"bytes": b"\x89PNG cut"}}]
    with pytest.raises(RecordError, match="cannot be read"):
        ask(brightness_judge, broken)


def test_a_question_is_also_a_pair_of_text_and_choices():
    text, choices = Question("Bright?", ("yes", "no"))
    assert (text, choices) == ("Bright?", ("yes", "no"))
