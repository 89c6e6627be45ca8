"""The transcript: nothing is asked twice, by whatever process, and a torn line is no harm."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from selma.core.errors import RecordError
from selma.core.tables import read_table, write_table
from selma.llm.transcript import Reply, Request, Transcript, as_rows, from_rows

ONE = Request("m", '{"temperature": 1.0}', "Write ✓", 7)
REPLY = Reply("1. a\n2. b", "stop", 10, 4, 0.002)


def test_what_was_kept_is_found_again_by_another_process_too(tmp_path: Path):
    first, second = (Transcript(tmp_path / "x" / "t.jsonl") for _ in range(2))
    assert first.get(ONE) is None
    second.put(ONE, REPLY)
    assert first.get(ONE) == REPLY
    assert Transcript(tmp_path / "x" / "t.jsonl").get(ONE) == REPLY


@pytest.mark.parametrize(
    "change", [{"model": "n"}, {"parameters": "{}"}, {"text": "Write"}, {"seed": 8}]
)
def test_all_that_decides_a_reply_is_its_address(tmp_path: Path, change):
    transcript = Transcript(tmp_path / "t.jsonl")
    transcript.put(ONE, REPLY)
    assert transcript.get(replace(ONE, **change)) is None


def test_what_is_forgotten_is_asked_again(tmp_path: Path):
    transcript = Transcript(tmp_path / "t.jsonl")
    transcript.put(ONE, REPLY)
    transcript.forget([ONE])
    for one in (transcript, Transcript(tmp_path / "t.jsonl")):
        assert one.get(ONE) is None
    transcript.put(ONE, Reply("better"))
    assert Transcript(tmp_path / "t.jsonl").get(ONE) == Reply("better")


def test_a_line_torn_anywhere_costs_only_that_reply(tmp_path: Path):
    path, other = tmp_path / "t.jsonl", replace(ONE, seed=8)
    transcript = Transcript(path)
    transcript.put(ONE, REPLY)
    transcript.put(other, REPLY)
    data = path.read_bytes()
    start = data.index(b"\n") + 1
    for end in (start, start + 1, (start + len(data)) // 2, len(data) - 1):
        path.write_bytes(data[:end])
        torn = Transcript(path)
        assert (torn.get(ONE), torn.get(other)) == (REPLY, None)
        torn.put(other, Reply("anew"))
        assert Transcript(path).get(ONE) == REPLY
        assert Transcript(path).get(other) == Reply("anew")


def _put_some(path: Path, start: int) -> None:
    for seed in range(start, start + 50):
        Transcript(path).put(replace(ONE, seed=seed), Reply(str(seed) * 500))


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path):
    path = tmp_path / "t.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_put_some, args=(path, 50 * k)) for k in range(4)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    transcript = Transcript(path)
    for seed in range(200):
        assert transcript.get(replace(ONE, seed=seed)) == Reply(str(seed) * 500)


def test_a_file_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "t.jsonl").write_text('{"key": "k", "reply": "r"}\n')
    with pytest.raises(RecordError, match=r"t\.jsonl: holds a line that is no exchange"):
        Transcript(tmp_path / "t.jsonl").get(ONE)


def test_released_exchanges_are_read_when_one_is_missed(tmp_path: Path):
    asked = []

    def released():
        asked.append(1)
        return [(ONE, REPLY)]

    transcript = Transcript(tmp_path / "t.jsonl", released)
    transcript.put(replace(ONE, seed=8), Reply("own"))
    assert transcript.get(replace(ONE, seed=8)) == Reply("own") and asked == []
    assert transcript.get(ONE) == REPLY
    assert transcript.get(replace(ONE, seed=9)) is None and asked == [1]


def test_a_table_gives_the_exchanges_back_and_tells_what_it_lacks(tmp_path: Path):
    exchanges = [(replace(ONE, seed=k), Reply(str(k))) for k in range(12)]
    write_table(tmp_path / "t.parquet", "transcript", as_rows(exchanges))
    rows = read_table(tmp_path / "t.parquet", "transcript")
    assert from_rows(rows, "t") == exchanges
    with pytest.raises(RecordError, match="t: 2 of 12 exchanges are missing, the numbers 3, 10"):
        from_rows([row for row in rows if row["number"] not in (3, 10)], "t")
