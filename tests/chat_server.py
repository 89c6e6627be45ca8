"""A server on loopback that speaks OpenAI's interface, as well or as badly as a test wants."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

KEY = "sk-secret-0123456789"
ERROR = {"error": {"message": "no", "type": "t", "code": None}}
# Status and body, which goes out as JSON unless it is bytes; None drops the connection. A third
# part is headers.
Answer = tuple[Any, ...] | None


def completion(text: Any, reason: str = "stop", tokens: tuple[int, int] = (90, 2), **message: Any):
    """A chat completion; `message` are further fields of its message."""
    choice = {
        "index": 0, "finish_reason": reason,
        "message": {"role": "assistant", "content": text, **message},
    }  # fmt: skip
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return {
        "id": "c", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [choice], "usage": {**usage, "total_tokens": sum(tokens)},
    }  # fmt: skip


# What another try may mend.
FAULTS: dict[str, Answer] = {
    "busy": (429, ERROR), "broken": (500, ERROR), "late": (408, ERROR), "conflict": (409, ERROR),
    "cut JSON": (200, b'{"choices": [{"mess'), "nothing": (200, b""), "a list": (200, []),
    "HTML": (200, b"<html>welcome</html>"), "no choices": (200, {**completion("x"), "choices": []}),
    "no message": (200, {"choices": [{"index": 0, "finish_reason": "stop"}]}),
    "a number": (200, completion(7)), "dropped": None,
}  # fmt: skip


class ChatServer(ThreadingHTTPServer):
    """Answers each request by a function of its body, and remembers it with path and key.

    After `broken_after` requests it refuses all others.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Callable[[dict[str, Any]], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.under_way, self.most_under_way, self.broken_after = 0, 0, 1_000_000
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_POST(self) -> None:  # noqa: N802
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key, server = self.headers["Authorization"], self.server
        with server.lock:
            server.requests.append({"path": self.path, "authorization": key, **body})
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
        broken = len(server.requests) > server.broken_after
        answer = (400, ERROR) if broken else server.answer(body)
        with server.lock:
            server.under_way -= 1
        if answer is None:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, value, headers = (*answer, {})[:3]
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        kind = "text/html" if data.startswith(b"<") else "application/json"
        sent = {"Content-Type": kind, "Content-Length": str(len(data)), **headers}
        if status != 200 and not headers:
            sent["Retry-After-Ms"] = "1"
        for name, text in sent.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Be silent."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client that was killed
            super().handle()


@contextlib.contextmanager
def serving(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[dict[str, Any]], Answer]
) -> Iterator[ChatServer]:
    """Run a server to which the environment points."""
    server = ChatServer(answer)
    try:
        socket.create_connection(("127.0.0.1", server.server_port), timeout=5).close()
    except OSError:
        server.server_close()
        pytest.skip("no loopback interface: this process has no network at all")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.address)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
