"""`selma judges` on score files of several judges."""

import argparse
import json
import random

import pytest

from selma.commands import judges
from selma.errors import ConfigError, RecordError
from selma.tables import write_table

ABOUT = {
    "metric": "dsg", "version": "v", "policy": "official", "unit": "share of questions",
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


def test_one_judge_or_two_metrics_are_refused(files, tmp_path):
    with pytest.raises(ConfigError, match="at least two judges, got one"):
        run(files["A", "fair"])
    other = write_scores(tmp_path / "t.parquet", "deaf", 0.5, 9, metric="tifa")
    with pytest.raises(ConfigError, match="expected one metric, but .*t.parquet holds tifa"):
        run(files["A", "fair"], other)
    with pytest.raises(RecordError, match="'fair@1' judged twice"):
        run(files["A", "fair"], files["B", "fair"])
