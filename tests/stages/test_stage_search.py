"""The stages search_row and search: the best merge on a dev split that is no benchmark's."""

import json

import numpy as np
import pytest
import torch
from stage_world import item, question, read_json, run, write_benchmark
from tiny_world import tiny_params, write_params

from selma.adapters.factors import LoraFactors
from selma.adapters.files import read_adapter, read_provenance, write_adapter
from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.core.fingerprints import content_sha256
from selma.core.tables import write_table
from selma.judges.loading import JUDGES
from selma.merging.verification import verify

LAYER = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v"
SKILLS = ("common", "count")
ROW = {
    "method": "delta_mean", "skills": list(SKILLS),
    "weights": {"low": 0.25, "high": 1.0, "step": 0.25},
    "scale": {"low": 0.5, "high": 2.0, "step": 0.5}, "rank": None,
    "error_max": None, "match_norm": False, "parameters": {}, "dtype": "float32",
    "benchmark": "mine", "judge": "light", "template": "bare",
    "measure": {"kind": "dsg", "path": "selma/metrics", "policy": "official", "mean": "prompt",
                "no_answer_max": 0.0},
    "samples": {"per_prompt": 1, "inference_steps": 1}, "sampler": "tpe", "evaluations": 3,
}  # fmt: skip
LIMITS = [100 + 0.25 * k for k in range(200)]
DEV = [
    item(name, prompt, *(question(k, f"Above {limit}?") for k, limit in enumerate(LIMITS)))
    for name, prompt in (("a", "two red stars"), ("b", "a blue heart"))
]


class BrightnessJudge:
    """Says how bright a picture is, for untrained models draw no shapes."""

    about = {"class": "brightness"}

    def __call__(self, pictures, questions):
        return [
            ["yes" if np.asarray(p).mean() > float(text.split()[1][:-1]) else "no"
             for text, _ in asked]
            for p, asked in zip(pictures, questions, strict=True)
        ]  # fmt: skip


def delta(seed):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(2, 96, generator=generator)
    return LoraFactors(a, torch.randn(32, 2, generator=generator))


@pytest.fixture
def folder(with_models, monkeypatch):
    monkeypatch.setitem(JUDGES, "brightness", lambda settings, replies: BrightnessJudge())
    for seed, skill in enumerate(SKILLS):
        path = with_models / f"models/experts/{skill}.safetensors"
        write_adapter(path, {LAYER: delta(seed)}, {"name": skill})
    write_table(with_models / "data/dev/mine.parquet", "benchmark", DEV)
    write_benchmark("one", item("x", "a green ring"))
    (with_models / "rows").mkdir()
    (with_models / "rows/pocket.json").write_text('{"judge": 1}')
    return with_models


def write_row(folder, **changes):
    params = tiny_params(**{k: v for k, v in changes.items() if k not in ROW})
    light = {"kind": "brightness", "path": "models/pocket"}
    params["judges"]["light"] = params["judges"]["pocket"] | light
    row = {**ROW, **{k: v for k, v in changes.items() if k in ROW}}
    write_params(folder, {**params, "searches": {"other": ROW, "mine": row}})


def prepare(folder, **changes):
    write_row(folder, **changes)
    arguments = "--search mine --experts models/experts --judge rows/pocket.json"
    run("search_row", f"{arguments} --dev data/dev/mine.parquet --benchmarks data/benchmarks "
        "--out out/row.json")  # fmt: skip
    return read_json("out/row.json")


def search(folder, **changes):
    write_row(folder, **changes)
    run("search", "--search mine --experts models/experts --dev data/dev/mine.parquet "
        "--out out/m.safetensors --certificate out/c.json --metrics out/m.json")  # fmt: skip
    return read_json("out/m.json")


def points(folder):
    """Journalled values: name → step → value."""
    found = {}
    for path in (folder / ".selma/runs/workspace").glob("*.jsonl"):
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if event["event"] == "metric":
                found.setdefault(event["name"], {})[event["step"]] = event["value"]
    return found


def test_the_row_holds_what_it_names(folder):
    content = prepare(folder)
    assert content["row"] == ROW | {"samples": {**dict.fromkeys(("guidance_scale", "batch_size")),
                                                **ROW["samples"]}}  # fmt: skip
    paths = [f"models/experts/{skill}.safetensors" for skill in SKILLS] + ["data/dev/mine.parquet"]
    expected = {path: content_sha256(folder / path) for path in paths}
    assert content["files"] == {**expected, "pocket": {"judge": 1}}


def test_a_dev_prompt_that_stands_in_any_benchmark_stops_it(folder):
    write_benchmark("two", item("y", "A blue heart."))
    with pytest.raises(RecordError, match=r"mine\.parquet: 1 of its 2 prompts .* b = two/y"):
        prepare(folder)
    assert not (folder / "out").exists()


def test_the_adapter_is_the_merge_of_the_best_trial(folder):
    facts = search(folder, evaluations=8)
    assert facts["evaluations"] == len(facts["trials"]) == 8
    first, best = facts["first"], facts["best"]
    assert first["settings"] == {"weights.common": 1.0, "weights.count": 1.0, "scale": 1.0}
    assert best["score"] == max(trial["score"] for trial in facts["trials"])
    assert 0 < first["score"] < best["score"] < 100
    assert facts["gain_on_dev"] == best["score"] - first["score"]
    settings = best["settings"]
    weights = [settings["weights.common"], settings["weights.count"]]
    shares = [settings["scale"] * weight / sum(weights) for weight in weights]
    expected = shares[0] * delta(0).delta() + shares[1] * delta(1).delta()
    found = read_adapter(folder / "out/m.safetensors")[LAYER].delta()
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    made = read_provenance(folder / "out/m.safetensors")["merge"]
    assert made["weights"] == dict(zip(SKILLS, weights, strict=True))
    assert facts["dev_split"]["prompts"] == 2
    assert facts["merge"]["relative_error"] < 1e-5


def test_every_trial_is_journalled_with_its_settings(folder):
    trials = search(folder)["trials"]
    found = points(folder)
    for trial in trials:
        assert found["dev_score"][trial["number"]] == trial["score"]
        for name, value in trial["settings"].items():
            assert found[name][trial["number"]] == value
    assert len(found["dev_score"]) == 3


def test_a_scale_of_one_number_is_not_searched(folder):
    facts = search(folder, scale=0.5)
    assert all(set(t["settings"]) == {"weights.common", "weights.count"} for t in facts["trials"])
    assert read_provenance(folder / "out/m.safetensors")["merge"]["scale"] == 0.5


def test_the_seed_decides_the_trials_and_the_pictures(folder):
    first = search(folder, evaluations=6)
    data = (folder / "out/m.safetensors").read_bytes()
    assert search(folder, evaluations=6) == first
    assert (folder / "out/m.safetensors").read_bytes() == data
    assert search(folder, evaluations=6, seed=1)["trials"] != first["trials"]


def test_what_is_missing_or_unknown_stops_it_and_nothing_is_written(folder):
    with pytest.raises(ConfigError, match="unknown search sampler 'tpee'"):
        search(folder, sampler="tpee")
    with pytest.raises(ConfigError, match="unknown merge method 'delta_maen'"):
        search(folder, method="delta_maen")
    density = {"low": 0.0, "high": 1.0, "step": 0.5}
    with pytest.raises(ConfigError, match=r"searches\.mine: parameters\.density\.low: .*above 0"):
        search(folder, method="ties", parameters={"density": density})
    with pytest.raises(ConfigError, match="names count twice"):
        search(folder, skills=["count", "count"])
    (folder / "models/experts/count.safetensors").unlink()
    with pytest.raises(MissingDataError, match="count"):
        search(folder)
    assert not (folder / "out").exists()


def test_a_parameter_of_the_method_is_searched_too_and_the_merge_can_be_verified(folder):
    density = {"low": 0.25, "high": 1.0, "step": 0.25}
    search(folder, method="magnitude_prune", parameters={"density": density}, scale=1.0)
    best = read_json("out/m.json")["best"]["settings"]
    made = read_provenance(folder / "out/m.safetensors")["merge"]
    assert set(best) == {"weights.common", "weights.count", "parameters.density"}
    assert made["parameters"] == {"density": best["parameters.density"]}
    experts = [folder / f"models/experts/{skill}.safetensors" for skill in SKILLS]
    assert "verified" in verify(folder / "out/m.safetensors", experts)
    assert read_json("out/c.json")["sha256"] == content_sha256(folder / "out/m.safetensors")


def test_a_parameter_of_one_value_is_as_in_a_merge(folder):
    search(folder, method="magnitude_prune", parameters={"density": 0.5}, scale=1.0, evaluations=1)
    made = read_provenance(folder / "out/m.safetensors")["merge"]
    assert made["parameters"] == {"density": 0.5}
    with pytest.raises(ConfigError, match=r"parameters of magnitude_prune: expected density"):
        search(folder, method="magnitude_prune", parameters={}, evaluations=1)
