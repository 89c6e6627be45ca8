"""The stage keeps every prompt of every table in data/benchmarks out of the training data."""

import json

import pytest
from tiny_world import ROOT, tiny_params, write_benchmarks, write_params

from selma.core.tables import read_table, write_table
from stages import prompts


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    write_params(tmp_path, tiny_params(prompts={"per_skill": 20}))
    write_benchmarks(tmp_path)
    return tmp_path


def written(folder, name):
    prompts.main(
        [
            "--skill", "count", "--skills", str(ROOT / "data/skills"),
            "--benchmarks", "data/benchmarks", "--out", f"{name}.parquet",
            "--metrics", f"{name}.json",
        ]
    )  # fmt: skip
    counts = json.loads((folder / f"{name}.json").read_text())
    rows = read_table(folder / f"{name}.parquet", "prompts")
    return [row["prompt"] for row in rows], counts, rows


def test_an_imported_benchmark_takes_part_in_the_gate_without_a_word_in_the_params(world):
    first, counts, _ = written(world, "first")
    imported = [
        {"item_id": f"{n:05d}", "prompt": f"  {prompt.upper()} ", "source": "s", "questions": []}
        for n, prompt in enumerate(first[:5])
    ]
    write_table(world / "data/benchmarks/partiprompts.parquet", "benchmark", imported)
    second, counts_now, rows = written(world, "second")
    assert set(first[:5]) & set(second) == set()
    assert counts_now["leaked"] >= counts["leaked"] + 5
    assert len(second) == 20
    assert {row["nearest_benchmark_id"].partition("/")[0] for row in rows} >= {"partiprompts"}
