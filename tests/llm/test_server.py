"""The real client against a server on loopback that answers well and badly."""

import logging
import os
import random
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from chat_server import ERROR, FAULTS, KEY, ChatServer, completion, serving
from llm_options import options

from selma.core.errors import BackendError, ConfigError
from selma.core.threads import in_threads
from selma.llm.budget import Budget
from selma.llm.generators import make_answer
from selma.llm.transcript import Reply, Request

PRICE = {"input": 1e4, "output": 2e4}  # USD for a million: a cent and two for a token


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    with serving(monkeypatch, lambda body: (200, completion("1. star"))) as server:
        yield server


def in_turn(server: ChatServer, *answers: Any) -> None:
    """Let the server give these answers, then good ones."""
    left = iter(answers)
    server.answer = lambda body: next(left, (200, completion("1. star")))


def ask(tmp_path: Path, seed: int = 1, schema: Any = None, **changes: Any) -> Reply:
    answer = make_answer(options(**changes), tmp_path / "spent.jsonl")
    return answer(Request("m-2024", "{}", "Write 1 prompt", seed), schema)


def test_a_request_reaches_the_server_and_its_answer_comes_back(server, tmp_path):
    in_turn(server, (200, completion("1. a red circle", tokens=(4, 6))))
    reply = ask(tmp_path, seed=2**62 + 5)
    assert reply == Reply("1. a red circle", "stop", 4, 6, None)
    (request,) = server.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["authorization"] == f"Bearer {KEY}"
    assert request["messages"] == [{"role": "user", "content": "Write 1 prompt"}]
    assert (request["model"], request["temperature"], request["seed"]) == ("m-2024", 0.7, 5)
    assert request["max_completion_tokens"] == 64
    assert "response_format" not in request


def test_the_older_interface_takes_one_text(server, tmp_path):
    choice = {"index": 0, "text": "1. a red circle", "finish_reason": "stop"}
    in_turn(server, (200, {"choices": [choice], "usage": None}))
    reply = ask(tmp_path, interface="completions", temperature=None)
    assert reply.text == "1. a red circle"
    (request,) = server.requests
    assert request["path"] == "/v1/completions"
    assert (request["prompt"], request["max_tokens"]) == ("Write 1 prompt", 64)
    assert "temperature" not in request and "messages" not in request


def test_a_schema_is_handed_to_the_server(server, tmp_path):
    ask(tmp_path, schema={"type": "object"})
    form = server.requests[0]["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_may_pass_is_tried_again_and_said(server, tmp_path, fault, caplog):
    in_turn(server, FAULTS[fault])
    with caplog.at_level(logging.WARNING):
        assert ask(tmp_path).text == "1. star"
    assert len(server.requests) == 2
    (record,) = caplog.records
    assert "asking again in" in record.getMessage() and "\n" not in record.getMessage()


@pytest.mark.parametrize("fault", FAULTS)
def test_what_stays_is_one_line_with_what_to_do(server, tmp_path, fault):
    in_turn(server, *[FAULTS[fault]] * 9)
    with pytest.raises(BackendError, match="m-2024.*; (check|wait|run)") as caught:
        ask(tmp_path, retries=0)
    assert len(server.requests) == 1
    assert "\n" not in str(caught.value) and "127.0.0.1" in str(caught.value)


def test_text_in_parts_no_usage_and_an_empty_text_are_replies(server, tmp_path):
    parts = [{"type": "text", "text": "1. a"}, {"type": "text", "text": " star"}]
    in_turn(server, (200, completion(parts)), (200, {**completion("2. b"), "usage": None}),
            (200, completion(None, "content_filter")),
            (200, completion(None, refusal="I can't")))  # fmt: skip
    assert ask(tmp_path).text == "1. a star"
    reply = ask(tmp_path)
    assert (reply.text, reply.prompt_tokens, reply.reply_tokens) == ("2. b", None, None)
    assert ask(tmp_path).text == ""
    assert ask(tmp_path).text == "I can't"


def test_a_reply_cut_off_loses_its_unfinished_line(server, tmp_path):
    in_turn(server, (200, completion("1. a red circle\n2. a blu", "length")))
    assert ask(tmp_path).text == "1. a red circle\n"


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "OPENAI_API_KEY"), (403, "OPENAI_API_KEY"), (404, "model's name"), (400, "json_schema")],
)
def test_a_wrong_key_model_or_request_stops_at_once(server, tmp_path, status, hint):
    in_turn(server, *[(status, {"error": {"message": f"No: {KEY}\nsee"}})] * 9)
    with pytest.raises(BackendError, match=hint) as caught:
        ask(tmp_path)
    assert len(server.requests) == 1
    assert KEY not in str(caught.value) and "\n" not in str(caught.value)


def test_a_key_that_a_good_answer_echoes_is_taken_out(server, tmp_path):
    in_turn(server, (200, completion(f"1. a star\n2. {KEY}", refusal=f"no {KEY}")))
    assert ask(tmp_path).text == "1. a star\n2. ***"


def test_a_server_with_the_older_word_for_the_limit_gets_that(server, tmp_path):
    ask(tmp_path, interface="chat_max_tokens")
    (request,) = server.requests
    assert request["path"] == "/v1/chat/completions" and request["max_tokens"] == 64
    assert "max_completion_tokens" not in request


def test_a_schema_and_the_older_interface_exclude_each_other(server, tmp_path):
    with pytest.raises(ConfigError, match="llm.interface: completions takes no schema"):
        ask(tmp_path, interface="completions", reply_format="json_schema")


def test_a_half_of_a_letter_and_counts_below_nothing_are_not_taken_over(server, tmp_path):
    in_turn(server, (200, completion("1. a \ud83d", reason=7, tokens=(-5, 3))))
    reply = ask(tmp_path, price=PRICE)
    assert reply == Reply("1. a ?", "7", None, 3, None)


@pytest.mark.parametrize("address", ["http://127.0.0.1:80x0/v1", "127.0.0.1:80/v1", "http:///v1"])
def test_what_is_no_address_is_told(server, tmp_path, address):
    with pytest.raises(ConfigError, match="is no address of a server"):
        ask(tmp_path, base_url=address)


@pytest.mark.parametrize("address", ["http://us:p/w@127.0.0.1/v1", "http://u:word@127.0.0.1/v1"])
def test_a_password_in_the_address_is_refused_without_telling_it(server, tmp_path, address):
    with pytest.raises(ConfigError, match="holds a user") as caught:
        ask(tmp_path, base_url=address)
    assert "word" not in str(caught.value).replace("password", "") and "p/w" not in str(
        caught.value
    )


def test_a_server_that_wants_an_hour_ends_the_waiting_at_once(server, tmp_path):
    in_turn(server, (429, ERROR, {"Retry-After": "3600"}))
    with pytest.raises(BackendError, match="wants to be asked again in 3600 s"):
        ask(tmp_path)
    assert len(server.requests) == 1


def test_pauses_grow_where_the_server_does_not_say(server, tmp_path, monkeypatch):
    monkeypatch.setattr("selma.llm.server._FIRST_WAIT_S", 0.1)
    times: list[float] = []

    def busy(body: dict[str, Any]) -> Any:
        times.append(time.monotonic())
        return (200, completion("1. star")) if len(times) == 3 else (503, ERROR, {"X-Y": "z"})

    server.answer = busy
    ask(tmp_path)
    assert times[1] - times[0] >= 0.1 and times[2] - times[1] >= 0.2


def test_a_wrong_key_ends_the_pauses_of_the_others(server, tmp_path):
    """One request is refused while another waits to be sent again."""
    waiting = threading.Event()

    def one_refused(body: dict[str, Any]) -> Any:
        if body["messages"][0]["content"] == "busy":
            waiting.set()
            return 429, ERROR, {"Retry-After": "50"}
        waiting.wait(5)
        return 401, ERROR

    server.answer = one_refused
    answer = make_answer(options(), tmp_path / "spent.jsonl")
    requests = [Request("m", "{}", text, 1) for text in ("busy", "other")]
    started = time.monotonic()
    with pytest.raises(BackendError, match="check OPENAI_API_KEY"):
        in_threads(partial(answer, schema=None), requests, 2)
    assert time.monotonic() - started < 20


def test_an_empty_purse_is_not_tried_again(server, tmp_path):
    in_turn(server, *[(429, {"error": {"message": "pay", "code": "insufficient_quota"}})] * 9)
    with pytest.raises(BackendError, match="quota"):
        ask(tmp_path)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "header", [{"Retry-After": "0.3"}, {"Retry-After-Ms": "300"}, {"Retry-After": "date"}]
)
def test_the_server_says_how_long_to_wait(server, tmp_path, header, monkeypatch):
    monkeypatch.setattr("selma.llm.server._FIRST_WAIT_S", 60.0)  # what it would be otherwise
    times: list[float] = []

    def busy_once(body: dict[str, Any]) -> Any:
        times.append(time.time())
        if len(times) > 1:
            return 200, completion("1. star")
        sent = {n: formatdate(time.time() + 2, usegmt=True) if v == "date" else v
                for n, v in header.items()}  # fmt: skip
        return 429, ERROR, sent

    server.answer = busy_once
    ask(tmp_path)
    assert (0.9 if "date" in header.values() else 0.3) <= times[1] - times[0] < 50


def test_a_missing_or_odd_key_is_told_before_anything_is_sent(monkeypatch, tmp_path):
    for key, problem in (("", "is not set"), ("sk-\nx", "holds a character"), ("sk-é", "holds")):
        monkeypatch.setitem(os.environ, "OPENAI_API_KEY", key)
        with pytest.raises(ConfigError, match=f"OPENAI_API_KEY {problem}"):
            ask(tmp_path)


def test_no_server_is_one_error_and_costs_nothing(server, tmp_path):
    priced = {"budget_usd": 9.0, "price": PRICE}
    with pytest.raises(BackendError, match=r"refused.*; check the server's address \(llm.base_url"):
        ask(tmp_path, base_url="http://127.0.0.1:9/v1", retries=0, **priced)
    assert server.requests == []
    assert Budget(tmp_path / "spent.jsonl", 9.0).look() == 0
    in_turn(server, FAULTS["dropped"])
    ask(tmp_path, **priced)
    assert Budget(tmp_path / "spent.jsonl", 9.0).look() > 1


def test_a_reply_is_paid_by_what_the_server_counts(server, tmp_path):
    in_turn(server, (200, completion("1. a", tokens=(5, 3))))
    assert ask(tmp_path, price=PRICE).usd == pytest.approx(0.05 + 0.06)


def test_a_budget_without_a_price_is_refused(server, tmp_path):
    with pytest.raises(ConfigError, match="llm.price"):
        ask(tmp_path, budget_usd=1.0)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_fails_the_server_never_charges_more_than_the_budget(
    server, tmp_path, seed, monkeypatch
):
    """Ten runs a seed, 200 in all; what the server counts is what it would charge."""
    monkeypatch.setattr("selma.llm.server._FIRST_WAIT_S", 0.0)
    for run in range(10):
        rng = random.Random(f"{seed} {run}")
        budget = rng.choice([0.0, 1.5, 4.0, 20.0])
        charged: list[float] = []

        def faulty(body: dict[str, Any], rng=rng, charged=charged) -> Any:
            kind = rng.choice(["good", "good", "dropped", "cut JSON", "no usage", "busy", "broken"])
            tokens = rng.randrange(4, 30), rng.randrange(1, body["max_completion_tokens"] + 1)
            if kind != "busy":  # it has worked, whatever became of its answer
                charged.append((tokens[0] * 1e4 + tokens[1] * 2e4) / 1e6)
            if kind == "good":
                return 200, completion("1. star", tokens=tokens)
            if kind == "no usage":
                return 200, {**completion("1. star"), "usage": None}
            return FAULTS[kind]

        server.answer = faulty
        changes = {"budget_usd": budget, "price": PRICE, "retries": 1, "reply_tokens_max": 20}
        answer = make_answer(options(**changes), tmp_path / f"{run}.jsonl")
        requests = [Request("m", "{}", "Write", k) for k in range(12)]
        problem = ""
        while "llm.budget_usd" not in problem:  # faults end a round, the budget ends it all
            try:
                in_threads(partial(answer, schema=None), requests, rng.randrange(1, 17))
            except BackendError as error:
                problem = str(error)
        assert sum(charged) <= budget + 1e-9
        assert sum(charged) > 0 or budget < 4
