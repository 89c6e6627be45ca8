"""The stage prompts has an LLM write as params.yaml says, and keeps what is new."""

import itertools
import re

import pytest
from stage_world import chat_server, item, read_json, rows_of, run, write_benchmark
from tiny_world import ROOT, tiny_params, write_params

from selma.core.errors import ConfigError, MissingDataError, SelmaError
from selma.prompts.coverage import coverage, distance

WRITING = {"per_skill": 6, "per_request": 4, "examples_per_request": 2, "max_requests": 40}
SKILL = """\
version: 3
skill: {name}
words: {{min: 3, max: 25}}
instructions: |
  You write prompts about counting: how many things there are.
seed_prompts:
  - two red stars
  - three blue circles on white
  - four green rings
"""


@pytest.fixture
def folder(world):
    write_skill(world, "count")
    write_benchmark("first", item("a", "nothing like it at all"))
    return world


def write_skill(folder, name, place="data/skills"):
    (folder / place).mkdir(parents=True, exist_ok=True)
    (folder / place / f"{name}.yaml").write_text(SKILL.format(name=name), encoding="utf-8")


def write(folder, *, skill="count", instructions="data/skills/count.yaml", override=None,
          benchmarks="data/benchmarks", seed=0, llm=None, **changes):  # fmt: skip
    params = tiny_params(prompts={**WRITING, **changes}, llm=llm or {}, seed=seed)
    params["skills"][skill] = {**params["skills"]["count"], "prompts": override or {}}
    write_params(folder, params)
    places = f"--instructions {instructions} --benchmarks {benchmarks}"
    outputs = "--out out.parquet --transcript transcript.parquet --metrics out.json"
    outputs += " --coverage coverage.json --plot plot.csv"
    run("prompts", f"--skill {skill} {places} {outputs}")
    return rows_of("out.parquet", "prompts")


def texts(rows):
    return [row["prompt"] for row in rows]


def test_as_many_prompts_are_kept_as_params_say_and_counted(folder):
    rows = write(folder)
    assert [row["prompt_id"] for row in rows] == [f"count_{k:04d}" for k in range(6)]
    assert {row["skill"] for row in rows} == {"count"}
    found = read_json("out.json")
    judged = ("kept", "duplicate", "near", "leaked", "wrong_length", "rejected", "surplus")
    assert found["kept"] == 6
    assert found["lines"] == sum(found[name] for name in judged)
    assert found["mean_rouge_l"] == pytest.approx(sum(row["rouge_l"] for row in rows) / 6)
    assert found["skill_version"] == 3
    assert found["request_version"] >= 1


def test_what_the_prompts_are_about_stands_beside_the_benchmarks_and_a_lopsided_set_is_warned_of(
    folder, caplog
):
    write_benchmark("second", item("a", "three red stars"), item("b", "zyx"))
    rows = write(folder, per_skill=30, max_requests=400)
    own, found = coverage(texts(rows)), read_json("coverage.json")
    assert found["numbers_per_prompt"] == pytest.approx(own["numbers_per_prompt"], abs=1e-4)
    for name, prompts in (("first", ["nothing like it"]), ("second", ["three red stars", "zyx"])):
        apart = distance(own, coverage(prompts), "mentions")
        assert found[f"mentions_distance_{name}"] == pytest.approx(apart, abs=1e-4)
    lines = (folder / "plot.csv").read_text().splitlines()
    assert f"skill,mentions_number,{own['mentions_number']:.6g}" in lines
    assert "second,mentions_number,0.5" in lines
    assert "lopsided" not in caplog.text
    (folder / "data/benchmarks/second.parquet").unlink()
    write(folder, per_skill=30, max_requests=400)
    assert "skill count is lopsided: they are about other things than all benchmarks" in caplog.text


def test_a_skill_overrides_how_its_prompts_are_written(folder):
    assert len(write(folder, override={"per_skill": 9})) == 9


def test_the_seed_and_the_skills_name_decide_the_words(folder):
    first = texts(write(folder))
    assert texts(write(folder)) == first
    assert texts(write(folder, seed=1)) != first
    named = write(folder, skill="numbers")
    assert {row["skill"] for row in named} == {"numbers"}
    assert texts(named) != first


def test_no_two_prompts_are_nearer_than_params_allow(folder):
    for limit in (0.95, 0.5):
        rows = write(folder, per_skill=12, rouge_l_max=limit, max_requests=400)
        assert max(row["rouge_l"] for row in rows) <= limit
    loose = write(folder, per_skill=12, rouge_l_max=0.95)
    assert max(row["rouge_l"] for row in loose) > 0.5


def test_no_prompt_of_any_table_in_the_folder_of_benchmarks_is_kept(folder):
    first = write(folder)
    assert read_json("out.json")["leaked"] == 0
    taken = [item(f"{n:05d}", f"  {text.upper()} ") for n, text in enumerate(texts(first)[:3])]
    write_benchmark("imported", *taken)
    second = write(folder)
    assert set(texts(first)[:3]) & set(texts(second)) == set()
    assert read_json("out.json")["leaked"] >= 3
    nearest = {row["nearest_benchmark_id"].partition("/")[0] for row in second}
    assert "imported" in nearest
    (folder / "elsewhere").mkdir()
    (folder / "data/benchmarks/first.parquet").rename(folder / "elsewhere/first.parquet")
    assert texts(write(folder, benchmarks="elsewhere")) == texts(first)


NUMBERS = itertools.count()


def listed():
    """A reply of four prompts that share no word with any other."""
    words = (" ".join(f"word{next(NUMBERS)}" for _ in range(3)) for _ in range(4))
    return "\n".join(f"{place}. {prompt}" for place, prompt in enumerate(words, start=1))


@pytest.fixture
def server(monkeypatch):
    with chat_server(monkeypatch, lambda body: listed()) as server:
        yield server


HOSTED = {"backend": "openai", "model": "writer-9", "revision": "x", "temperature": 0.7}


def test_a_hosted_llm_is_asked_in_the_words_and_with_the_numbers_of_params(folder, server):
    rows = write(folder, llm=HOSTED)
    asked = server.requests[0]
    assert (asked["model"], asked["temperature"]) == ("writer-9", 0.7)
    (message,) = asked["messages"]
    text = message["content"]
    assert text.startswith("You write prompts about counting: how many things there are.")
    assert re.search(r"\b4 new prompts", text)
    shown = [line for line in text.splitlines() if re.match(r"\d+\. ", line)]
    assert len(shown) == 2
    assert {line.partition(". ")[2] for line in shown} <= {
        "two red stars", "three blue circles on white", "four green rings",
    }  # fmt: skip
    assert len(rows) == 6
    assert read_json("out.json")["requests"] == len(server.requests) == 2  # 4 prompts each


def test_the_instructions_are_those_of_the_argument(folder, server):
    write_skill(folder, "other", "mine")
    path = folder / "mine/other.yaml"
    path.write_text(path.read_text().replace("You write", "Please write"), encoding="utf-8")
    rows = write(folder, instructions="mine/other.yaml", llm=HOSTED)
    assert server.requests[0]["messages"][0]["content"].startswith("Please write prompts about")
    assert {row["skill"] for row in rows} == {"count"}


def test_replies_already_paid_for_are_used_after_max_requests_was_raised(folder, server):
    with pytest.raises(SelmaError, match="4 of 6 prompts after 1 requests"):
        write(folder, llm=HOSTED, max_requests=1)
    assert not (folder / "out.parquet").exists()
    assert len(write(folder, llm=HOSTED, max_requests=2)) == 6
    assert len(server.requests) == 2


@pytest.mark.parametrize("key", ["model", "revision", "temperature"])
def test_replies_of_another_model_or_temperature_are_not_taken_up(folder, server, key):
    with pytest.raises(SelmaError):
        write(folder, llm=HOSTED, max_requests=1)
    other = {"model": "writer-10", "revision": "y", "temperature": 0.1}[key]
    write(folder, llm={**HOSTED, key: other})
    assert len(server.requests) == 3


def test_the_pocket_llm_refuses_another_model_or_revision(folder):
    with pytest.raises(ConfigError, match="unknown pocket LLM 'gpt'"):
        write(folder, llm={"model": "gpt"})
    with pytest.raises(ConfigError, match="revision"):
        write(folder, llm={"revision": "9"})
    with pytest.raises(MissingDataError, match="nowhere"):
        write(folder, instructions="nowhere.yaml")
    assert not (folder / "out.parquet").exists()


def test_the_shipped_skills_can_be_written(folder):
    for path in sorted((ROOT / "data/skills").rglob("*.yaml")):
        rows = write(folder, skill=path.stem, instructions=str(path), per_skill=2)
        assert {row["skill"] for row in rows} == {path.stem}
