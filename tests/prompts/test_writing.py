"""The self-instruct loop with the pocket LLM and with scripted ones."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from llm_options import options

from selma.core.errors import BackendError, SelmaError
from selma.llm.generators import RecordedLlm
from selma.llm.transcript import Reply, Request, Transcript
from selma.pocket.skills import TRAINED_SKILLS
from selma.pocket.writer import MODEL, REVISION, PocketWriter
from selma.prompts.diversity import normalise
from selma.prompts.skills import SkillSpec, WordLimits, read_skill
from selma.prompts.writing import Written, write_prompts

FOLDER = Path(__file__).parents[2] / "data" / "skills"
SPEC = SkillSpec(
    version=1,
    skill="count",
    words=WordLimits(min=1, max=9),
    instructions="Count.",
    seed_prompts=["one cat", "two dogs", "six owls"],
)


class Scripted:
    """Gives the replies of a list, then the last one for ever."""

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.requests: list[str] = []

    def __call__(self, request: Request, schema: Any) -> Reply:
        self.requests.append(request.text)
        return Reply(self.replies[min(len(self.requests), len(self.replies)) - 1])


def pocket(request: Request, schema: Any) -> Reply:
    return Reply(PocketWriter(MODEL, REVISION).generate(request.text, seed=request.seed))


def write(spec: SkillSpec, answer: Any, **changes: Any) -> Written:
    settings: dict[str, Any] = {
        "per_skill": 4, "per_request": 3, "examples_per_request": 3, "rouge_l_max": 0.8,
        "max_requests": 5, "seed": 0, "benchmark_prompts": {}, "on_kept": lambda number, note: None,
        "requests_per_round": 1, "json": False,
        "leak_word_edits_max": 0, "leak_words_per_edit": 3, "leak_rouge_l_max": None,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = changes.pop("transcript", Path(folder, "t.jsonl"))
        llm = RecordedLlm(
            options(concurrency=changes.pop("concurrency", 1)), answer, Transcript(path)
        )
        return write_prompts(spec, llm, **(settings | changes))


def test_every_line_is_kept_or_counted():
    generator = Scripted(
        "Here you are:\n1. a red circle\n2. one cat\n3. a RED circle!",
        "sorry, no.",
        "1. a red circle on a big brown table\n2. a red circle on a big green table\n"
        "3. blue hearts\n4. a ring on one of the five tables over there",
        "1. a tiny star\n2. lone cross\n3. pink ring",
    )
    written = write(SPEC, generator, benchmark_prompts={"b1": "The tiny star", "b2": "pink square"})
    assert [row["prompt"] for row in written.rows] == [
        "a red circle", "a red circle on a big brown table", "blue hearts", "lone cross",
    ]  # fmt: skip
    assert asdict(written.counts) == {
        "requests": 3, "unreadable": 1, "lines": 11, "kept": 4, "duplicate": 2, "near": 1,
        "leaked": 1, "leaked_by_kind": {"equal": 1, "edited": 0, "rouge_l": 0}, "wrong_length": 1,
        "rejected": 1, "surplus": 1,
    }  # fmt: skip


def test_a_row_tells_what_it_was_compared_with():
    generator = Scripted("1. two big dogs\n2. two big pigs\n3. nine hens")
    row = write(SPEC, generator, per_skill=2, benchmark_prompts={"b": "big pigs"}).rows[1]
    assert row == {
        "prompt_id": "count_0001", "skill": "count", "prompt": "two big pigs", "index": 1,
        "request_id": 0, "nearest_prompt_id": "count_0000", "rouge_l": pytest.approx(2 / 3),
        "nearest_benchmark_id": "b", "benchmark_rouge_l": 0.8, "benchmark_kind": "rouge_l",
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
    assert len(generator.requests) == 9  # four of them twice
    for part in ("'count'", "1 of 4", "5 requests", "1 duplicate", "8 replies", "max_requests"):
        assert part in message


@pytest.mark.parametrize("skill", TRAINED_SKILLS)
def test_the_pocket_llm_fills_every_skill_in_few_requests(skill: str):
    spec = read_skill(FOLDER / f"{skill}.yaml")
    settings = {"per_skill": 200, "per_request": 10, "max_requests": 100}
    written = write(spec, pocket, **settings)
    again = write(spec, pocket, **settings)
    assert written == again
    assert [row["prompt_id"] for row in written.rows] == sorted(
        f"{skill}_{index:04d}" for index in range(200)
    )
    assert len({normalise(row["prompt"]) for row in written.rows}) == 200
    assert max(row["rouge_l"] for row in written.rows) <= 0.8
    counts = asdict(written.counts)
    parts = ("kept", "duplicate", "near", "leaked", "wrong_length", "rejected", "surplus")
    assert counts["lines"] == sum(counts[part] for part in parts)


def test_another_seed_gives_other_prompts():
    spec = read_skill(FOLDER / "common.yaml")
    first, second = (
        {row["prompt"] for row in write(spec, pocket, seed=seed).rows} for seed in (0, 1)
    )
    assert first != second


def test_no_benchmark_prompt_is_kept():
    spec = read_skill(FOLDER / "common.yaml")
    first = write(spec, pocket, per_skill=20, per_request=10).rows
    benchmark = {row["prompt_id"]: row["prompt"].title() + "." for row in first[:10]}
    second = write(
        spec, pocket, per_skill=20, per_request=10,
        benchmark_prompts=benchmark,
    )  # fmt: skip
    kept = {normalise(row["prompt"]) for row in second.rows}
    assert not kept & {normalise(prompt) for prompt in benchmark.values()}
    assert second.counts.leaked > 0


def test_progress_adds_up_and_tells_what_was_asked():
    seen: list[tuple[int, str]] = []
    generator = Scripted("1. a red circle\n2. blue hearts", "1. lone cross\n2. pink ring")
    write(SPEC, generator, on_kept=lambda *told: seen.append(told))
    assert seen == [(2, "1 requests, price unknown"), (2, "2 requests, price unknown")]


def test_a_reply_that_cannot_be_read_is_asked_for_once_more_with_what_was_wrong():
    generator = Scripted("Sorry.", "1. red hat\n2. blue sea\n3. tall oak\n4. old key")
    written = write(SPEC, generator, per_request=4)
    first, again = generator.requests
    assert again.startswith(first)
    assert "An earlier reply could not be used: no list of prompts" in again
    assert (written.counts.requests, written.counts.unreadable) == (1, 1)
    assert {row["request_id"] for row in written.rows} == {0}


def test_ten_unreadable_replies_in_a_row_stop_and_are_asked_for_anew(tmp_path: Path):
    path = tmp_path / "t.jsonl"
    bad = Scripted("1. red hat", *["I cannot help with that."] * 20)
    with pytest.raises(BackendError, match="10 replies in a row.*'I cannot help with that.'"):
        write(SPEC, bad, max_requests=400, transcript=path)
    assert len(bad.requests) == 11
    mended = Scripted("1. blue sea\n2. tall oak\n3. old key")
    rows = write(SPEC, mended, transcript=path).rows
    assert [row["prompt"] for row in rows] == ["red hat", "blue sea", "tall oak", "old key"]
    assert len(mended.requests) == 1


def test_what_was_asked_for_but_not_read_is_forgotten_too(tmp_path: Path):
    path = tmp_path / "t.jsonl"
    settings = {"max_requests": 400, "requests_per_round": 40, "per_skill": 40, "per_request": 1}
    with pytest.raises(BackendError, match="10 replies in a row"):
        write(SPEC, Scripted("Sorry, I cannot."), transcript=path, **settings)
    mended = Scripted(*(f"1. word{k} thing{k} here{k}" for k in range(40)))
    assert write(SPEC, mended, transcript=path, **settings).counts.unreadable == 0


def test_a_server_that_fails_at_a_repair_costs_no_answer_of_the_round(tmp_path: Path):
    path = tmp_path / "t.jsonl"
    good = {k: f"1. word{k} thing{k} here{k}\n2. other{k} word{k}{k} there{k}" for k in range(1, 4)}
    seen: list[str] = []

    def fails_at_the_fifth(request: Request, schema: Any) -> Reply:
        seen.append(request.text)
        if len(seen) == 5:
            raise BackendError("gone")
        return Reply(good.get(len(seen) - 1, "Sorry, I cannot."))

    settings = {"per_request": 2, "requests_per_round": 4, "per_skill": 7, "max_requests": 9}
    with pytest.raises(BackendError, match="gone"):
        write(SPEC, fails_at_the_fifth, transcript=path, **settings)
    mended = Scripted("1. red hat\n2. blue sea")
    assert len(write(SPEC, mended, transcript=path, **settings).rows) == 7
    assert len(mended.requests) == 1  # the repair; the round's own four were answered


def test_readable_replies_of_which_nothing_is_kept_stop_too_and_say_what_to_do():
    long = Scripted("1. red hat", "1. " + "very " * 20 + "long", "1. " + "so " * 20 + "long")
    with pytest.raises(SelmaError, match="1 of 4 .* 51 requests .the last 50 gave none") as caught:
        write(SPEC, long, max_requests=400)
    assert "; say the limits in the skill's instructions, or widen its words" in str(caught.value)
    assert len(long.requests) == 51


def test_bad_replies_with_good_ones_between_do_not_stop():
    replies = [text for k in range(12) for text in ("no", "never", f"1. word{k} thing{k} here{k}")]
    written = write(SPEC, Scripted(*replies), per_skill=12, max_requests=400)
    assert written.counts.unreadable == 24
    assert written.counts.requests == 24


def test_replies_may_be_json():
    generator = Scripted('{"prompts": ["red hat", "blue sea"]}', '{"prompts": "old key"}',
                         '```json\n{"prompts": ["tall oak", "old key"]}\n```')  # fmt: skip
    written = write(SPEC, generator, json=True)
    assert [row["prompt"] for row in written.rows] == ["red hat", "blue sea", "tall oak", "old key"]
    assert written.counts.unreadable == 1
    assert 'as JSON: {"prompts": [one prompt, …]}' in generator.requests[0]
    assert 'expected JSON {"prompts": [text, …]}' in generator.requests[2]


@pytest.mark.parametrize("concurrency", [3, 16])
def test_how_many_requests_are_under_way_changes_nothing(concurrency: int):
    spec = read_skill(FOLDER / "count.yaml")
    settings = {"per_skill": 60, "per_request": 5, "max_requests": 50, "requests_per_round": 8}
    one_by_one = write(spec, pocket, **settings)
    assert write(spec, pocket, **settings, concurrency=concurrency) == one_by_one


def test_a_round_asks_for_no_more_than_is_missing():
    generator = Scripted("1. red hat\n2. blue sea", "1. tall oak\n2. old key", "1. wet dog")
    write(SPEC, generator, per_request=2, requests_per_round=8)
    assert len(generator.requests) == 2
    assert all("red hat" not in text for text in generator.requests)  # both of the first round


class Dying:
    """The pocket LLM, dead after some replies; counts those it gave."""

    def __init__(self, life: int) -> None:
        self.given = 0
        self.life = life

    def __call__(self, request: Request, schema: Any) -> Reply:
        if self.given == self.life:
            raise BackendError("gone")
        self.given += 1
        return pocket(request, schema)


def test_a_run_that_dies_ends_in_the_same_rows_and_asks_nothing_twice(tmp_path: Path):
    spec = read_skill(FOLDER / "count.yaml")
    settings = {"per_skill": 50, "per_request": 10, "max_requests": 50}
    whole = write(spec, pocket, **settings)
    path, first, second = tmp_path / "replies.jsonl", Dying(3), Dying(1000)
    with pytest.raises(BackendError):
        write(spec, first, transcript=path, **settings)
    path.write_bytes(path.read_bytes() + b'{"request": {"mod')
    assert write(spec, second, transcript=path, **settings) == whole
    assert first.given + second.given == whole.counts.requests
