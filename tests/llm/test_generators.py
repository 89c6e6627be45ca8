"""Backends by name, and what keeps their replies."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from llm_options import options

from selma.core.errors import ConfigError, MissingDataError
from selma.llm.generators import RecordedLlm, make_answer
from selma.llm.transcript import Reply, Request, Transcript


def test_an_unknown_backend_lists_those_there_are():
    with pytest.raises(ConfigError, match="openai, pocket, replay"):
        make_answer(options(backend="opnai"), Path("spent.jsonl"))


def test_choosing_the_pocket_llm_loads_no_heavy_package():
    code = (
        "import sys; from pathlib import Path; from llm_options import options;"
        "from selma.llm.generators import make_answer; import selma.prompts.writing;"
        "make_answer(options(backend='pocket', model='pocket-grammar'), Path());"
        "print(sorted({'torch', 'openai', 'diffusers', 'pandas', 'genai_prices'} & "
        "sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


class Counting:
    """Answers in the order of seeds backwards; counts."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.both = threading.Barrier(2, timeout=5)

    def __call__(self, request: Request, schema: Any) -> Reply:
        self.both.wait()
        self.asked.append(request.seed)
        return Reply(f"reply to {request.text}", None, 10, 2, 0.5)


def test_requests_are_sent_side_by_side_and_come_back_in_order(tmp_path: Path):
    answer, path = Counting(), tmp_path / "t.jsonl"
    llm = RecordedLlm(options(concurrency=2), answer, Transcript(path))
    exchanges = llm.ask_all([("a", 1), ("b", 2), ("c", 3), ("d", 4)])
    assert [reply.text[-1] for _, reply in exchanges] == list("abcd")
    assert sorted(answer.asked) == [1, 2, 3, 4]
    assert llm.used == exchanges
    sums = {"llm_prompt_tokens": 40, "llm_reply_tokens": 8, "llm_usd": 2.0}
    assert llm.usage() == {**sums, "llm_replies_without_price": 0}
    again = RecordedLlm(options(concurrency=1), answer, Transcript(path))
    assert again.ask_all([("d", 4), ("a", 1)]) == [exchanges[3], exchanges[0]]
    assert len(answer.asked) == 4


@pytest.mark.parametrize(
    ("change", "asks_again"),
    [
        ({"revision": "2"}, True), ({"temperature": None}, True), ({"interface": "x"}, True),
        ({"reply_tokens_max": 9}, True), ({"model": "other"}, True), ({"base_url": "x"}, False),
        ({"concurrency": 1}, False), ({"budget_usd": 1.0}, False), ({"retries": 9}, False),
    ],
)  # fmt: skip
def test_what_decides_a_reply_asks_again_and_nothing_else_does(tmp_path, change, asks_again):
    asked = []

    def answer(request: Request, schema: Any) -> Reply:
        asked.append(request)
        return Reply("x")

    for one in (options(), options(**change)):
        RecordedLlm(one, answer, Transcript(tmp_path / "t.jsonl")).generate("a", seed=1)
    assert len(asked) == 1 + asks_again


def test_a_schema_is_part_of_the_request(tmp_path: Path):
    seen = []

    def answer(request: Request, schema: Any) -> Reply:
        seen.append(schema)
        return Reply("x")

    llm = RecordedLlm(options(), answer, Transcript(tmp_path / "t.jsonl"))
    llm.ask_all([("a", 1)], {"type": "object"})
    llm.ask_all([("a", 1)])
    assert seen == [{"type": "object"}, None]


def test_a_replay_says_what_the_transcript_lacks(tmp_path: Path):
    replay = options(backend="replay")
    llm = RecordedLlm(replay, make_answer(replay, tmp_path), Transcript(tmp_path / "t.jsonl"))
    with pytest.raises(MissingDataError, match=r"no reply of m-2024 to .*'Write 3' with seed 5"):
        llm.generate("Write 3", seed=5)
