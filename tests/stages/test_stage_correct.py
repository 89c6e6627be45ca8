"""The stage `correct`: off it passes the pictures as they are, on it corrects them by real classes.

The models are untrained: what they see and draw means nothing.
"""

import json
from pathlib import Path

import pytest
from stage_world import chat_server, pixels, read_json, rows_of, run
from tiny_world import correct_section, tiny_params, write_images, write_params

from selma.core.errors import ConfigError, MissingDataError
from selma.core.seeds import derive_seed
from selma.correction.summary import summarise

pytestmark = pytest.mark.filterwarnings("ignore:.*GLIGEN.*deprecated:FutureWarning")
OUTS = {
    "out": ("corrected.parquet", "images"),
    "corrections": ("corrections.parquet", "corrections"),
    "transcript": ("transcript.parquet", "transcript"),
}
ARGUMENTS = (
    "--skill count --images data/images/count.parquet --metrics {0}metrics.json "
    + " ".join(f"--{name} {{0}}{file}" for name, (file, _) in OUTS.items())
)
LLM = {"backend": "openai", "model": "some-llm", "revision": "1", "retries": 0}


def reply(body):
    """Want a cat in the top-left quarter, whatever is there; fail to understand the number 2."""
    asked = body["messages"][0]["content"].split("User Prompt: ")[-1]
    if asked.startswith("2 "):
        return "I see no objects."
    if "Current Objects" in asked:
        return 'Updated Objects: [("red cat #1", [0, 0, 0.5, 0.5])]'
    return "Objects: [('cat', ['red'])]\nBackground: a picture\nNegation:"


def params(**changes):
    return tiny_params(llm=LLM, correct=correct_section(**changes))


def correct(folder, made, prefix=""):
    write_params(folder, made)
    run("correct", ARGUMENTS.format(prefix))
    tables = {name: rows_of(prefix + file, kind) for name, (file, kind) in OUTS.items()}
    return tables, read_json(f"{prefix}metrics.json")


def test_without_rounds_the_table_passes_byte_for_byte_and_no_model_is_needed(world):
    write_images(world, "count", 4)
    tables, metrics = correct(world, tiny_params())
    assert Path("corrected.parquet").read_bytes() == Path("data/images/count.parquet").read_bytes()
    assert [one["verdict"] for one in tables["corrections"]] == ["skipped"] * 4
    assert [one["kept"] for one in tables["corrections"]] == ["original"] * 4
    assert tables["transcript"] == []
    assert (metrics["pictures"], metrics["changed"], metrics["llm_calls"]) == (4, 0, 0)
    assert not Path(".selma/work").exists()


def test_pictures_are_corrected_and_all_is_told(with_models, monkeypatch):
    write_images(with_models, "count", 4)
    before = rows_of("data/images/count.parquet", "images")
    with chat_server(monkeypatch, reply) as server:
        tables, metrics = correct(with_models, params())
    found = tables["corrections"]
    assert [one["verdict"] for one in found] == ["edited", "edited", "failed", "edited"]
    kinds = ("add", "move", "attribute", "remove")
    assert all((sum(one[k] for k in kinds) > 0) == (one["verdict"] == "edited") for one in found)
    for old, new, one in zip(before, tables["out"], found, strict=True):
        assert (new["prompt_id"], new["prompt"], new["seed"]) == (
            old["prompt_id"], old["prompt"], old["seed"]
        )  # fmt: skip
        assert (new == old) == (one["verdict"] == "failed")
        assert pixels(new).shape == (32, 32, 3)
        assert (one["sha256_before"], one["sha256_after"]) == (old["sha256"], new["sha256"])
        trace = json.loads(one["trace"])
        assert trace["seed"] == derive_seed(0, "correct", "count", one["prompt_id"], 0)
    assert len(tables["transcript"]) == len(server.requests) == 3 * 2 + 4
    expected = summarise(found)
    assert {name: metrics[name] for name in expected} == expected
    assert (metrics["failures"], metrics["changed"]) == (1, 3)
    assert not any(Path(".selma/work").iterdir())


def test_a_second_run_asks_nothing_and_a_replay_makes_the_same_bytes(with_models, monkeypatch):
    write_images(with_models, "count", 3)
    with chat_server(monkeypatch, reply) as server:
        correct(with_models, params(), "first-")
        asked = len(server.requests)
        correct(with_models, params(), "second-")
        assert len(server.requests) == asked > 0
    made = params()
    made["llm"]["backend"] = "replay"
    Path("replay-transcript.parquet").write_bytes(Path("first-transcript.parquet").read_bytes())
    correct(with_models, made, "replay-")
    for name in (*(file for file, _ in OUTS.values()), "metrics.json"):
        first = Path(f"first-{name}").read_bytes()
        assert first == Path(f"second-{name}").read_bytes()
        assert first == Path(f"replay-{name}").read_bytes()
    made["correct"]["retries"] = 5  # the failed picture's further tries were never asked
    with pytest.raises(MissingDataError, match="no reply of some-llm"):
        correct(with_models, made, "replay-")


def test_only_wanted_pictures_are_kept(with_models, monkeypatch):
    write_images(with_models, "count", 4)
    with chat_server(monkeypatch, reply):
        tables, metrics = correct(with_models, params(keep="fixed_or_original"))
    assert tables["out"] == rows_of("data/images/count.parquet", "images")
    assert (metrics["kept"], metrics["changed"]) == (4, 0)


def test_a_wrong_section_is_told_whole(with_models):
    write_images(with_models, "count", 1)
    made = params(keep="most")
    made["correct"]["editor"]["guidance_scale"] = 0
    del made["correct"]["detector"]["dtype"]
    with pytest.raises(ConfigError) as error:
        correct(with_models, made)
    wrong = ("keep", "editor.guidance_scale", "detector.dtype is missing")
    for key in wrong:
        assert f"correct.{key}" in str(error.value)
