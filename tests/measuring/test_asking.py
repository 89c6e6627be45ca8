"""Judging joins pictures, questions and answers and loses none of them."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from selma.core.errors import BackendError, RecordError
from selma.judges.loading import JUDGES
from selma.judges.protocol import JudgeSettings, Question
from selma.measuring import asking
from selma.pictures.checks import Findings, PictureSet

QUESTION = {"answer": "yes", "dependency": "0", "category": "", "element": ""}
BENCHMARK = [
    {
        "item_id": item_id,
        "prompt": "",
        "source": "common",
        "questions": [
            {**QUESTION, "question_id": 1, "question": "How bright?", "choices": []},
            {**QUESTION, "question_id": 2, "question": "Bright?", "choices": ["yes", "no"]},
        ],
    }
    for item_id in ("a", "b")
]


def sample(item_id, number, grey):
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), grey, np.uint8)).save(buffer, "PNG")
    data = buffer.getvalue()
    image = {"bytes": data, "path": None}
    return {"item_id": item_id, "sample": number, "image": image, "sha256": str(grey)}


SAMPLES = [
    sample(i, n, grey) for i, n, grey in (("a", 0, 1), ("a", 1, 2), ("b", 0, 3), ("b", 1, 4))
]


def brightness_judge(pictures, questions):
    return [
        [str(picture[0, 0, 0]) if not q.choices else q.choices[0] for q in asked]
        for picture, asked in zip(pictures, questions, strict=True)
    ]


SETTINGS = JudgeSettings(
    path="",
    revision=None,
    dtype="float32",
    device="cpu",
    template="bare",
    questions_per_batch=4,
    max_new_tokens=8,
    beams=1,
)


class Judged:
    """A judge of a function, as the table of choices holds it."""

    about: Mapping[str, Any] = {"class": "function"}

    def __init__(self, answers):
        self.answers = answers

    def __call__(self, pictures, questions):
        return self.answers(pictures, questions)


@pytest.fixture
def ask(monkeypatch, tmp_path):
    def ask_judge(judge, samples, batch_size=3, log=None):
        done = []
        monkeypatch.setitem(JUDGES, "brightness", lambda settings, replies: Judged(judge))
        rows, about = asking.ask(
            BENCHMARK,
            PictureSet(samples, len(samples), Findings()),
            kind="brightness",
            settings=SETTINGS,
            revision="7",
            normalise="first-word",
            batch_size=batch_size,
            log=log or tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl",
            replies=tmp_path / "replies",
            advance=done.append,
        )
        assert about["normalise"] == "first-word"
        return rows, done

    return ask_judge


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_each_picture_gets_its_own_answers_in_every_batch_size(ask, batch_size):
    rows, done = ask(brightness_judge, SAMPLES, batch_size)
    found = {(r["item_id"], r["sample"], r["question_id"]): r["answer"] for r in rows}
    assert len(found) == len(rows) == 8
    assert [found[i, n, 1] for i, n in (("a", 0), ("a", 1), ("b", 0), ("b", 1))] == list("1234")
    assert found["b", 1, 2] == "yes"
    assert sum(done) == 4
    assert {(r["judge"], r["revision"]) for r in rows} == {("brightness", "7")}


def test_a_judge_that_swallows_a_question_is_found_out(ask):
    with pytest.raises(BackendError, match="answers to"):
        ask(lambda pictures, questions: [["yes"] for _ in pictures], SAMPLES)


def test_a_picture_that_cannot_be_read_is_an_error(ask):
    broken = [*SAMPLES[:-1], {**SAMPLES[-1], "image": {"bytes": b"\x89PNG cut"}}]
    with pytest.raises(RecordError, match="b/1: 8 bytes are not a whole picture"):
        ask(brightness_judge, broken)


def test_a_question_is_also_a_pair_of_text_and_choices():
    text, choices = Question("Bright?", ("yes", "no"))
    assert (text, choices) == ("Bright?", ("yes", "no"))


def test_what_was_said_and_what_counts_are_both_kept_with_the_pictures_hash(ask):
    rows, _ = ask(lambda pictures, asked: [["YES", "No"] for _ in pictures], SAMPLES)
    assert [(r["raw_answer"], r["answer"]) for r in rows[:2]] == [("YES", "yes"), ("No", "no")]
    assert [r["sha256"] for r in rows[::2]] == list("1234")


def test_a_restart_asks_only_about_pictures_without_answers(ask, tmp_path):
    asked = []

    def dies_at_the_third(pictures, questions):
        asked.extend(int(picture[0, 0, 0]) for picture in pictures)
        if 3 in asked:
            raise KeyboardInterrupt
        return brightness_judge(pictures, questions)

    path = tmp_path / "log.jsonl"
    with pytest.raises(KeyboardInterrupt):
        ask(dies_at_the_third, SAMPLES, batch_size=1, log=path)
    assert asked == [1, 2, 3]
    with path.open("a") as file:
        file.write('["b", 0, "3", ["cut')  # as a kill in the middle of a line leaves it
    asked.clear()

    def counts(pictures, questions):
        asked.extend(int(picture[0, 0, 0]) for picture in pictures)
        return brightness_judge(pictures, questions)

    rows, _ = ask(counts, SAMPLES, batch_size=3, log=path)
    assert asked == [3, 4]
    assert rows == ask(brightness_judge, SAMPLES)[0]
