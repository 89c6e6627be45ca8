"""Tests of the stage train_scorer: its params and paths decide what it writes."""

import json

import pytest
import yaml

from selma.core.errors import ConfigError
from selma.core.tables import write_table
from selma.foundation.benchmarks import benchmark_rows
from selma.foundation.preference_pairs import draw_ranking
from selma.foundation.scorer_files import read_refused
from selma.foundation.tokenizer import build_tokenizer
from selma.scorers.preference import SCORERS
from stages.train_scorer import main

SMALL = {
    "twins": 4,
    "rankings": 4,
    "held_out_rankings": 5,
    "pretrain_steps": 10,
    "pretrain_learning_rate": 1e-3,
    "train_steps": 10,
    "learning_rate": 1e-3,
    "batch_size": 2,
    "checkpoint_every_steps": 100,
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(0).save_pretrained(folder)
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch, tokenizer):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "root"))
    write_table(tmp_path / "bench.parquet", "benchmark", benchmark_rows("pocket-dsg", 1, 0))

    def train(scorer, out="out", **changes):
        section = SMALL | {key: value for key, value in changes.items() if key in SMALL}
        params = {"seed": changes.get("seed", 1), "threads": 1, scorer: section}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        folder = tmp_path / out
        main(
            [
                *("--scorer", scorer, "--params", str(tmp_path / "params.yaml")),
                *("--tokenizer", str(tokenizer)),
                *("--benchmarks", str(tmp_path / "bench.parquet")),
                *("--out", str(folder / "model"), "--curve", str(folder / "curve.csv")),
                *("--metrics", str(folder / "metrics.json")),
            ]
        )
        return folder

    return train


def test_the_curve_has_both_phases_and_the_metrics_every_held_out_pair(run):
    folder = run("pickscore", pretrain_steps=20, train_steps=30)
    steps = [line.split(",")[0] for line in (folder / "curve.csv").read_text().splitlines()]
    assert steps == ["step", "10", "20", "30", "40", "50"]
    assert json.loads((folder / "metrics.json").read_text())["overall"]["n"] == 5


@pytest.mark.parametrize(
    ("scorer", "unit"),
    [
        ("hps", "100 * cosine"),
        ("imagereward", "(raw - mean) / standard deviation"),
        ("pickscore", "exp(logit_scale) * cosine"),
    ],
)
def test_each_scorer_is_of_its_own_kind(run, scorer, unit):
    assert SCORERS[scorer](run(scorer) / "model", "pocket").about["unit"] == unit


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"twins": 5},
        {"rankings": 5},
        {"pretrain_steps": 11},
        {"pretrain_learning_rate": 1e-4},
        {"train_steps": 11},
        {"learning_rate": 1e-4},
        {"batch_size": 3},
    ],
)
def test_every_param_changes_the_weights(run, change):
    before = run("hps", "before") / "model" / "model.safetensors"
    after = run("hps", "after", **change) / "model" / "model.safetensors"
    assert before.read_bytes() != after.read_bytes()


def test_prompts_of_the_benchmarks_are_refused(tmp_path):
    rows = benchmark_rows("pocket-dsg", 1, 0)
    write_table(tmp_path / "bench.parquet", "benchmark", rows)
    refused = read_refused([tmp_path / "bench.parquet"])
    assert refused == {row["prompt"].lower() for row in rows}
    first = draw_ranking(0, "hps", "train", 0, frozenset()).prompt
    assert draw_ranking(0, "hps", "train", 0, frozenset({first.lower()})).prompt != first


def test_a_scorer_that_does_not_exist_is_refused(run):
    with pytest.raises(ConfigError, match="unknown preference scorer 'clip'"):
        run("clip")
