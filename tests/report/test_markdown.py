"""The results table: what the metrics say, in the README as in the files."""

import json
from pathlib import Path

import pytest

from selma.commands.cli import main
from selma.core.errors import MissingDataError, RecordError
from selma.report.markdown import END, START, replace_results, results_table, table_of

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"
HEADLINE = {
    "dsg": 71.26, "dsg_base": 70.0, "dsg_mixture": 71.5, "dsg_gain": 1.26,
    "dsg_over_mixture": -0.24,
    "hps": 21.5, "hps_base": 21.25, "hps_mixture": 21.5, "hps_gain": 0.25, "hps_over_mixture": 0.0,
}  # fmt: skip


def record(metric, unit, baseline, difference, low, high):
    return {
        "metric": metric, "unit": unit, "model": "merged", "baseline": baseline, "skill": "all",
        "difference": difference, "low": low, "high": high, "confidence": 0.95, "resamples": 10_000,
        "judge": "pocket@1", "policy": "official, prompt mean" if metric == "dsg" else "",
        "n_items": 330, "n_samples": 2,
    }  # fmt: skip


def comparisons():
    return [
        record("dsg", "percent", "base", 1.26, 0.5, 2.04),
        {**record("dsg", "percent", "base", -9.0, -10.0, -8.0), "skill": "count"},
        record("dsg", "percent", "mixture", -0.24, -1.0, 0.5),
        record("hps", "100 * cosine", "base", 0.25, 0.125, 0.375),
        record("hps", "100 * cosine", "mixture", 0.0, -0.25, 0.25),
    ]


def write_metrics(root):
    (root / "metrics").mkdir()
    (root / "metrics/metrics.json").write_text(json.dumps(HEADLINE))
    (root / "metrics/comparison.json").write_text(json.dumps({"comparisons": comparisons()}))


def test_a_row_gives_the_models_and_the_differences_with_their_intervals():
    lines = results_table(HEADLINE, comparisons()).splitlines()
    assert lines[2] == (
        "| DSG, % | 70.0 | 71.3 | 71.5 | **+1.3** (+0.5 to +2.0) | −0.2 (−1.0 to +0.5) | 330 × 2 |"
    )
    assert lines[3].startswith("| HPS | 21.250 | 21.500 | 21.500 | **+0.250** (+0.125 to +0.375) |")
    assert len(lines) == 6
    assert "95 % interval" in lines[5]
    assert "10,000 resamples" in lines[5]
    assert "DSG: judge pocket@1, official, prompt mean." in lines[5]
    assert {line.count("|") for line in lines[:4]} == {8}


def test_metrics_of_two_runs_are_refused():
    with pytest.raises(RecordError, match=r"metrics.json says 1.5, comparison.json 1.26"):
        results_table({**HEADLINE, "dsg_gain": 1.5}, comparisons())


def test_a_missing_number_is_named():
    headline = {name: value for name, value in HEADLINE.items() if name != "hps_mixture"}
    with pytest.raises(RecordError, match="hps lacks 'hps_mixture'; run `dvc repro compare`"):
        results_table(headline, comparisons())


def test_missing_metrics_say_what_to_run(tmp_path):
    with pytest.raises(MissingDataError, match=r"metrics.json: no such file; run `dvc repro`"):
        table_of(tmp_path)


def test_only_what_stands_between_the_markers_is_replaced():
    text = f"before\n{START}\nold\n{END}\nafter\n"
    once = replace_results(text, "new\n", "README.md")
    assert once == f"before\n{START}\nnew\n{END}\nafter\n"
    assert replace_results(once, "new\n", "README.md") == once


@pytest.mark.parametrize("text", ["", START, f"{END}\n{START}", f"{START}{END}{START}{END}"])
def test_a_text_without_exactly_one_block_is_refused(text):
    with pytest.raises(RecordError, match=r"README.md: expected one line"):
        replace_results(text, "new\n", "README.md")


def test_the_command_prints_the_table_or_writes_it(tmp_path, monkeypatch, capsys):
    write_metrics(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["table"]) == 0
    table = capsys.readouterr().out
    assert table == table_of(tmp_path)
    page = tmp_path / "page.md"
    page.write_text(f"# x\n{START}\n{END}\n", encoding="utf-8")
    assert main(["table", "--write", "page.md"]) == 0
    assert page.read_text(encoding="utf-8") == f"# x\n{START}\n{table}{END}\n"


def test_the_readme_shows_the_committed_metrics():
    if not (ROOT / "metrics/comparison.json").exists():
        pytest.skip("metrics/comparison.json is not there yet: `dvc repro` writes it")
    text = README.read_text(encoding="utf-8")
    assert text == replace_results(text, table_of(ROOT), "README.md"), (
        "run `selma table --write README.md`"
    )
