"""Another backbone, other judges, benchmarks, scorers and LLM: the graph, by params.yaml alone."""

import json
import os

import pytest
import second_world
from chat_server import KEY, serving
from dvc_world import DvcWorld, lay_out
from fork_server import ForkServer
from tiny_world import ROOT

from selma.commands.cli import main as selma
from selma.core.tables import read_about, read_table
from selma.tiny.benchmarks import DSG, PUBLIC_FILES, TIFA

MODELS = ("stock", "taught", "rival")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The world's repository after one `dvc repro`, what ran, and what the LLM was asked."""
    folder = tmp_path_factory.mktemp("second") / "world"
    folder.mkdir()
    lay_out(folder)
    second_world.write_models(folder)
    second_world.write_skills(folder)
    for name, write in PUBLIC_FILES.items():
        out = folder / "data/benchmarks" / f"{name}.parquet"
        path = write(tmp_path_factory.mktemp("public"))
        assert selma(["import", name, str(path), "--partial", "--out", str(out)]) == 0
    with (
        pytest.MonkeyPatch.context() as patch,
        serving(patch, second_world.llm) as llm,
        ForkServer(tmp_path_factory.mktemp("python")) as server,
    ):
        repository = DvcWorld(folder, second_world.params(), server)
        ran = repository.repro()
        assert repository.status() == set()
    return folder, ran, llm.requests


def test_the_graph_is_the_repositorys_own_and_runs_to_the_report(world):
    folder, ran, _ = world
    assert (folder / "dvc.yaml").read_bytes() == (ROOT / "dvc.yaml").read_bytes()
    assert ran[-1] == "report"
    page = (folder / "report/report.html").read_text()
    for words in ("DSG by mPLUG", "TIFA by BLIP-2", "PickScore", "taught", "stock", "rival"):
        assert words in page
    assert "pocket" not in page


def test_the_key_is_in_no_file_of_the_repository_its_cache_and_its_mlflow(world):
    folder, _, requests = world
    assert {request["authorization"] for request in requests} == {f"Bearer {KEY}"}
    assert (folder / ".mlflow").is_dir()
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_prompts_are_what_the_server_wrote_for_each_skills_own_instructions(world):
    folder, _, requests = world
    for skill in ("weather", "cooking"):
        rows = read_table(folder / f"data/prompts/{skill}.parquet", "prompts")
        assert len(rows) == 4 and {row["skill"] for row in rows} == {skill}
    assert {request["model"] for request in requests} == {"some-llm"}
    asked = [request["messages"][0]["content"] for request in requests]
    for skill in ("weather", "cooking"):
        assert any(text.startswith(f"Write prompts about {skill}") for text in asked)


def test_dsg_is_what_mplugs_answers_say_by_hand(world):
    """A point for each "yes" whose parents are "yes" too; the mean over a picture's questions."""
    folder, _, _ = world
    seen = set()
    for model in MODELS:
        said = {}
        for row in read_table(folder / f"data/answers/by_mplug/{model}.parquet", "answers"):
            said[row["item_id"], row["question_id"]] = row["answer"] == "yes"
            assert row["judge"] == "mplug some-mplug"
        scores = read_table(folder / f"data/scores/faithful/{model}.parquet", "scores")
        assert {row["item_id"] for row in scores} == set(DSG)
        for row in scores:
            questions = DSG[row["item_id"]][2]
            points = [
                said[row["item_id"], number]
                and all(
                    said[row["item_id"], int(parent)]
                    for parent in parents.split(",")
                    if parent != "0"
                )
                for number, (_, parents) in enumerate(questions, start=1)
            ]
            assert row["score"] == pytest.approx(sum(points) / len(points))
            seen.add(row["score"])
    assert len(seen) > 1, "the judge says the same of every picture, so nothing was checked"


def test_tifa_is_the_share_of_blip2s_answers_that_are_right(world):
    folder, _, _ = world
    for model in MODELS:
        answers = read_table(folder / f"data/answers/by_blip2/{model}.parquet", "answers")
        right = {}
        for row in answers:
            question = TIFA[row["item_id"]][1][row["question_id"] - 1]
            right.setdefault(row["item_id"], []).append(row["answer"] == question[2])
        scores = read_table(folder / f"data/scores/elements/{model}.parquet", "scores")
        assert {row["item_id"]: row["score"] for row in scores} == {
            item: pytest.approx(sum(points) / len(points)) for item, points in right.items()
        }


def test_the_comparison_is_the_mean_of_the_scores_and_names_judge_and_version(world):
    folder, _, _ = world
    comparison = json.loads((folder / "metrics/comparison.json").read_text())
    headline = json.loads((folder / "metrics/metrics.json").read_text())
    measures = {row["name"]: row for row in comparison["measures"]}
    assert list(measures) == ["faithful", "elements", "liked", "human"]
    assert comparison["models"] == list(MODELS)
    assert {name: row["metric"] for name, row in measures.items()} == {
        "faithful": "dsg", "elements": "tifa", "liked": "pickscore", "human": "hps"
    }  # fmt: skip
    assert measures["faithful"]["judge"].startswith("mplug some-mplug@sha256:")
    assert measures["elements"]["judge"].startswith("blip2 some-blip2@sha256:")
    assert (measures["faithful"]["benchmark"], measures["elements"]["benchmark"]) == (
        "dsg1k", "tifa"
    )  # fmt: skip
    assert measures["human"]["version"] == "v2.1"
    for name, measure in measures.items():
        mean = {}
        for model in MODELS:
            path = folder / f"data/scores/{name}/{model}.parquet"
            rows, about = read_table(path, "scores"), read_about(path)
            mean[model] = about["factor"] * sum(row["score"] for row in rows) / len(rows)
            assert (
                measure["judge"].startswith(about["judge"])
                and about["version"] == measure["version"]
            )
        assert headline[name] == pytest.approx(mean["taught"], abs=1e-3)
        assert headline[f"{name}_stock"] == pytest.approx(mean["stock"], abs=1e-3)
        assert headline[f"{name}_gain"] == pytest.approx(mean["taught"] - mean["stock"], abs=2e-3)
        assert headline[f"{name}_over_rival"] == pytest.approx(
            mean["taught"] - mean["rival"], abs=2e-3
        )


def test_no_key_is_written_anywhere(world):
    folder, _, _ = world
    for root, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(root, name)
            with open(path, "rb") as file:
                assert b"sk-of-this-test-alone" not in file.read(), path
