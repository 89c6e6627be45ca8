"""The self-instruct loop with the pocket LLM and with scripted ones."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from selma.core.errors import BackendError, SelmaError
from selma.llm.cache import CachedGenerator
from selma.pocket.skills import TRAINED_SKILLS
from selma.pocket.writer import MODEL, REVISION, PocketWriter
from selma.prompts.diversity import normalise
from selma.prompts.skills import SkillSpec, read_skill
from selma.prompts.writing import Written, write_prompts

FOLDER = Path(__file__).parents[2] / "data" / "skills"
SPEC = SkillSpec(
    version=1,
    skill="count",
    instructions="Count.",
    seed_prompts=["one cat", "two dogs", "six owls"],
)


class Scripted:
    """Gives the replies of a list, then the last one for ever."""

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.requests: list[str] = []

    def generate(self, request: str, *, seed: int) -> str:
        self.requests.append(request)
        return self.replies[min(len(self.requests), len(self.replies)) - 1]


def write(spec: SkillSpec, generator: Any, **changes: Any) -> Written:
    settings: dict[str, Any] = {
        "per_skill": 4, "per_request": 3, "examples_per_request": 3, "rouge_l_max": 0.8,
        "max_requests": 5, "seed": 0, "benchmark_prompts": {}, "on_kept": lambda number: None,
    }  # fmt: skip
    return write_prompts(spec, generator, **(settings | changes))


def test_every_line_is_kept_or_counted():
    generator = Scripted(
        "Here you are:\n1. a red circle\n2. one cat\n3. a RED circle!",
        "sorry, no.",
        "1. a red circle on a big brown table\n2. a red circle on a big green table\n"
        "3. blue hearts",
        "1. a tiny star\n2. lone cross\n3. pink ring",
    )
    written = write(SPEC, generator, benchmark_prompts={"b1": "The tiny star", "b2": "pink square"})
    assert [row["prompt"] for row in written.rows] == [
        "a red circle", "a red circle on a big brown table", "blue hearts", "lone cross",
    ]  # fmt: skip
    assert asdict(written.counts) == {
        "requests": 4, "unreadable": 1, "lines": 10, "kept": 4, "duplicate": 2, "near": 1,
        "leaked": 1, "rejected": 1, "surplus": 1,
    }  # fmt: skip


def test_a_row_tells_what_it_was_compared_with():
    generator = Scripted("1. two big dogs\n2. two big pigs\n3. nine hens")
    row = write(SPEC, generator, per_skill=2, benchmark_prompts={"b": "big pigs"}).rows[1]
    assert row == {
        "prompt_id": "count_0001", "skill": "count", "prompt": "two big pigs", "index": 1,
        "request_id": 0, "nearest_prompt_id": "count_0000", "rouge_l": pytest.approx(2 / 3),
        "nearest_benchmark_id": "b", "benchmark_rouge_l": 0.8,
    }  # fmt: skip


def test_kept_prompts_become_examples():
    generator = Scripted("1. a red circle\n2. blue hearts\n3. lone cross", "1. pink ring")
    write(SPEC, generator, examples_per_request=6)
    assert "a red circle" not in generator.requests[0]
    for prompt in ("one cat", "two dogs", "six owls", "a red circle", "blue hearts", "lone cross"):
        assert prompt in generator.requests[1]


def test_a_skill_that_dries_up_ends_with_the_counts_and_what_to_change():
    generator = Scripted("1. a red circle\n2. one cat", "nothing")
    with pytest.raises(SelmaError) as caught:
        write(SPEC, generator)
    message = str(caught.value)
    assert len(generator.requests) == 5
    for part in ("'count'", "1 of 4", "5 requests", "1 duplicate", "4 replies", "max_requests"):
        assert part in message


@pytest.mark.parametrize("skill", TRAINED_SKILLS)
def test_the_pocket_llm_fills_every_skill_in_few_requests(skill: str):
    spec = read_skill(FOLDER / f"{skill}.yaml")
    settings = {"per_skill": 200, "per_request": 10, "max_requests": 100}
    written = write(spec, PocketWriter(MODEL, REVISION), **settings)
    again = write(spec, PocketWriter(MODEL, REVISION), **settings)
    assert written == again
    assert [row["prompt_id"] for row in written.rows] == sorted(
        f"{skill}_{index:04d}" for index in range(200)
    )
    assert len({normalise(row["prompt"]) for row in written.rows}) == 200
    assert max(row["rouge_l"] for row in written.rows) <= 0.8
    counts = asdict(written.counts)
    parts = ("kept", "duplicate", "near", "leaked", "rejected", "surplus")
    assert counts["lines"] == sum(counts[part] for part in parts)


def test_another_seed_gives_other_prompts():
    spec = read_skill(FOLDER / "common.yaml")
    first, second = (
        {row["prompt"] for row in write(spec, PocketWriter(MODEL, REVISION), seed=seed).rows}
        for seed in (0, 1)
    )
    assert first != second


def test_no_benchmark_prompt_is_kept():
    spec = read_skill(FOLDER / "common.yaml")
    first = write(spec, PocketWriter(MODEL, REVISION), per_skill=20, per_request=10).rows
    benchmark = {row["prompt_id"]: row["prompt"].title() + "." for row in first[:10]}
    second = write(
        spec, PocketWriter(MODEL, REVISION), per_skill=20, per_request=10,
        benchmark_prompts=benchmark,
    )  # fmt: skip
    kept = {normalise(row["prompt"]) for row in second.rows}
    assert not kept & {normalise(prompt) for prompt in benchmark.values()}
    assert second.counts.leaked > 0


def test_progress_adds_up():
    seen: list[int] = []
    generator = Scripted("1. a red circle\n2. blue hearts", "1. lone cross\n2. pink ring")
    write(SPEC, generator, on_kept=seen.append)
    assert seen == [2, 2]


class Dying:
    """The pocket LLM, dead after some replies; counts those it gave."""

    def __init__(self, life: int) -> None:
        self.given = 0
        self.life = life

    def generate(self, request: str, *, seed: int) -> str:
        if self.given == self.life:
            raise BackendError("gone")
        self.given += 1
        return PocketWriter(MODEL, REVISION).generate(request, seed=seed)


def test_a_run_that_dies_ends_in_the_same_rows_and_asks_nothing_twice(tmp_path: Path):
    spec = read_skill(FOLDER / "count.yaml")
    settings = {"per_skill": 50, "per_request": 10, "max_requests": 50}
    whole = write(spec, PocketWriter(MODEL, REVISION), **settings)
    path, first, second = tmp_path / "replies.jsonl", Dying(3), Dying(1000)
    with pytest.raises(BackendError):
        write(spec, CachedGenerator(first, path, {}), **settings)
    path.write_bytes(path.read_bytes() + b'{"key": "ab')
    assert write(spec, CachedGenerator(second, path, {}), **settings) == whole
    assert first.given + second.given == whole.counts.requests
