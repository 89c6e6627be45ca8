"""The results table: what the metrics say, in the README as in the files."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from selma.commands.cli import main
from selma.core.errors import MissingDataError, RecordError
from selma.report.markdown import (
    COMPARISON,
    METRICS,
    model_table,
    results_table,
    table_of,
)
from selma.report.marked import replace_marked
from selma.runtime.yaml_files import parse_yaml

from .conftest import comparison

ROOT = Path(__file__).parent.parent.parent
HEADLINE = {
    f"{name}{key}": value * scale
    for name, scale in (("dsg_a", 1), ("pick", 0.2))
    for key, value in (("", 60.0), ("_old", 50.0), ("_both", 70.0))
} | {f"{name}{key}": value for name in ("dsg_a", "pick")
     for key, value in (("_gain", 2.5), ("_over_both", -0.5))}  # fmt: skip


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_has_the_models_and_the_differences_with_their_intervals():
    lines = results_table(HEADLINE, comparison()).splitlines()
    assert cells(lines[0]) == ["metric", "old", "new", "both", "new − old", "new − both", "n"]
    assert cells(lines[2]) == [
        "DSG, %", "50.0", "60.0", "70.0", "**+2.5** (+1.5 to +3.5)", "−0.5 (−2.5 to +1.5)", "4 × 1"
    ]  # fmt: skip
    assert cells(lines[3])[:3] == ["PickScore", "10.000", "12.000"]
    assert len(lines) == 6
    assert lines[5].startswith(
        "n: prompts × pictures of each. In brackets: 95 % interval, paired bootstrap over prompts, "
        "10,000 resamples; bold where the verdict is better or worse. DSG: judge judge@a1"
    )
    assert {line.count("|") for line in lines[:4]} == {8}
    assert [cell[-1] for cell in cells(lines[1])] == ["-", *":" * 6]


@pytest.mark.parametrize("verdict", ["better", "worse", "undecided"])
def test_the_verdict_decides_what_is_bold_and_not_the_interval(verdict):
    for low, high in ((0.1, 1.0), (-1.0, -0.1), (-1.0, 1.0)):
        found = comparison()
        for record in found["comparisons"]:
            record.update(verdict=verdict, low=low, high=high)
        table = results_table(HEADLINE, found)
        assert table.count("**") == (0 if verdict == "undecided" else 2 * 2 * 2)


def hacked(mark="alarm"):
    """Model new was trained against PickScore, which rose, and DSG fell."""
    changes = {"dsg_a": -3.0, "pick": 0.4}
    differences = {
        name: {**record, "difference": changes[name], "low": changes[name] - 0.2,
               "high": changes[name] + 0.2, "minimum_detectable_effect": 1.5}
        for record in comparison()["comparisons"]
        if (name := record["measure"]) and record["model"] == "new" and record["skill"] == "all"
    }  # fmt: skip
    moved = mark in ("alarm", "watch")
    return {
        "first": "new", "second": "old", "mark": mark, "trained_against": ["pick"], "family": 2,
        "independent": ["dsg_a"], "risen": ["pick"] if moved else [],
        "fallen": ["dsg_a"] if moved else [], "differences": differences,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("mark", "name", "words"),
    [
        ("alarm", "new ⚠", "- Hacking alarm: new − old. PickScore +0.400 (+0.200 to +0.600), which "
         "new was trained or selected against; DSG −3.0 (−3.2 to −2.8), which it was not. Both are "
         "decided: p ≤ 0.05, adjusted by Holm's method for 2 watched differences."),
        ("watch", "new (⚠)", "Both by intervals of their own, and not decided among 2 watched"),
        ("quiet", "new", "A fall is found with 80 % power from DSG 1.5 on."),
        ("unwatched", "new", "and no measure here is independent of what taught the two."),
    ],
)  # fmt: skip
def test_what_a_model_was_trained_against_is_said_and_the_alarm_given(mark, name, words):
    table = results_table(HEADLINE, comparison() | {"hacking": [hacked(mark)]})
    lines = table.splitlines()
    assert cells(lines[0])[2] == name
    assert cells(lines[2])[2] == "60.0" and cells(lines[3])[2] == "12.000†"
    assert cells(lines[3])[4].startswith("**+2.500**† (")
    assert words in lines[-1] and "†: trained or selected against this measure" in table


def test_a_models_own_table_carries_its_alarm_and_no_others():
    found = comparison() | {"hacking": [hacked()]}
    assert "Hacking alarm: new − old" in model_table(HEADLINE, found, "new")
    old = model_table(HEADLINE, found, "old")
    assert "alarm" not in old and "†" not in old


def test_one_model_has_a_table_without_differences():
    alone = comparison(models=("new",), reference="new", against=())
    lines = results_table({"dsg_a": 50.0, "pick": 10.0}, alone).splitlines()
    assert cells(lines[0]) == ["metric", "new", "n"]
    assert cells(lines[2]) == ["DSG, %", "50.0", "4 × 1"]
    assert "interval" not in lines[-1]


def test_the_reference_may_be_a_rival_too():
    found = comparison(against=("old", "both"))
    assert cells(results_table(HEADLINE, found).splitlines()[0])[4:6] == [
        "new − old", "new − both"
    ]  # fmt: skip


@pytest.mark.parametrize("key", sorted(HEADLINE))
def test_metrics_of_two_runs_and_missing_numbers_are_refused(key):
    with pytest.raises(RecordError, match=f"says 1000000.0 for {key}, metrics/comparison.json"):
        results_table({**HEADLINE, key: 1e6}, comparison())
    lacking = {name: value for name, value in HEADLINE.items() if name != key}
    with pytest.raises(RecordError, match=f"lacks '{key}'; run `dvc repro compare`"):
        results_table(lacking, comparison())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metrics").mkdir()
    Path(METRICS).write_text(json.dumps(HEADLINE))
    Path(COMPARISON).write_text(json.dumps(comparison()))
    return tmp_path


def test_missing_or_damaged_metrics_say_what_to_run(folder):
    Path(COMPARISON).write_text("{")
    with pytest.raises(RecordError, match=r"metrics/comparison.json: not valid JSON .* run `dvc"):
        table_of()
    Path(COMPARISON).unlink()
    with pytest.raises(MissingDataError, match="comparison.json: no such file; run `dvc pull` or"):
        table_of()


def test_the_command_prints_the_table_or_writes_it(folder, capsys):
    assert main(["table"]) == 0
    table = capsys.readouterr().out
    assert table == results_table(HEADLINE, comparison())
    page = folder / "page.md"
    page.write_text("# x\n<!-- results -->\n<!-- /results -->\n", encoding="utf-8")
    assert main(["table", "--write", "page.md"]) == 0
    assert page.read_text(encoding="utf-8") == f"# x\n<!-- results -->\n{table}<!-- /results -->\n"


def committed(path):
    done = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True)
    if done.returncode:
        pytest.skip(f"git cannot show the committed {path}: {done.stderr.decode().strip()}")
    return done.stdout


def test_the_committed_readme_shows_the_committed_grid():
    stages = parse_yaml(committed("dvc.lock").decode(), "dvc.lock")["stages"]
    made = {out["path"]: out["md5"] for out in stages["report"]["outs"]}["report/grid.png"]
    shown = hashlib.md5(committed("docs/grid.png")).hexdigest()
    assert shown == made, "copy report/grid.png to docs and commit it"


def test_the_committed_readme_shows_the_committed_metrics():
    """Both as git has them: what a working tree was made to compute does not matter here."""
    text = committed("README.md").decode()
    table = results_table(*(json.loads(committed(path)) for path in (METRICS, COMPARISON)))
    assert text == replace_marked(text, "results", table, "README.md"), (
        "run `selma table --write README.md` and commit it"
    )
