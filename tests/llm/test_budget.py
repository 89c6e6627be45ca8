"""Money: no number of threads and processes passes the limit."""

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from selma.core.errors import BackendError, ConfigError
from selma.llm.budget import Budget
from selma.llm.prices import find_price, needed_price


def test_what_may_be_spent_is_reserved_and_the_rest_given_back(tmp_path: Path):
    budget = Budget(tmp_path / "b.jsonl", 1.0)
    one = budget.reserve(0.75)
    assert budget.spent_usd == 0.75
    budget.settle(one, 0.25)
    budget.settle(budget.reserve(0.75), 0.5)
    assert budget.spent_usd == 0.75
    with pytest.raises(BackendError, match=r"\$0.7500 of \$1 are spent.*may cost \$0.5000; raise"):
        budget.reserve(0.5)


def test_exactly_the_limit_may_be_spent(tmp_path: Path):
    budget = Budget(tmp_path / "b.jsonl", 1.0)
    budget.settle(budget.reserve(1.0), 1.0)
    with pytest.raises(BackendError):
        budget.reserve(1e-9)


def test_a_killed_request_counts_in_full_and_for_all_processes(tmp_path: Path):
    Budget(tmp_path / "b.jsonl", 1.0).reserve(0.625)  # and its process dies
    other = Budget(tmp_path / "b.jsonl", 1.0)
    with pytest.raises(BackendError):
        other.reserve(0.5)
    other.settle(other.reserve(0.25), 0.125)
    assert other.spent_usd == 0.75


def test_who_cannot_reserve_waits_for_what_is_under_way(tmp_path: Path):
    budget = Budget(tmp_path / "b.jsonl", 1.0)
    first = budget.reserve(0.75)
    done: list[float] = []

    def reserve() -> None:
        done.append(budget.reserve(0.5).usd)

    waiting = threading.Thread(target=reserve)
    waiting.start()
    waiting.join(0.1)
    assert done == []
    budget.settle(first, 0.25)
    waiting.join(5)
    assert done == [0.5]


def test_threads_never_pass_the_limit(tmp_path: Path):
    budget, seen = Budget(tmp_path / "b.jsonl", 1.0), []

    def spend(number: int) -> None:
        one = budget.reserve(0.125)
        seen.append(budget.spent_usd)
        budget.settle(one, 0.0625)

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(spend, number) for number in range(40)]
    failed = [future for future in futures if future.exception()]
    assert max(seen) <= 1.0
    assert len(futures) - len(failed) == 15  # 14 × 1/16 leave room for one more of 1/8
    assert budget.spent_usd == 15 / 16


def _spend(path: Path, done: Any) -> None:
    budget = Budget(path, 1.0)
    try:
        while True:
            budget.settle(budget.reserve(0.0625), 0.03125)
            done.put(budget.spent_usd)
    except BackendError:
        done.put(None)


def test_processes_share_the_limit(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    done = context.SimpleQueue()
    spenders = [context.Process(target=_spend, args=(tmp_path / "b.jsonl", done)) for _ in "abc"]
    for one in spenders:
        one.start()
    ended, spent = 0, []
    while ended < len(spenders):
        told = done.get()
        ended += told is None
        spent += [] if told is None else [told]
    for one in spenders:
        one.join()
    assert max(spent) <= 1.0
    assert len(spent) >= 29  # of 1/32 each; another process's reservations count meanwhile
    assert Budget(tmp_path / "b.jsonl", 1.0).reserve(0.0).usd == 0.0


def test_the_environments_server_has_no_price_either(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.openai.com.example.org/v1")
    assert find_price("gpt-3.5-turbo-instruct", None, None) is None
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.openai.com/v1")
    known = find_price("gpt-3.5-turbo-instruct", None, None)
    assert known is not None and known.usd(2_000_000, 0) == 3.0


def test_prices_come_from_params_or_from_the_list(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    own = find_price("anything", "http://127.0.0.1/v1", {"input": 1.0, "output": 3.0})
    assert own is not None and own.usd(1_000_000, 500_000) == 2.5
    known = find_price("gpt-3.5-turbo-instruct", None, None)
    assert known is not None and known.usd(1_000_000, 1_000_000) == 3.5  # 1.50 and 2.00
    assert known.source.startswith("genai-prices ")
    assert find_price("no-such-model", None, None) is None
    assert find_price("gpt-3.5-turbo-instruct", "http://127.0.0.1/v1", None) is None
    with pytest.raises(ConfigError, match=r"llm.price: .*'no-such-model' at OpenAI"):
        needed_price("no-such-model", None, None)
