"""The endpoint judge with its real client against a small server on loopback."""

import base64
import io
import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import ERROR, KEY, Answer, ChatServer, completion, serving
from PIL import Image

from selma.commands.cli import main
from selma.core.errors import BackendError, ConfigError, RecordError
from selma.core.tables import read_table, write_table
from selma.judges.endpoint import load_endpoint
from selma.judges.protocol import JudgeSettings, Question

PICTURES = [np.full((2 + n, 3, 3), 10 * n, np.uint8) for n in range(4)]
QUESTIONS = [Question(f"Is it {word}?", ()) for word in ("red", "blue", "tall")]


def seen(request: dict[str, Any]) -> tuple[np.ndarray, str]:
    """Read picture and text out of a request."""
    (message,) = request["messages"]
    shown, said = message["content"]
    data = shown["image_url"]["url"].removeprefix("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), said["text"]


def honest(request: dict[str, Any]) -> Answer:
    """Name what was seen and asked."""
    picture, text = seen(request)
    return 200, completion(f" {picture.shape[0]}x{picture[0, 0, 0]} {text}\n")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    with serving(monkeypatch, honest) as server:
        yield server


def settings(**changes: Any) -> JudgeSettings:
    values: dict[str, Any] = {
        "path": "m-2024", "revision": None, "dtype": "float32", "device": "cpu",
        "template": "yes-no", "questions_per_batch": 4, "max_new_tokens": 8, "beams": 1,
    }  # fmt: skip
    return JudgeSettings(**{**values, **changes})


def judge(retries: int = 2, **changes: Any):
    replies = changes.pop("replies", None)
    return load_endpoint(settings(**changes), replies=replies, timeout_s=5.0, retries=retries)


def test_a_request_holds_picture_question_and_greedy_decoding(server: ChatServer):
    assert judge()(PICTURES[1:2], [QUESTIONS[:1]]) == [["3x10 Is it red? answer only yes or no"]]
    (request,) = server.requests
    picture, text = seen(request)
    assert np.array_equal(picture, PICTURES[1])
    assert text == "Is it red? answer only yes or no"
    assert (request["path"], request["model"]) == ("/v1/chat/completions", "m-2024")
    assert request["authorization"] == f"Bearer {KEY}"
    assert (request["temperature"], request["seed"]) == (0, 0)
    assert request["max_completion_tokens"] == 8


@pytest.mark.parametrize("parallel", [1, 3, 50])
def test_answers_keep_their_order_however_many_requests_are_under_way(server: ChatServer, parallel):
    def slow_at_first(request: dict[str, Any]) -> Answer:
        time.sleep(0.05 if len(server.requests) < 4 else 0)
        return honest(request)

    server.answer = slow_at_first
    asked = [QUESTIONS, [], QUESTIONS[:1], QUESTIONS[::-1]]
    given = judge(questions_per_batch=parallel, template="bare")(PICTURES, asked)
    assert given == [
        [f"{p.shape[0]}x{p[0, 0, 0]} {q.question}" for q in row]
        for p, row in zip(PICTURES, asked, strict=True)
    ]
    assert len(server.requests) == 7
    assert 1 <= server.most_under_way <= parallel


def test_the_same_question_about_the_same_picture_is_asked_once(server: ChatServer):
    ask = judge()
    first = ask([PICTURES[0], PICTURES[0].copy()], [QUESTIONS, QUESTIONS])
    assert first[0] == first[1] and len(server.requests) == 3
    assert ask(PICTURES[:1], [QUESTIONS])[0] == first[0] and len(server.requests) == 3
    assert (ask.usage.requests, ask.usage.prompt_tokens, ask.usage.reply_tokens) == (3, 270, 6)


def test_a_busy_server_is_asked_again(server: ChatServer):
    answers = [(429, ERROR), (500, ERROR)]
    server.answer = lambda request: answers.pop() if answers else honest(request)
    assert judge()(PICTURES[:1], [QUESTIONS[:1]])[0][0].startswith("2x0")
    assert len(server.requests) == 3


def test_what_was_answered_before_a_failure_is_not_paid_twice(server: ChatServer, tmp_path):
    path = tmp_path / "replies.jsonl"

    def fail_at_tall(request: dict[str, Any]) -> Answer:
        return (500, ERROR) if "tall" in seen(request)[1] else honest(request)

    server.answer = fail_at_tall
    with pytest.raises(BackendError, match="InternalServerError.*run again"):
        judge(retries=0, questions_per_batch=1, replies=path)(PICTURES, [QUESTIONS] * 4)
    assert len(server.requests) == 3  # none after the failure
    server.answer = honest
    server.requests.clear()
    again = judge(replies=path)
    given = again(PICTURES, [QUESTIONS] * 4)
    assert len(server.requests) == again.usage.requests == 10
    server.requests.clear()
    assert judge(replies=path)(PICTURES, [QUESTIONS] * 4) == given
    assert server.requests == []
    with pytest.raises(RecordError, match="holds answers of another judge"):
        judge(replies=path, path="m-2025")


def test_requests_under_way_at_a_failure_are_kept(server: ChatServer, tmp_path):
    both = threading.Barrier(2, timeout=5)

    def one_fails(request: dict[str, Any]) -> Answer:
        both.wait()
        if "red" in seen(request)[1]:
            return 500, ERROR
        time.sleep(0.1)
        return honest(request)

    server.answer = one_fails
    with pytest.raises(BackendError):
        judge(retries=0, questions_per_batch=2, replies=tmp_path / "r")(PICTURES[:1], [QUESTIONS])
    server.answer = honest
    server.requests.clear()
    judge(replies=tmp_path / "r")(PICTURES[:1], [QUESTIONS])
    assert sorted(seen(request)[1].split()[2] for request in server.requests) == ["red?", "tall?"]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (completion("Yes, ther", "length"), "cut off at 8 tokens: 'Yes, ther'; raise max_new_tok"),
        (completion(""), "no reply to 'Is it red.*finish_reason 'stop'"),
        (completion(None, "content_filter"), "finish_reason 'content_filter'"),
        (completion(None, refusal="I can't\nhelp"), "finish_reason 'stop', I can't help"),
        ({**completion("yes"), "choices": []}, "no completion but .*; check the server's address"),
        ({"detail": "x"}, "no completion but"),
        (b"<html>welcome</html>", "no completion but '<html>welcome</html>'"),
        (b'{"choices": [', "no completion but"),
    ],
)
def test_what_is_no_answer_is_an_error(server: ChatServer, answer, problem):
    server.answer = lambda request: (200, answer)
    with pytest.raises(BackendError, match=problem):
        judge(retries=0)(PICTURES[:1], [QUESTIONS[:1]])


def test_a_refused_key_is_one_error_that_does_not_tell_the_key(server: ChatServer, caplog):
    server.answer = lambda request: (
        401,
        {"error": {"message": f"Incorrect API key: {KEY}\nsee"}},
    )
    with caplog.at_level(logging.DEBUG), pytest.raises(BackendError) as caught:
        judge(questions_per_batch=1)(PICTURES[:1], [QUESTIONS])
    message = str(caught.value)
    assert "check OPENAI_API_KEY" in message and "m-2024" in message
    assert KEY not in message and "\n" not in message
    assert len(server.requests) == 1
    assert KEY not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("selma"))


def test_no_server_is_one_error(monkeypatch: pytest.MonkeyPatch, server: ChatServer):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(BackendError, match="OPENAI_BASE_URL"):
        judge(retries=0)(PICTURES[:1], [QUESTIONS[:1]])


def test_a_given_address_comes_before_the_environment(server: ChatServer, monkeypatch):
    address = f"http://127.0.0.1:{server.server_port}/other/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    ask = load_endpoint(settings(), base_url=address)
    ask(PICTURES[:1], [QUESTIONS[:1]])
    assert server.requests[0]["path"] == "/other/v1/chat/completions"
    assert ask.about["address"] == address


@pytest.mark.parametrize(
    "address",
    [
        "http://user:word@127.0.0.1/v1",
        "http://127.0.0.1/v1?api-key=1",
        f"http://127.0.0.1/{KEY}/v1",
    ],
)
def test_an_address_with_a_secret_is_refused_without_telling_it(monkeypatch, address):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(ConfigError, match="the address of 127.0.0.1 holds") as caught:
        judge()
    assert not any(secret in str(caught.value) for secret in ("word@", "api-key=1", KEY))


def test_settings_that_a_server_does_not_know_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for changes, problem in (
        ({"beams": 5}, "beams is 5"),
        ({"path": ""}, "wants the server's name"),
        ({"questions_per_batch": 0}, "questions_per_batch is 0"),
        ({"template": "loud"}, "unknown template 'loud'"),
    ):
        with pytest.raises(ConfigError, match=problem):
            judge(**changes)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        judge()


def test_about_is_json_and_holds_no_key(server: ChatServer):
    one, two = (judge(questions_per_batch=n, revision="r").about for n in (1, 2))
    assert json.dumps(one) == json.dumps(two) and KEY not in json.dumps(one)
    assert (one["path"], one["revision"], one["template"]) == ("m-2024", "r", "yes-no")
    assert one["decoding"] == {"max_completion_tokens": 8, "seed": 0, "temperature": 0}


@pytest.fixture
def command(server: ChatServer, tmp_path, monkeypatch):
    """`selma score dsg --judge endpoint` with nothing but what it must be given."""
    monkeypatch.chdir(tmp_path)
    question = {
        "question_id": 1, "question": "Is it red?", "choices": [], "answer": "yes",
        "dependency": "0", "category": "color", "element": "",
    }  # fmt: skip
    item = {"item_id": "set_1", "prompt": "red", "source": "set", "questions": [question]}
    write_table(tmp_path / "b.parquet", "benchmark", [item])
    (tmp_path / "pictures").mkdir()
    Image.fromarray(np.full((4, 4, 3), 90, np.uint8)).save(tmp_path / "pictures/set_1.png")
    options = ("--images", "pictures", "--benchmark", "b.parquet", "--answers", "a.parquet")
    model = ("--judge", "endpoint", "--judge-path", "m-2024")
    return ["score", "dsg", *options, *model, "--resamples", "100"]


def test_the_command_works_with_its_defaults_and_prints_the_models_name(server, command, capsys):
    server.answer = lambda request: (200, completion("yes"))
    assert main(command) == 0
    assert "judge endpoint m-2024" in capsys.readouterr().out
    assert {row["judge"] for row in read_table(Path("a.parquet"), "answers")} == {"endpoint m-2024"}


def test_a_judge_that_refuses_ends_the_command_with_an_error(server, command, capsys):
    server.answer = lambda request: (200, completion("I'm sorry, I cannot help."))
    assert main(command) == 2
    message = capsys.readouterr().err
    assert "1 of 1 (100.0%) are no answer" in message and "I'm sorry, I cannot help." in message
