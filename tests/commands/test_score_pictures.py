"""`selma score` of a folder of pictures: judged or scored, guarded, resumable, told whole."""

import json
import random

import pytest
from PIL import Image

from selma.commands.cli import main
from selma.core.tables import read_about, read_table, write_table
from selma.pocket.captions import Description, Group, realise
from selma.pocket.question_sets import dsg_questions
from selma.pocket.render import render

DESCRIPTIONS = {
    "count_0": Description((Group("star", count=2, colour="red"),)),
    "count_1": Description((Group("circle", colour="blue"), Group("square", colour="green"))),
    "shape_0": Description((Group("triangle", colour="yellow"),)),
    "shape_1": Description((Group("circle", colour="red"), Group("star", colour="blue"))),
}


def benchmark_row(item_id, description):
    questions = [
        {
            "question_id": question.question_id,
            "question": question.question,
            "choices": list(question.choices),
            "answer": "yes",
            "dependency": ",".join(map(str, question.parents)) or "0",
            "category": question.category,
            "element": "",
        }
        for question in dsg_questions(description)
    ]
    source = item_id.rpartition("_")[0]
    return {"item_id": item_id, "prompt": item_id, "source": source, "questions": questions}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pictures that show just what their prompts say, and their benchmark; no DVC repository."""
    monkeypatch.chdir(tmp_path)
    rows = [benchmark_row(*item) for item in DESCRIPTIONS.items()]
    write_table(tmp_path / "benchmark.parquet", "benchmark", rows)
    (tmp_path / "pictures").mkdir()
    for item_id, description in DESCRIPTIONS.items():
        picture = render(realise(description, random.Random(item_id)))
        Image.fromarray(picture).save(tmp_path / "pictures" / f"{item_id}.png")
    return tmp_path / "pictures"


@pytest.fixture
def run(capsys):
    def command(*args):
        code = main([str(arg) for arg in args])
        told = capsys.readouterr()
        errors = [line for line in told.err.splitlines() if line.startswith("selma")]
        return code, told.out, errors

    return command


DSG = ("score", "dsg", "--images", "pictures", "--benchmark", "benchmark.parquet", "--judge")
POCKET = (*DSG, "pocket", "--answers", "answers.parquet", "--resamples", "200")


def test_pictures_of_the_prompts_score_a_hundred_and_wrong_ones_less(folder, run):
    code, out, errors = run(*POCKET, "--json", "--out", "scores.parquet")
    assert (code, errors) == (0, [])
    result = json.loads(out)
    assert (result["score"], result["n_pictures"], result["coverage"]) == (100.0, 4, 1.0)
    assert (result["judge"], result["judge_settings"]["normalise"]) == ("pocket", "as-is")
    assert set(result["libraries"]) == {"numpy", "pillow", "scipy"}
    answers = read_table(folder.parent / "answers.parquet", "answers")
    assert {row["raw_answer"] for row in answers} == {"yes"}
    assert all(len(row["sha256"]) == 64 for row in answers)
    assert read_about(folder.parent / "scores.parquet")["metric"] == "dsg"
    assert sorted(path.name for path in folder.parent.iterdir()) == [
        "answers.parquet", "benchmark.parquet", "pictures", "scores.parquet",
    ]  # fmt: skip

    (folder / "count_0.png").rename(folder / "x.png")
    (folder / "shape_0.png").rename(folder / "count_0.png")
    (folder / "x.png").rename(folder / "shape_0.png")
    code, _, errors = run(*POCKET)
    assert code == 2 and "answers.parquet: is there; leave --images out" in errors[0]
    code, out, _ = run(*DSG, "pocket", "--answers", "again.parquet", "--json")
    scores = json.loads(out)["prompts"]
    assert code == 0
    assert scores["count_0"] == scores["shape_0"] == 0.0
    assert scores["count_1"] == scores["shape_1"] == 100.0


def spoil(folder):
    """One picture missing, one there twice, one black; one is left as it was."""
    (folder / "count_0.png").unlink()
    (folder / "count_1.jpg").write_bytes((folder / "count_1.png").read_bytes())
    Image.new("RGB", (32, 32)).save(folder / "shape_0.png")


def test_a_missing_a_doubled_and_a_black_picture_are_refused_by_name(folder, run):
    spoil(folder)
    code, out, errors = run(*POCKET)
    assert (code, out, len(errors)) == (2, "", 1)
    assert "1 missing (count_0/0)" in errors[0]
    assert "1 doubled (count_1.png beside count_1.jpg)" in errors[0]
    assert "1 black (shape_0.png)" in errors[0]
    assert not (folder.parent / "answers.parquet").exists()


def test_with_allow_partial_the_number_carries_the_coverage(folder, run):
    spoil(folder)
    code, out, _ = run(*POCKET, "--allow-partial", "--json", "--out", "scores.parquet")
    result = json.loads(out)
    assert (code, result["score"], result["coverage"]) == (0, 100.0, 0.25)
    assert read_about(folder.parent / "scores.parquet")["coverage"] == 0.25
    assert result["left_out"][0] == "1 missing (count_0/0)"
    assert "without an answer: shape_0/0" in result["left_out"]
    given = ("score", "dsg", "--benchmark", "benchmark.parquet", "--answers", "answers.parquet")
    code, out, _ = run(*given, "--allow-partial")
    assert "PARTIAL: 25.00 % of 4 pictures are scored" in out
    assert "1 black (shape_0.png)" in out


def test_a_judge_needs_pictures_and_pictures_need_a_judge(folder, run):
    given = ("score", "dsg", "--benchmark", "benchmark.parquet", "--answers", "answers.parquet")
    code, _, errors = run(*given, "--judge", "pocket")
    assert code == 2 and "says itself who answered" in errors[0]
    code, _, errors = run(*given, "--normalise", "gpt4o-helper")
    assert code == 2 and "--normalise: expected --images" in errors[0]
    code, _, errors = run(*given, "--images", "pictures")
    assert code == 2 and "expected --judge NAME" in errors[0]
    code, _, errors = run(*given, "--images", "pictures", "--judge", "poket")
    assert code == 2 and "did you mean 'pocket'?" in errors[0]


@pytest.mark.parametrize(
    ("metric", "options"),
    [
        ("pickscore", ()),
        ("hps", ("--version", "pocket")),
        ("imagereward", ()),
        ("clipscore", ("--variant", "tifa")),
    ],
)
def test_a_preference_score_says_what_it_is_and_has_a_control(
    folder, run, tiny_models, metric, options
):
    weights = tiny_models / "models/pocket" / {"clipscore": "hps"}.get(metric, metric)
    code, out, errors = run(
        "score", metric, "--images", "pictures", "--benchmark", "benchmark.parquet",
        "--weights", weights, *options, "--shuffled", "--json", "--out", "scores.parquet",
        "--resamples", "200",
    )  # fmt: skip
    assert (code, errors) == (0, [])
    result = json.loads(out)
    about = read_about(folder.parent / "scores.parquet")
    for name in ("metric", "version", "judge", "revision", "preprocessing", "libraries"):
        assert about[name] and about[name] == result[name] or name == "libraries"
    assert {"torch", "transformers", "pillow"} <= set(about["libraries"])
    assert (about["metric"], about["judge"]) == (metric, weights.name)
    rows = read_table(folder.parent / "scores.parquet", "scores")
    assert result["score"] == pytest.approx(sum(row["score"] for row in rows) / 4)
    assert result["controls"]["shuffled prompts"] != result["score"]


def test_a_sample_too_many_that_is_black_takes_from_the_coverage(folder, run, tiny_models):
    Image.new("RGB", (32, 32)).save(folder / "count_0_1.png")
    code, out, _ = run(
        "score", "pickscore", "--images", "pictures", "--benchmark", "benchmark.parquet",
        "--weights", tiny_models / "models/pocket/pickscore", "--resamples", "200",
        "--allow-partial", "--json",
    )  # fmt: skip
    result = json.loads(out)
    assert (code, result["n_wanted"], result["coverage"]) == (0, 8, 0.5)
    assert "1 black (count_0_1.png)" in result["left_out"]


@pytest.mark.parametrize("name", ["scores.csv", "benchmark.parquet", "pictures"])
def test_a_score_is_not_written_over_something_else(folder, run, name):
    before = sorted(folder.parent.rglob("*"))
    code, _, errors = run(*POCKET, "--out", name)
    assert code == 2 and errors[0].startswith(f"selma: error: {name}: ")
    assert sorted(folder.parent.rglob("*")) == before


def test_no_picture_at_all_is_missing_data_even_for_a_partial_score(folder, run, tiny_models):
    for path in folder.iterdir():
        path.unlink()
    code, _, errors = run(
        "score", "pickscore", "--images", "pictures", "--benchmark", "benchmark.parquet",
        "--weights", tiny_models / "models/pocket/pickscore", "--allow-partial",
    )  # fmt: skip
    assert code == 3 and "no picture of the benchmark can be scored" in errors[0]


def test_hps_asks_for_its_version(folder, capsys):
    with pytest.raises(SystemExit) as left:
        main(["score", "hps", "--images", "p", "--benchmark", "b.parquet", "--weights", "w"])
    assert left.value.code == 2
    assert "--version" in capsys.readouterr().err


def test_a_score_of_a_part_of_the_pictures_is_not_compared_with_one_of_all(
    folder, run, tiny_models
):
    given = (
        "score", "pickscore", "--images", "pictures", "--benchmark", "benchmark.parquet",
        "--weights", tiny_models / "models/pocket/pickscore", "--resamples", "200",
    )  # fmt: skip
    assert run(*given, "--out", "whole.parquet")[0] == 0
    (folder / "count_0.png").unlink()
    assert run(*given)[0] == 3
    assert run(*given, "--allow-partial", "--out", "part.parquet")[0] == 0
    code, _, errors = run("compare", "whole.parquet", "part.parquet")
    assert code in (2, 3) and "count_0" in errors[0]
    assert run("compare", "whole.parquet", "part.parquet", "--allow-partial")[0] == 0


def test_the_four_styles_of_the_hps_benchmark_are_aggregated_as_its_authors_do(folder):
    import numpy as np

    from selma.measuring.details import hps_numbers

    scores = np.random.default_rng(0).normal(25, 2, (4, 800))
    styles = ("anime", "concept-art", "paintings", "photo")
    rows = [
        {"item_id": f"{style}/{index:05d}", "source": style, "score": scores[place, index]}
        for place, style in enumerate(styles)
        for index in range(800)
    ]
    found = hps_numbers(rows, partial=False)["hps_benchmark"]
    chunks = scores[3].reshape(10, 80).mean(axis=1)
    assert found["styles"]["photo"]["mean"] == pytest.approx(chunks.mean())
    assert found["styles"]["photo"]["deviation_of_chunk_means"] == pytest.approx(chunks.std())
    assert found["average"] == pytest.approx(scores.mean())
    second = [{**row, "score": row["score"] + 1} for row in rows]
    both = hps_numbers([*rows, *second], partial=False)["hps_benchmark"]
    assert both["average"] == pytest.approx(scores.mean() + 0.5)  # a prompt's pictures are averaged
    assert hps_numbers(rows[:800], partial=False) == {}
