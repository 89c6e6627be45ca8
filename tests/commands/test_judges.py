"""`selma judges` on score files of several judges."""

import argparse
import json
import random

import pytest

from selma.commands import judges
from selma.core.errors import ConfigError, RecordError
from selma.core.tables import write_table

ABOUT = {
    "metric": "dsg", "version": "v", "policy": "official", "unit": "percent", "factor": 100.0,
    "revision": "1", "preprocessing": "none",
}  # fmt: skip


def write_scores(path, judge, share, seed, **about):
    chance = random.Random(seed)
    rows = []
    for number in range(40):
        right = [int(chance.random() < share) for _ in range(4)]
        questions = [
            {"question_id": q, "category": "c", "filtered": one, "raw": one}
            for q, one in enumerate(right, start=1)
        ]
        rows.append(
            {
                "item_id": f"i{number:02}",
                "sample": 0,
                "source": "s",
                "score": sum(right) / 4,
                "weight": 1.0,
                "details": json.dumps({"questions": questions}),
            }
        )
    write_table(path, "scores", rows, about=ABOUT | {"judge": judge} | about)
    return str(path)


def run(*words):
    parser = argparse.ArgumentParser()
    judges.add_parser(parser.add_subparsers())
    args = parser.parse_args(["judges", *words, "--resamples", "200"])
    return args.run(args)


@pytest.fixture
def files(tmp_path):
    """Two models' scores by a fair judge and by one that nearly always hears yes."""
    return {
        (model, judge): write_scores(tmp_path / f"{model}-{judge}.parquet", judge, share, seed)
        for seed, (model, judge, share) in enumerate(
            [("A", "fair", 0.9), ("A", "deaf", 0.98), ("B", "fair", 0.4), ("B", "deaf", 0.98)]
        )
    }


def test_judges_are_laid_side_by_side(files, capsys):
    assert run(files["A", "fair"], files["A", "deaf"]) == 0
    out = capsys.readouterr().out
    assert "dsg, percent: 40 prompts, 40 pictures, 160 questions, each judge" in out
    for words in ("fair@1", "deaf@1", "Pearson", "Spearman", "kappa", "equal questions, %"):
        assert words in out
    assert "verdict" not in out


def test_against_another_model_the_conclusion_may_depend_on_the_judge(files, capsys):
    first = [files["A", "fair"], files["A", "deaf"]]
    words = [*first, "--against", files["B", "deaf"], files["B", "fair"]]
    assert run(*words) == 0
    out = capsys.readouterr().out
    assert "Not all judges find the difference; none contradicts another." in out
    run(*words, "--json")
    found = json.loads(capsys.readouterr().out)
    verdicts = {row["judge"]: row["verdict"] for row in found["differences"]}
    assert verdicts == {"fair@1": "better", "deaf@1": "undecided"}
    assert found["conclusion"] == "not all decided"
    (shift,) = found["shifts"]
    assert shift["low"] > 0
    assert len(found["judges"]) == len(found["judges_against"]) == 2


def test_judges_that_all_see_nothing_come_to_no_verdict_and_claim_no_power(tmp_path, capsys):
    same = [write_scores(tmp_path / f"{judge}.parquet", judge, 0.5, 1) for judge in "ab"]
    assert run(*same, "--against", *same) == 0
    out = capsys.readouterr().out
    assert "No judge decides." in out
    assert "same verdict" not in out
    (line,) = [line.split() for line in out.splitlines() if "0/40/0" in line and "a@1" in line]
    assert line == ["a@1", "+0.00", "–", "1.0000", "0/40/0", "40", "–", "undecided"]
    assert "–: no variation" in out


def test_long_revisions_are_cut_in_the_tables_and_whole_in_json(tmp_path, capsys):
    revision = "0123456789abcdef" * 4
    paths = [
        write_scores(tmp_path / f"{judge}.parquet", judge, 0.5, seed, revision=revision)
        for seed, judge in enumerate("ab")
    ]
    run(*paths)
    out = capsys.readouterr().out
    assert "a@0123456789ab " in out
    assert revision not in out
    run(*paths, "--json")
    assert json.loads(capsys.readouterr().out)["judges"][0]["judge"] == f"a@{revision}"


def test_scores_of_two_models_on_one_side_are_refused(tmp_path):
    paths = [
        write_scores(tmp_path / f"{judge}.parquet", judge, 0.5, 1, t2i_model=model)
        for judge, model in [("a", None), ("b", "sd-v1.4"), ("c", "sd-v2.1")]
    ]
    with pytest.raises(RecordError, match="of A are .* t2i_model 'sd-v1.4' and 'sd-v2.1'"):
        run(*paths)
    assert run(*paths[:2]) == 0
    alike = write_scores(tmp_path / "d.parquet", "a", 0.5, 1, t2i_model="sd-v2.1")
    with pytest.raises(RecordError, match="of B are"):
        run(*paths[:2], "--against", paths[1], alike)


def test_one_judge_or_two_metrics_are_refused(files, tmp_path):
    with pytest.raises(ConfigError, match="at least two judges, got one"):
        run(files["A", "fair"])
    other = write_scores(tmp_path / "t.parquet", "deaf", 0.5, 9, metric="tifa")
    with pytest.raises(ConfigError, match="expected one metric, but .*t.parquet holds tifa"):
        run(files["A", "fair"], other)
    with pytest.raises(RecordError, match="'fair@1' judged twice"):
        run(files["A", "fair"], files["B", "fair"])
