"""The stage compare: means, differences and intervals of hand-made scores, by numpy."""

import csv

import numpy as np
import pytest
from stage_world import read_json, run
from tiny_world import tiny_params, write_params

from selma.core.errors import ConfigError, MissingDataError
from selma.core.tables import write_table

MODELS = ("new", "old", "rival")
N = 40
Z95 = 1.959963984540054  # of the normal distribution
MEAN = {"new": 0.7, "old": 0.5, "rival": 0.6}


def noise(name):
    number = sum(name.encode())
    return np.random.default_rng(number).normal(0, 0.1, N)


def values(measure, model):
    """One score for each prompt: even ones are of the skill count, odd ones of common."""
    own = noise(measure + model)
    return MEAN[model] + own - own.mean() + np.where(np.arange(N) % 2, 0.1, -0.1)


def about(measure, factor, judge="hand"):
    described = {"metric": "dsg", "title": measure.upper(), "version": "v", "policy": "p"}
    described |= {"judge": judge, "revision": "1", "judge_settings": {}, "preprocessing": ""}
    described |= {"unit": "percent" if factor == 100 else "points", "factor": float(factor)}
    return {**described, "measure": measure, "benchmark": "b", "benchmark_sha256": "0" * 64}


def write_scores(folder, measure, factor, judge="hand", sign=1):
    for model in MODELS:
        rows = [
            {
                "item_id": f"i{number:02d}",
                "sample": 0,
                "source": ("count", "common")[number % 2],
                "score": sign * float(value),
                "weight": 1.0,
                "details": "{}",
            }
            for number, value in enumerate(values(measure, model))
        ]
        path = folder / measure / f"{model}.parquet"
        write_table(path, "scores", rows, about(measure, factor, judge))


@pytest.fixture
def folder(world):
    write_scores(world / "scores", "asked", 100)
    write_scores(world / "scores", "liked", 1)
    write_scores(world / "scores", "forgotten", 1)
    return world


def compare(folder, *, scores="scores", seed=0, models=MODELS, threads=1, **changes):
    params = tiny_params(seed=seed, threads=threads)
    params["models"] = {model: {"weights": "w"} for model in models}
    params["measures"] = {"asked": {**params["measures"]["dsg"]}}
    params["preferences"] = {"liked": {**params["preferences"]["hps"]}}
    row = {"subject": "new", "reference": "old", "against": ["rival"]}
    row |= {"trained_against": {}}
    params["compare"] = {**row, "resamples": 2000, "confidence": 0.95, **changes}
    write_params(folder, params)
    run("compare", f"--scores {scores} --metrics out --plot plots/out.csv")
    return read_json("out/comparison.json")


def one(records, **wanted):
    (found,) = [row for row in records if all(row[k] == v for k, v in wanted.items())]
    return found


def test_scores_are_the_means_in_the_unit_of_each_measure(folder):
    found = compare(folder)
    assert [row["name"] for row in found["measures"]] == ["asked", "liked"]
    assert [row["title"] for row in found["measures"]] == ["ASKED", "LIKED"]
    for measure, factor in (("asked", 100), ("liked", 1)):
        for model in MODELS:
            row = one(found["scores"], measure=measure, model=model, skill="all")
            assert row["score"] == pytest.approx(factor * values(measure, model).mean(), abs=1e-5)
            assert (row["n_items"], row["n_samples"]) == (N, 1)
            count = one(found["scores"], measure=measure, model=model, skill="count")
            expected = factor * values(measure, model)[::2].mean()
            assert count["score"] == pytest.approx(expected, abs=1e-5)


def test_who_is_compared_with_whom_comes_from_params(folder):
    found = compare(folder)
    pairs = {(row["model"], row["baseline"]) for row in found["comparisons"]}
    assert pairs == {("new", "old"), ("new", "rival"), ("rival", "old")}
    assert (found["subject"], found["reference"], found["against"]) == ("new", "old", ["rival"])
    other = compare(folder, subject="rival", reference="new", against=[])
    pairs = {(row["model"], row["baseline"]) for row in other["comparisons"]}
    assert pairs == {("rival", "new"), ("old", "new")}
    row = one(other["comparisons"], measure="liked", model="rival", skill="all")
    assert row["difference"] == pytest.approx(-0.1, abs=1e-5)


def test_the_models_are_those_of_params(folder):
    found = compare(folder, models=("new", "old"), against=[])
    assert found["models"] == ["new", "old"]
    assert {row["model"] for row in found["scores"]} == {"new", "old"}


def test_the_numbers_for_dvc_carry_the_names_of_the_rows(folder):
    compare(folder)
    flat = read_json("out/metrics.json")
    assert flat == {
        "asked": 70.0, "asked_old": 50.0, "asked_rival": 60.0,
        "asked_gain": 20.0, "asked_over_rival": 10.0, "asked_rival_gain": 10.0,
        "liked": 0.7, "liked_old": 0.5, "liked_rival": 0.6,
        "liked_gain": 0.2, "liked_over_rival": 0.1, "liked_rival_gain": 0.1,
    }  # fmt: skip
    by_skill = read_json("out/metrics_by_skill.json")
    assert set(by_skill) == {"asked", "liked"}
    expected = 100 * values("asked", "new")[1::2].mean()
    assert by_skill["asked"]["common"] == pytest.approx(expected, abs=1e-3)
    rows = list(csv.DictReader((folder / "plots/out.csv").read_text().splitlines()))
    row = one(rows, measure="asked", model="rival", skill="all")
    assert float(row["score"]) == pytest.approx(60.0)
    assert float(row["low"]) < 60.0 < float(row["high"])


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_intervals_have_the_confidence_of_params(folder, confidence):
    """A percentile bootstrap of 40 prompts lies near mean ± z · standard error."""
    from statistics import NormalDist

    z = NormalDist().inv_cdf((1 + confidence) / 2)
    found = compare(folder, confidence=confidence, resamples=5000)
    row = one(found["comparisons"], measure="asked", baseline="old", model="new", skill="all")
    differences = 100 * (values("asked", "new") - values("asked", "old"))
    spread = z * differences.std() / N**0.5
    assert row["confidence"] == confidence
    assert row["low"] == pytest.approx(20 - spread, abs=0.12 * spread)
    assert row["high"] == pytest.approx(20 + spread, abs=0.12 * spread)
    score = one(found["scores"], measure="asked", model="new", skill="all")
    spread = z * 100 * values("asked", "new").std() / N**0.5
    assert score["high"] - score["low"] == pytest.approx(2 * spread, rel=0.12)


def test_the_verdict_and_the_wins_are_those_of_the_prompts(folder):
    found = compare(folder)
    row = one(found["comparisons"], measure="liked", baseline="old", model="new", skill="all")
    differences = values("liked", "new") - values("liked", "old")
    assert row["verdict"] == "better"
    assert row["wins"] == int((differences > 0).sum())
    assert row["losses"] == int((differences < 0).sum())
    assert row["p_value"] < 0.01


def test_resamples_and_seed_are_those_of_params(folder):
    first = compare(folder, resamples=500)
    row = one(first["comparisons"], measure="asked", baseline="old", model="new", skill="all")
    assert row["resamples"] == 500
    assert compare(folder, resamples=500) == first
    for changes in ({"resamples": 700}, {"resamples": 500, "seed": 1}):
        other = compare(folder, **changes)
        moved = one(other["comparisons"], measure="asked", baseline="old", model="new", skill="all")
        assert moved["difference"] == row["difference"]
        assert (moved["low"], moved["high"]) != (row["low"], row["high"])


def test_scores_come_from_the_folder_of_the_arguments(folder):
    (folder / "scores").rename(folder / "elsewhere")
    with pytest.raises(MissingDataError, match="scores/asked"):
        compare(folder)
    assert compare(folder, scores="elsewhere")["models"] == list(MODELS)


def test_a_model_that_was_trained_against_a_measure_is_watched(folder):
    """All scores of `liked`, by another judge, turned: rival is 10 points above old, and below."""
    assert "hacking" not in compare(folder)
    write_scores(folder / "scores", "liked", 1, "another", sign=-1)
    found = compare(folder, trained_against={"rival": ["asked"]})
    (mark,) = found["hacking"]
    assert (mark["first"], mark["second"], mark["mark"]) == ("rival", "old", "alarm")
    assert (mark["risen"], mark["fallen"], mark["family"]) == (["asked"], ["liked"], 2)
    fall = mark["differences"]["liked"]
    assert fall["difference"] == pytest.approx(-0.1, abs=1e-5)
    same = one(found["comparisons"], measure="liked", model="rival", baseline="old", skill="all")
    assert fall["p_value_holm"] == pytest.approx(2 * same["p_value"], abs=1e-6)
    assert compare(folder)["comparisons"] == found["comparisons"]


def test_a_model_that_is_no_row_is_refused(folder):
    with pytest.raises(ConfigError, match="nobody"):
        compare(folder, subject="nobody")
    assert not (folder / "out").exists()


def test_torch_works_with_the_threads_of_params(folder, one_thread):
    import torch

    compare(folder, threads=2)
    assert torch.get_num_threads() == 2
