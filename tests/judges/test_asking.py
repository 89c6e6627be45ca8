"""Judging joins pictures, questions and answers and loses none of them."""

import io

import numpy as np
import pytest
from PIL import Image

from selma.core.errors import BackendError, MissingDataError, RecordError
from selma.judges.answer_log import AnswerLog
from selma.judges.protocol import Question
from selma.measuring.asking import judge_samples

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


def ask(judge, samples, batch_size=3, **options):
    done = []
    rows = judge_samples(
        BENCHMARK,
        samples,
        judge,
        judge_name="brightness",
        revision="7",
        batch_size=batch_size,
        normalise=str.lower,
        advance=done.append,
        **options,
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
    broken = [*SAMPLES[:-1], {**SAMPLES[-1], "image": {"bytes": b"\x89PNG cut"}}]
    with pytest.raises(RecordError, match="b/1: 8 bytes are not a whole picture"):
        ask(brightness_judge, broken)


def test_a_question_is_also_a_pair_of_text_and_choices():
    text, choices = Question("Bright?", ("yes", "no"))
    assert (text, choices) == ("Bright?", ("yes", "no"))


def test_what_was_said_and_what_counts_are_both_kept_with_the_pictures_hash():
    rows, _ = ask(lambda pictures, asked: [["YES", "No"] for _ in pictures], SAMPLES)
    assert [(r["raw_answer"], r["answer"]) for r in rows[:2]] == [("YES", "yes"), ("No", "no")]
    assert [r["sha256"] for r in rows[::2]] == list("1234")


def test_pictures_may_be_missing_if_a_partial_score_is_allowed():
    rows, _ = ask(brightness_judge, SAMPLES[:-1], allow_partial=True)
    assert len(rows) == 6


def test_a_restart_asks_only_about_pictures_without_answers(tmp_path):
    asked = []

    def dies_at_the_third(pictures, questions):
        asked.extend(int(picture[0, 0, 0]) for picture in pictures)
        if 3 in asked:
            raise KeyboardInterrupt
        return brightness_judge(pictures, questions)

    path, about = tmp_path / "log.jsonl", {"judge": "brightness"}
    with pytest.raises(KeyboardInterrupt):
        ask(dies_at_the_third, SAMPLES, batch_size=1, store=AnswerLog(path, about))
    assert asked == [1, 2, 3]
    with path.open("a") as file:
        file.write('["b", 0, "3", ["cut')  # as a kill in the middle of a line leaves it
    asked.clear()

    def counts(pictures, questions):
        asked.extend(int(picture[0, 0, 0]) for picture in pictures)
        return brightness_judge(pictures, questions)

    rows, _ = ask(counts, SAMPLES, batch_size=3, store=AnswerLog(path, about))
    assert asked == [3, 4]
    assert rows == ask(brightness_judge, SAMPLES)[0]


def test_a_picture_that_was_drawn_anew_is_asked_about_again(tmp_path):
    log = AnswerLog(tmp_path / "log.jsonl", {})
    log.put("a", 0, "old", ["1", "yes"])
    assert log.get("a", 0, "old") == ["1", "yes"]
    assert log.get("a", 0, "new") is None


def test_a_log_of_another_judge_is_not_taken_up(tmp_path):
    AnswerLog(tmp_path / "log.jsonl", {"judge": "one", "beams": 5})
    with pytest.raises(RecordError, match="judge: 'one' there, 'other' now"):
        AnswerLog(tmp_path / "log.jsonl", {"judge": "other", "beams": 5})
