"""The reply store: nothing is asked twice, a torn line is no harm."""

from pathlib import Path

import pytest

from selma.core.errors import RecordError
from selma.llm.cache import CachedGenerator

IDENTITY: dict[str, object] = {"backend": "x", "model": "m", "revision": "1", "temperature": 1.0}


class Counting:
    """Answers with the number of times it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def generate(self, request: str, *, seed: int) -> str:
        self.asked += 1
        return f"reply {self.asked}\nto {request} ✓"


def test_a_restart_gives_the_same_replies_without_asking(tmp_path: Path):
    path = tmp_path / "work" / "replies.jsonl"
    first = CachedGenerator(Counting(), path, IDENTITY)
    replies = [first.generate(f"r{n}", seed=n) for n in range(3)]
    backend = Counting()
    second = CachedGenerator(backend, path, IDENTITY)
    assert [second.generate(f"r{n}", seed=n) for n in range(3)] == replies
    assert backend.asked == 0


def test_request_seed_and_identity_each_make_another_reply(tmp_path: Path):
    path, backend = tmp_path / "r.jsonl", Counting()
    CachedGenerator(backend, path, IDENTITY).generate("a", seed=1)
    CachedGenerator(backend, path, IDENTITY).generate("b", seed=1)
    CachedGenerator(backend, path, IDENTITY).generate("a", seed=2)
    CachedGenerator(backend, path, IDENTITY | {"temperature": 0.5}).generate("a", seed=1)
    assert backend.asked == 4


def test_a_line_torn_anywhere_costs_only_that_reply(tmp_path: Path):
    path = tmp_path / "r.jsonl"
    cached = CachedGenerator(Counting(), path, IDENTITY)
    kept, lost = cached.generate("a", seed=1), cached.generate("b", seed=1)
    data = path.read_bytes()
    start = data.index(b"\n") + 1
    for end in (start, start + 1, (start + len(data)) // 2, len(data) - 1):
        path.write_bytes(data[:end])
        backend = Counting()
        backend.asked = 1
        again = CachedGenerator(backend, path, IDENTITY)
        assert again.generate("a", seed=1) == kept
        assert again.generate("b", seed=1) == lost
        assert backend.asked == 2
        assert path.read_bytes() == data


def test_a_broken_line_within_the_file_is_named(tmp_path: Path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"key": "k", "reply": "r"}\n{"key": \n')
    with pytest.raises(RecordError, match=r"r\.jsonl:2"):
        CachedGenerator(Counting(), path, IDENTITY)
