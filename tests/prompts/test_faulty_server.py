"""A thousand prompts by way of a server that does everything wrong that servers do."""

import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from chat_server import ERROR, FAULTS, completion, serving
from llm_options import options

from selma.core.errors import BackendError
from selma.llm.generators import RecordedLlm, make_answer
from selma.llm.transcript import Transcript
from selma.pocket.writer import MODEL, REVISION, PocketWriter
from selma.prompts.skills import read_skill
from selma.prompts.writing import write_prompts

SKILLS = Path(__file__).parents[2] / "data/skills"
TOKENS = 300, 100
KINDS = [
    *FAULTS, "late", "429 with a date", "refusal", "empty", "cut off", "duplicate ids", "no usage",
    "parts", *["good"] * 12,
]  # fmt: skip


def test_a_thousand_prompts_are_collected_within_the_budget(monkeypatch, tmp_path):
    monkeypatch.setattr("selma.llm.server._FIRST_WAIT_S", 0.0)
    rng, lock, kinds = random.Random(0), threading.Lock(), Counter[str]()

    def faulty(body):
        with lock:
            kind = rng.choice(KINDS)
            kinds[kind] += 1
        text = PocketWriter(MODEL, REVISION).generate(
            body["messages"][0]["content"], seed=body["seed"]
        )
        if kind in FAULTS:
            return FAULTS[kind]
        if kind == "late":
            time.sleep(0.6)
        if kind == "429 with a date":
            return 429, ERROR, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}
        if kind == "refusal":
            return 200, completion(None, refusal="I cannot help with that.", tokens=TOKENS)
        if kind == "empty":
            return 200, completion("", tokens=TOKENS)
        if kind == "cut off":
            return 200, completion(text[: len(text) // 2], "length", tokens=TOKENS)
        if kind == "duplicate ids":
            lines = text.splitlines()
            return 200, completion("\n".join([*lines, *lines]), tokens=TOKENS)
        if kind == "no usage":
            return 200, {**completion(text), "usage": None}
        if kind == "parts":
            halves = text[:50], text[50:]
            return 200, completion([{"type": "text", "text": one} for one in halves], tokens=TOKENS)
        return 200, completion(text, tokens=TOKENS)

    spec = read_skill(SKILLS / "common.yaml")
    with serving(monkeypatch, faulty):
        asked = options(
            retries=12, timeout_s=0.5, concurrency=8, reply_tokens_max=1000, budget_usd=3.0,
            price={"input": 1.0, "output": 2.0},
        )  # fmt: skip
        answer = make_answer(asked, tmp_path / "spent.jsonl")
        llm = RecordedLlm(asked, answer, Transcript(tmp_path / "transcript.jsonl"))
        written = write_prompts(
            spec, llm, per_skill=1000, per_request=10, requests_per_round=8,
            examples_per_request=3, rouge_l_max=0.8, max_requests=2000, json=False, seed=0,
            leak_word_edits_max=0, leak_words_per_edit=3, leak_rouge_l_max=None,
            benchmark_prompts={}, on_kept=lambda number, note: None,
        )  # fmt: skip
    assert len(written.rows) == 1000
    assert set(kinds) == set(KINDS)
    assert written.counts.unreadable > 0
    assert 0 < llm.usage()["llm_usd"] < 3.0


@pytest.mark.parametrize("fault", ["HTML", "busy"])
def test_a_server_that_never_answers_stops_soon(monkeypatch, tmp_path, fault):
    monkeypatch.setattr("selma.llm.server._FIRST_WAIT_S", 0.0)
    spec = read_skill(SKILLS / "common.yaml")
    with serving(monkeypatch, lambda body: FAULTS[fault]) as server:
        asked = options(retries=3, concurrency=4)
        llm = RecordedLlm(
            asked, make_answer(asked, tmp_path / "s"), Transcript(tmp_path / "t.jsonl")
        )
        with pytest.raises(BackendError, match="m-2024"):
            write_prompts(
                spec, llm, per_skill=1000, per_request=10, requests_per_round=8,
                examples_per_request=3, rouge_l_max=0.8, max_requests=400, json=False, seed=0,
                leak_word_edits_max=0, leak_words_per_edit=3, leak_rouge_l_max=None,
                benchmark_prompts={}, on_kept=lambda number, note: None,
            )  # fmt: skip
    assert len(server.requests) <= 4 * 4
