"""`selma score dsg` and `selma score tifa` give the numbers that the metrics' authors print."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from selma.commands.cli import main
from selma.core.tables import read_about, read_table

PUBLIC = Path(__file__).parents[3] / "shared" / "data" / "eval"
DSG_ANSWERS = PUBLIC / "instructblip_dsg.csv"
DSG = PUBLIC / "dsg-1k-anns.csv"
TIFA160 = PUBLIC / "tifa160_question_answers_reconstructed.json"
# Prompt mean over 1,060, question mean over 8,182, the same over the 8,174 answered.
PUBLISHED = {
    "none": (90.263853, 89.868003, 89.955958),
    "official": (86.946471, 85.639208, 85.723024),
    "lenient": (86.919884, 85.602542, 85.686322),
    "selma": (86.753536, 85.455879, 85.539516),
    "transitive": (86.747639, 85.443657, 85.527282),
}
GROUPS = {
    "tifa": 94.748534, "paragraph": 92.755076, "relation": 50.151021, "count": 79.774359,
    "real_user": 90.916086, "pose": 93.803159, "defying": 87.759524, "text": 91.204548,
}  # fmt: skip
needs_public = pytest.mark.skipif(not PUBLIC.exists(), reason="the public files are not here")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no DVC repository, no params.yaml

    def command(*args):
        code = main([str(arg) for arg in args])
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


@pytest.fixture
def score(run):
    def as_json(*args):
        code, out, err = run("score", *args, "--json", "--resamples", 200)
        assert (code, err) == (0, ""), err
        return json.loads(out)

    return as_json


def public_dsg(*args):
    return ("dsg", "--answers", DSG_ANSWERS, "--annotations", DSG, "--t2i-model", "sd2dot1", *args)


@needs_public
def test_all_policies_and_means_of_published_answers_come_out_as_published(score):
    results = score(*public_dsg("--policy", "all", "--mean", "all"))
    found = {(r["policy"]): (r["score"], r["score_per_answered_question"]) for r in results}
    assert len(found) == 10
    for policy, (by_prompt, by_question, by_answered) in PUBLISHED.items():
        assert found[f"{policy}, prompt mean"][0] == pytest.approx(by_prompt, abs=1e-6)
        assert found[f"{policy}, question mean"][0] == pytest.approx(by_question, abs=1e-6)
        assert found[f"{policy}, question mean"][1] == pytest.approx(by_answered, abs=1e-6)


@needs_public
def test_the_tables_have_the_published_groups_and_the_papers_question_counts(score):
    result = score(*public_dsg("--policy", "official", "--mean", "prompt"))
    tables = result["tables"]
    assert {c["name"]: c["value"] for c in tables["group"]} == pytest.approx(GROUPS, abs=1e-6)
    assert (result["n_prompts"], result["n_questions"]) == (1060, 8182)
    assert (result["n_answered_questions"], result["unanswered_count_0"]) == (8174, ["tifa160_134"])
    counts = [(cell["name"], cell["n_questions"]) for cell in tables["skill"]]
    published = json.loads((PUBLIC / "selma_paper_tables.json").read_text())["table7_dsg_skills"]
    assert counts[:12] == list(
        zip(published["columns"][:12], published["question_counts"], strict=True)
    )
    assert counts[12:] == [("(rest)", 205)]
    assert sum(cell["n_prompts"] for cell in tables["source"]) == 1060
    assert sum(cell["n_questions"] for cell in tables["broad type"]) == 8182


@needs_public
def test_models_that_answered_for_one_source_are_scored_on_that_source(run, score):
    code, _, err = run("score", *public_dsg()[:-1], "vq-diffusion")
    assert code == 3 and "countbench, diffusiondb" in err and err.count("\n") == 1
    result = score(*public_dsg()[:-1], "vq-diffusion", "--source", "tifa160")
    assert (result["n_prompts"], result["coverage"]) == (160, 1.0)
    partial = score(*public_dsg()[:-1], "vq-diffusion", "--allow-partial")
    assert partial["coverage"] == pytest.approx(160 / 1060)


@needs_public
def test_the_sample_of_tifas_authors_comes_out_to_the_last_digit(score):
    sample = PUBLIC / "tifa_sample"
    result = score(
        "tifa", "--answers", sample / "sample_evaluation_result.json",
        "--annotations", sample / "sample_question_answers.json",
    )  # fmt: skip
    published = json.loads((sample / "sample_evaluation_result.json").read_text())
    for name in ("tifa_average", "tifa_stdev", "accuracy_by_type"):
        assert result[name] == published[name]
    assert result["tifa_stdev"] == 0.2651650429449553


@needs_public
def test_answers_of_the_released_layout_give_one_tifa_score_per_prompt(score, tmp_path):
    """The oracle counts right answers itself; every seventh answer is outside the choices."""
    key = json.loads(TIFA160.read_text())
    right = {}
    with (tmp_path / "judge.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["qg_model", "t2i_model", "item_id", "question", "question_id", "answer"])
        for place, entry in enumerate(key):
            answer = "a thing" if place % 7 == 0 else entry["choices"][place % 2]
            right.setdefault(entry["item_id"], []).append(answer == entry["answer"])
            number = len(right[entry["item_id"]])
            writer.writerow(["tifa", "sd", entry["item_id"], entry["question"], number, answer])
    result = score("tifa", "--answers", tmp_path / "judge.csv", "--annotations", TIFA160)
    assert result["prompts"] == {
        item_id: pytest.approx(100 * sum(points) / len(points)) for item_id, points in right.items()
    }
    assert (len(result["prompts"]), result["n_questions"]) == (160, 1128)
    assert result["controls"]["first choice"] > 98  # the key is nearly always the first choice


@needs_public
def test_a_score_file_says_what_it_is_and_can_be_compared(run, score, tmp_path):
    for model in ("sd1dot1", "sd1dot5"):
        score(
            "dsg", "--answers", DSG_ANSWERS, "--annotations", DSG, "--t2i-model", model,
            "--source", "tifa160", "--out", tmp_path / f"{model}.parquet",
        )  # fmt: skip
    about = read_about(tmp_path / "sd1dot1.parquet")
    assert (about["metric"], about["policy"]) == ("dsg", "official, prompt mean")
    assert about["revision"].startswith("sha256 459bf361")
    assert len(read_table(tmp_path / "sd1dot1.parquet", "scores")) == 160
    code, out, err = run("compare", tmp_path / "sd1dot5.parquet", tmp_path / "sd1dot1.parquet")
    assert (code, err) == (0, "") and "dsg" in out


@needs_public
def test_the_printed_number_carries_its_name_interval_and_counts(run):
    code, out, _ = run("score", *public_dsg("--resamples", 200))
    assert code == 0
    assert out.startswith("DSG, official, prompt mean of sd2dot1: 86.9465 % [")
    assert "1060 prompts, 1060 pictures, 8182 questions" in out
    assert "without any answer, counted 0 as by DSG's authors: tifa160_134" in out


def test_wrong_options_are_told_in_one_line_with_exit_code_2(run, tmp_path):
    table = tmp_path / "b.parquet"
    table.touch()
    code, _, err = run("score", "dsg", "--answers", "a.csv", "--benchmark", table)
    assert code == 2 and err.count("\n") == 1 and "b.parquet" in err


@pytest.mark.parametrize("words", [[], ["score"], ["compare"], ["import"]])
def test_help_answers_without_a_heavy_import(words):
    code = (
        "import sys\nfrom selma.commands.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code + "print(*sys.modules)", *words, "--help"],
        capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "100"},
    ).stdout  # fmt: skip
    heavy = {"torch", "numpy", "pyarrow", "pydantic", "pandas", "transformers", "openai", "PIL"}
    assert heavy & set(told.split()) == set()
