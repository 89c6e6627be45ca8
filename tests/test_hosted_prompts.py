"""The pocket preset's prompts by way of a server: killed, replayed, searched for the key."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from chat_server import KEY, completion, serving
from dvc_world import DvcWorld, lay_out
from fork_server import ForkServer
from tiny_world import ROOT, shipped_params

from selma.core.seeds import derive_seed
from selma.core.tables import read_table, write_table
from selma.llm.transcript import Reply, Transcript, from_rows
from selma.pocket.writer import MODEL, REVISION, PocketWriter

PROMPTS, TRANSCRIPT = "data/prompts/count.parquet", "data/transcripts/count.parquet"
# What the server is sent is a seed of 31 bits; the pocket LLM answers to the whole one.
SEEDS = {seed % 2**31: seed for seed in (derive_seed(0, "prompts", "count", k) for k in range(400))}


def pocket(body):
    """Answer as the pocket LLM does."""
    (message,) = body["messages"]
    writer, seed = PocketWriter(MODEL, REVISION), SEEDS[body["seed"]]
    return 200, completion(writer.generate(message["content"], seed=seed), tokens=(300, 200))


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository, where the pocket LLM has written one skill's prompts; and their bytes."""
    folder = tmp_path_factory.mktemp("hosted") / "world"
    folder.mkdir()
    lay_out(folder)
    with ForkServer(tmp_path_factory.mktemp("python")) as server:
        world = DvcWorld(folder, shipped_params(), server)
        item = {"item_id": "a", "prompt": "nothing like it", "source": "s", "questions": []}
        write_table(folder / "data/benchmarks/some.parquet", "benchmark", [item])
        world.repro("prompts@count")
        yield world, (folder / PROMPTS).read_bytes()


@pytest.fixture
def world(repository):
    """The repository as the pocket LLM left it."""
    world, _ = repository
    world.params["llm"] = dict(shipped_params()["llm"])
    return world


HOSTED = {
    "backend": "openai", "revision": "hosted", "concurrency": 1, "budget_usd": 1.0,
    "price": {"input": 1.0, "output": 2.0},
}  # fmt: skip


def test_through_a_server_the_prompts_are_the_same_and_the_key_is_nowhere(
    world, repository, monkeypatch
):
    world.params["llm"] |= HOSTED
    with serving(monkeypatch, pocket) as server:
        assert world.repro("prompts@count") == ["prompts@count"]
        requests = len(server.requests)
        assert {request["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
        (world.folder / PROMPTS).unlink()
        world.repro("prompts@count")
        world.params["prompts"]["per_skill"] = 150  # the same requests, or fewer
        world.repro("prompts@count")
        world.params["prompts"]["per_skill"] = shipped_params()["prompts"]["per_skill"]
        world.repro("prompts@count")
        assert len(server.requests) == requests
    assert (world.folder / PROMPTS).read_bytes() == repository[1]
    counts = json.loads((world.folder / "metrics/prompts/count.json").read_text())
    assert (
        counts["requests"] == requests == len(read_table(world.folder / TRANSCRIPT, "transcript"))
    )
    assert counts["llm_usd"] == pytest.approx(requests * (300 * 1 + 200 * 2) / 1e6)
    holding = [
        path for path in world.folder.rglob("*")
        if path.is_file() and (KEY.encode() in path.read_bytes())
    ]  # fmt: skip
    assert holding == []
    assert str(server.server_port).encode() not in (world.folder / TRANSCRIPT).read_bytes()


def test_a_released_transcript_gives_the_same_bytes_without_network_and_key(
    world, repository, monkeypatch
):
    """The output is gone when the stage runs; DVC's cache has it."""
    world.repro("prompts@count")
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    own = Transcript(world.folder / ".selma/llm/transcript.jsonl")
    for request, _ in from_rows(read_table(world.folder / TRANSCRIPT, "transcript"), TRANSCRIPT):
        own.put(request, Reply("1. what somebody else was told"))
    world.params["llm"] |= {"backend": "replay", "base_url": "http://127.0.0.1:9/v1"}
    assert world.repro("prompts@count") == ["prompts@count"]
    assert (world.folder / PROMPTS).read_bytes() == repository[1]


@contextlib.contextmanager
def running(world, **environment):
    """The stage by hand, its outputs beside DVC's."""
    world.write()
    command = [
        sys.executable, "-m", "stages.prompts", "--skill", "count", "--instructions",
        "data/skills/count.yaml", "--benchmarks", "data/benchmarks", "--out", "out.parquet",
        "--transcript", "out.transcript.parquet", "--metrics", "out.json",
        "--coverage", "coverage.json", "--plot", "coverage.csv",
    ]  # fmt: skip
    with subprocess.Popen(
        command, cwd=world.folder, env={**os.environ, **environment},
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield process


def stage(world, **environment):
    """Run the stage to its end; returns its exit code and what it said."""
    with running(world, **environment) as process:
        said = process.communicate()[1]
    return process.returncode, said


def killed(world, server, after_s):
    """Run the stage and kill it some time after its first request, unless it sends none."""
    before = len(server.requests)
    with running(world) as process:
        while process.poll() is None and len(server.requests) == before:
            time.sleep(0.01)
        time.sleep(after_s)
        process.kill()
    return process.returncode


def test_a_replay_that_lacks_a_request_says_which(world, monkeypatch):
    world.params["llm"] |= {"backend": "replay", "temperature": 0.25}
    code, said = stage(world)
    assert code == 3
    assert "no reply of pocket-grammar" in said and '"temperature": 0.25' in said
    assert not (world.folder / "out.parquet").exists()


@pytest.mark.parametrize("debug", ["0", "1"])
def test_a_server_that_echoes_the_key_does_not_get_it_into_a_traceback(world, monkeypatch, debug):
    world.params["llm"] |= {**HOSTED, "revision": "echo"}
    refusal = 401, {"error": {"message": f"Incorrect key {KEY}"}}
    with serving(monkeypatch, lambda body: refusal):
        code, said = stage(world, SELMA_DEBUG=debug)
    assert code == 4
    assert KEY not in said and "check OPENAI_API_KEY" in said
    assert ("Traceback" in said) == (debug == "1")


def test_killed_at_any_moment_it_ends_in_the_same_table_and_asks_nothing_twice(world, monkeypatch):
    world.params["llm"] |= {**HOSTED, "revision": "killed", "concurrency": 4}
    world.params["prompts"] = {**shipped_params()["prompts"], "requests_per_round": 4}
    subprocess.run(["rm", "-rf", world.folder / ".selma", world.folder / "out.parquet"], check=True)
    path = world.folder / ".selma/llm/transcript.jsonl"
    kept, again, sizes = set(), [], []

    def slow(body):
        if body["seed"] in kept:
            again.append(body["seed"])
        time.sleep(0.3)
        return pocket(body)

    rng = random.Random(0)
    with serving(monkeypatch, slow) as server:
        codes = []
        for _ in range(20):
            codes.append(killed(world, server, 0.5 * rng.random()))
            for line in path.read_bytes().splitlines() if path.exists() else ():
                with contextlib.suppress(ValueError):
                    kept.add(json.loads(line)["request"]["seed"] % 2**31)
            sizes.append(len(kept))
        code, said = stage(world)
        assert code == 0, said
        interrupted = read_table(world.folder / "out.parquet", "prompts")
        requests = len(server.requests)
    kills = codes.count(-signal.SIGKILL)
    transcript = read_table(world.folder / "out.transcript.parquet", "transcript")
    assert kills >= 5 and len({*sizes}) >= 3  # at work, at several places
    assert again == []
    assert requests <= len(transcript) + 4 * kills  # what was under way at a kill is lost
    subprocess.run(["rm", "-rf", world.folder / ".selma"], check=True)
    with serving(monkeypatch, pocket):
        assert stage(world)[0] == 0
    assert read_table(world.folder / "out.parquet", "prompts") == interrupted


def test_the_worlds_graph_is_the_repositorys_own(world):
    assert (world.folder / "dvc.yaml").read_bytes() == (ROOT / "dvc.yaml").read_bytes()
