"""The real client against a small server on loopback."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from selma.core.errors import BackendError, ConfigError
from selma.llm.openai_client import OpenAIGenerator

KEY = "sk-secret-0123456789"


class Server(ThreadingHTTPServer):
    """Answers chat completions with the (status, body) pairs of a list, in turn."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.requests: list[dict[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    """Records the request and sends the next answer."""

    server: Server

    def do_POST(self) -> None:  # noqa: N802
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Authorization"]
        self.server.requests.append({"path": self.path, "authorization": key, **body})
        status, answer = self.server.answers.pop(0)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After-Ms", "1")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Be silent."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    try:
        socket.create_connection(("127.0.0.1", server.server_port), timeout=5).close()
    except OSError:
        server.server_close()
        pytest.skip("no loopback interface: this process has no network at all")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def completion(text: str | None, finish_reason: str = "stop", tokens: int = 10) -> dict[str, Any]:
    choice = {
        "index": 0, "finish_reason": finish_reason,
        "message": {"role": "assistant", "content": text},
    }  # fmt: skip
    usage = {"prompt_tokens": 4, "completion_tokens": tokens - 4, "total_tokens": tokens}
    return {
        "id": "c", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [choice], "usage": usage,
    }  # fmt: skip


def client(**changes: Any) -> OpenAIGenerator:
    settings: dict[str, Any] = {
        "temperature": 0.7, "reply_tokens_max": 64, "token_budget": 100, "timeout_s": 5.0,
        "retries": 2,
    }  # fmt: skip
    return OpenAIGenerator("m-2024", **(settings | changes))


ERROR = {"error": {"message": "no", "type": "t", "code": None}}


def test_a_request_reaches_the_server_and_its_answer_comes_back(server: Server):
    server.answers = [(200, completion("1. a red circle"))]
    assert client().generate("Write 1 prompt", seed=2**62 + 5) == "1. a red circle"
    request = server.requests[0]
    assert request["path"] == "/v1/chat/completions"
    assert request["authorization"] == f"Bearer {KEY}"
    assert request["messages"] == [{"role": "user", "content": "Write 1 prompt"}]
    assert (request["model"], request["temperature"], request["seed"]) == ("m-2024", 0.7, 5)
    assert request["max_completion_tokens"] == 64


def test_a_busy_server_is_asked_again(server: Server):
    server.answers = [(429, ERROR), (500, ERROR), (200, completion("1. star"))]
    assert client().generate("x", seed=1) == "1. star"
    assert len(server.requests) == 3


def test_a_server_that_stays_busy_is_one_error(server: Server):
    server.answers = [(429, ERROR)] * 3
    with pytest.raises(BackendError, match="RateLimitError") as caught:
        client().generate("x", seed=1)
    assert type(caught.value.__cause__).__name__ == "RateLimitError"


def test_a_refused_key_is_one_error_that_does_not_tell_the_key(server: Server):
    server.answers = [(401, {"error": {"message": f"Incorrect API key: {KEY}\nsee"}})]
    with pytest.raises(BackendError) as caught:
        client().generate("x", seed=1)
    message = str(caught.value)
    assert len(server.requests) == 1
    assert "check OPENAI_API_KEY" in message and "m-2024" in message
    assert KEY not in message and "\n" not in message


def test_a_missing_key_is_told_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        client()


def test_no_server_is_one_error(monkeypatch: pytest.MonkeyPatch, server: Server):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(BackendError, match="OPENAI_BASE_URL"):
        client(retries=0).generate("x", seed=1)


def test_a_spent_token_budget_stops_before_the_next_request(server: Server):
    server.answers = [(200, completion("a", tokens=60))] * 2
    generator = client()
    generator.generate("x", seed=1)
    generator.generate("x", seed=2)
    with pytest.raises(BackendError, match="120 tokens used, the budget is 100"):
        generator.generate("x", seed=3)
    assert len(server.requests) == 2


def test_a_reply_cut_off_loses_its_unfinished_line(server: Server):
    server.answers = [(200, completion("1. a red circle\n2. a blu", finish_reason="length"))]
    assert client().generate("x", seed=1) == "1. a red circle\n"


def test_an_empty_reply_is_an_empty_text(server: Server):
    server.answers = [(200, completion(None, finish_reason="content_filter"))]
    assert client().generate("x", seed=1) == ""
