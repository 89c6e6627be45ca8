"""`selma compare` on score files written as the stages write them."""

import argparse
import json
import random
import subprocess
import sys

import pytest

from selma.commands import compare
from selma.comparing.categories import split
from selma.comparing.comparison import compare_parts
from selma.comparing.items import item_scores
from selma.comparing.statistics import Bootstrap
from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.core.tables import read_about, read_table, write_table

ABOUT = {
    "metric": "dsg", "version": "v", "policy": "official", "unit": "percent", "factor": 100.0,
    "judge": "pocket", "revision": "1", "preprocessing": "none", "coverage": 1.0,
    "libraries": {"torch": "2.13.0"},
}  # fmt: skip
SHARE = {"common": 0.5, "count": 0.5}


def write_scores(path, share=SHARE, *, prompts=20, samples=2, seed=0, **about):
    """Write answers to four questions a picture, right with the share of the prompt's source."""
    chance = random.Random(seed)
    rows = []
    for source, right in share.items():
        for number in range(prompts):
            for sample in range(samples):
                asked = ["color", "count", "color", "shape" if number < 5 else "color"]
                questions = [
                    {"question_id": q, "category": category, "raw": 1,
                     "filtered": int(chance.random() < right)}
                    for q, category in enumerate(asked, start=1)
                ]  # fmt: skip
                rows.append(
                    {
                        "item_id": f"{source}_{number:02}",
                        "sample": sample,
                        "source": source,
                        "score": sum(q["filtered"] for q in questions) / 4,
                        "weight": 1.0,
                        "details": json.dumps({"questions": questions}),
                    }
                )
    write_table(path, "scores", rows, about=ABOUT | about)
    return str(path)


def run(*words):
    parser = argparse.ArgumentParser()
    compare.add_parser(parser.add_subparsers())
    args = parser.parse_args(["compare", *words, "--resamples", "200"])
    return args.run(args)


def result(capsys, *words):
    """Give the exit code and what --json prints."""
    code = run(*words, "--json")
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def pair(tmp_path):
    first = write_scores(tmp_path / "good.parquet", {"common": 0.9, "count": 0.5}, seed=1)
    return first, write_scores(tmp_path / "base.parquet", seed=2)


def test_the_numbers_are_those_of_the_compare_stage(pair, capsys):
    _, found = result(capsys, *pair)
    models = [
        split(item_scores("dsg", name, read_table(path, "scores"), read_about(path)))
        for name, path in zip(("good", "base"), pair, strict=True)
    ]
    want = compare_parts(*models, Bootstrap(200, 0.95, 0))
    assert found["comparisons"] == [{**row, "by": "skill"} for row in want]
    assert [row["skill"] for row in want] == ["all", "common", "count"]
    for row in found["comparisons"]:
        assert row["first"] - row["second"] == pytest.approx(row["difference"])


def test_every_option_reaches_the_numbers(pair, capsys):
    def whole(*words):
        return result(capsys, *pair, *words)[1]["comparisons"][0]

    plain, seeded, sure = whole(), whole("--seed", "1"), whole("--confidence", "0.99")
    assert seeded["low"] != plain["low"]
    assert sure["confidence"] == 0.99 and sure["low"] < plain["low"]
    assert plain["resamples"] == 200
    assert whole("--margin", "60")["verdict"] == "undecided" != plain["verdict"]


def test_the_table_has_a_line_a_skill_with_a_verdict(pair, capsys):
    assert run(*pair) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines() if line.startswith("dsg, %")]
    assert [(line[2], line[-1]) for line in lines] == [
        ("all", "better"),
        ("common", "better"),
        ("count", "undecided"),
    ]
    for words in ("wins/ties/losses", "Holm p", "detectable", "judged by its own p", "200 resamp"):
        assert words in out


def test_a_line_says_what_the_numbers_of_a_metric_are(tmp_path, capsys):
    how = {"revision": "0123456789abcdef" * 4, "benchmark": "dsg-1k"}
    first = write_scores(tmp_path / "a.parquet", seed=1, **how)
    second = write_scores(tmp_path / "b.parquet", seed=2, coverage=0.975, **how)
    run(first, second)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == (
        "dsg: version v; policy official; judge pocket@0123456789ab; benchmark dsg-1k"
    )
    assert lines[-1] == f"dsg: {second} covers 97.50 % of what was to be scored"


def test_one_benchmark_under_two_names_is_compared_and_both_are_named(tmp_path, capsys):
    first = write_scores(tmp_path / "a.parquet", benchmark="a.csv", benchmark_sha256="1")
    second = write_scores(tmp_path / "b.parquet", benchmark="b.csv", benchmark_sha256="1")
    assert run(first, second) == 0
    assert "; benchmark a.csv = b.csv\n" in capsys.readouterr().out


def test_where_no_prompt_differs_no_power_is_claimed(pair, capsys):
    assert run(pair[0], pair[0]) == 0
    out = capsys.readouterr().out
    (line,) = [cells for line in out.splitlines() if (cells := line.split())[2:3] == ["all"]]
    assert line[5:] == ["+0.00", "–", "1.0000", "1.0000", "0/40/0", "40", "–", "undecided"]
    assert "–: no variation" in out
    assert run(*pair) == 0
    assert "no variation" not in capsys.readouterr().out


def test_json_holds_every_number_unrounded(pair, capsys):
    code, found = result(capsys, *pair)
    assert code == 0
    row = found["comparisons"][1]
    assert row["standard_error"] != round(row["standard_error"], 9)
    wanted = {"first", "second", "difference", "low", "high", "p_value", "p_value_holm", "wins",
              "ties", "losses", "n_items", "minimum_detectable_effect", "verdict"}  # fmt: skip
    assert wanted <= set(row)


def test_a_judge_behind_an_endpoint_is_shown_with_its_model(tmp_path, capsys):
    how = {"judge": "endpoint", "judge_settings": {"path": "gpt-4o"}, "revision": "2024"}
    run(*(write_scores(tmp_path / f"{n}.parquet", seed=n, **how) for n in (1, 2)))
    assert "; judge endpoint gpt-4o@2024; " in capsys.readouterr().out


def test_a_skill_is_an_items_source_and_a_category_what_its_questions_ask(pair, capsys):
    _, found = result(capsys, *pair, "--by", "category")
    assert [(row["category"], row["n_items"]) for row in found["comparisons"]] == [
        ("all", 40), ("color", 40), ("count", 40), ("shape", 10),
    ]  # fmt: skip
    assert not any("skill" in row for row in found["comparisons"])
    run(*pair, "--by", "category")
    assert "measure  category" in capsys.readouterr().out
    _, found = result(capsys, *pair, "--by", "none")
    assert [row["skill"] for row in found["comparisons"]] == ["all"]


def test_splitting_by_source_is_called_by_skill(pair, capsys):
    with pytest.raises(SystemExit):
        run(*pair, "--by", "source")
    assert "choose from" in capsys.readouterr().err


def test_a_model_against_itself_is_undecided_with_p_one(pair, capsys):
    _, found = result(capsys, pair[0], pair[0])
    assert {
        (row["difference"], row["p_value"], row["verdict"]) for row in found["comparisons"]
    } == {(0.0, 1.0, "undecided")}


def test_a_regression_exits_with_5_if_asked(pair, capsys):
    good, base = pair
    assert run(base, good) == 0
    assert run(base, good, "--fail-on-regression") == 5
    assert "regression: dsg all, dsg common" in capsys.readouterr().err
    assert run(good, base, "--fail-on-regression") == 0


def test_a_regression_within_the_margin_is_none(pair, capsys):
    code, found = result(capsys, *reversed(pair), "--fail-on-regression", "--margin", "60")
    assert (code, found["worse"]) == (0, [])
    assert {row["margin"] for row in found["comparisons"]} == {60.0}


def test_a_regression_on_one_skill_counts_though_the_whole_gains(tmp_path, capsys):
    skills = {"a": 0.9, "b": 0.9, "c": 0.1}
    first = write_scores(tmp_path / "first.parquet", skills, seed=1)
    second = write_scores(tmp_path / "second.parquet", dict.fromkeys(skills, 0.5), seed=2)
    code, found = result(capsys, first, second, "--fail-on-regression")
    verdicts = {row["skill"]: row["verdict"] for row in found["comparisons"]}
    assert verdicts == {"all": "better", "a": "better", "b": "better", "c": "worse"}
    assert (code, found["worse"]) == (5, ["dsg c"])


def test_folders_are_matched_by_metric_outside_any_repository(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for run_name, seed in (("old", 1), ("new", 2)):
        write_scores(tmp_path / run_name / "x.parquet", seed=seed)
        write_scores(tmp_path / run_name / "deep/y.parquet", seed=seed, metric="tifa")
    _, found = result(capsys, "new", "old", "--by", "none")
    assert [row["metric"] for row in found["comparisons"]] == ["dsg", "tifa"]
    (tmp_path / "old/deep/y.parquet").unlink()
    with pytest.raises(RecordError, match="tifa is only in new"):
        run("new", "old")


def test_names_of_models_stand_for_their_scores(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for model in ("merged", "base"):
        write_scores(tmp_path / f"data/scores/dsg/{model}.parquet")
    _, found = result(capsys, "merged", "base")
    assert (found["comparisons"][0]["model"], found["comparisons"][0]["baseline"]) == (
        "merged",
        "base",
    )
    with pytest.raises(MissingDataError, match=r"mixture: expected a score file.*found none"):
        run("mixture", "base")


def test_a_folder_with_two_files_of_one_metric_is_refused(pair, tmp_path):
    with pytest.raises(RecordError, match=r"both hold scores of dsg; name one"):
        run(str(tmp_path), pair[0])


def test_measures_of_one_metric_are_matched_by_name_and_single_files_in_any_case(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for model in ("merged", "base"):
        for measure in ("dsg", "dsg_lenient"):
            write_scores(tmp_path / f"data/scores/{measure}/{model}.parquet", measure=measure)
    _, found = result(capsys, "merged", "base", "--by", "none")
    assert [row["measure"] for row in found["comparisons"]] == ["dsg", "dsg_lenient"]
    lenient, own = "data/scores/dsg_lenient/merged.parquet", "data/scores/dsg/base.parquet"
    _, found = result(capsys, lenient, own, "--by", "none")
    assert [row["measure"] for row in found["comparisons"]] == ["dsg_lenient"]
    with pytest.raises(ConfigError, match="one measure, .* got 1 and dsg, dsg_lenient"):
        run("merged", "base", "--margin", "1")


def test_parts_that_only_one_file_has_are_left_out_and_named(pair, tmp_path, capsys):
    fewer = write_scores(tmp_path / "fewer.parquet", {"common": 0.5})
    _, found = result(capsys, pair[0], fewer, "--allow-partial")
    assert [row["skill"] for row in found["comparisons"]] == ["all", "common"]
    assert found["notes"][-1] == "dsg: left out the skill count, which only one has"


@pytest.mark.parametrize(
    ("key", "value"), [("judge", "mplug"), ("policy", "selma"), ("benchmark", "dsg-1k")]
)
def test_files_made_in_different_ways_are_refused(pair, tmp_path, key, value):
    other = write_scores(tmp_path / "other.parquet", **{key: value})
    with pytest.raises(RecordError, match=f'{key} is .* and "{value}"'):
        run(pair[0], other)


def test_other_libraries_and_missing_coverage_are_told_in_a_note(pair, tmp_path, capsys):
    other = write_scores(tmp_path / "o.parquet", libraries={"torch": "2.12.0"}, coverage=0.975)
    assert run(pair[0], other) == 0
    out = capsys.readouterr().out
    assert "dsg: scored with different libraries: torch 2.13.0 and 2.12.0" in out
    assert "o.parquet covers 97.50 % of what was to be scored" in out


def test_prompts_of_only_one_file_are_named_or_counted(pair, tmp_path, capsys):
    fewer = write_scores(tmp_path / "fewer.parquet", prompts=18)
    with pytest.raises(RecordError, match="4 items are in only one of them, 'common_18'"):
        run(pair[0], fewer)
    _, found = result(capsys, pair[0], fewer, "--allow-partial")
    assert found["comparisons"][0]["n_items"] == 36
    assert found["notes"] == [
        "dsg: left out 4 prompts that only one has: common_18, common_19, count_18, …"
    ]


def test_different_numbers_of_pictures_are_compared_prompt_by_prompt_and_noted(
    pair, tmp_path, capsys
):
    many = write_scores(tmp_path / "many.parquet", samples=6)
    _, found = result(capsys, pair[0], many)
    assert found["comparisons"][0]["n_items"] == 40
    assert found["notes"] == ["dsg: different numbers of pictures per prompt, on average 2 and 6"]


def test_a_metric_without_questions_has_no_categories_and_says_so(pair, tmp_path, capsys):
    paths = []
    for path in pair:
        rows = [row | {"details": "{}"} for row in read_table(path, "scores")]
        about = ABOUT | {"metric": "hps", "unit": "100 * cosine"}
        paths.append(str(tmp_path / f"hps-{len(paths)}.parquet"))
        write_table(tmp_path / paths[-1], "scores", rows, about=about)
    _, found = result(capsys, *paths, "--by", "category")
    assert [row["category"] for row in found["comparisons"]] == ["all"]
    assert found["notes"] == [
        "hps: asks no questions, so it has no categories; --by skill splits it"
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--confidence", "95"), "a confidence between 0.5 and 1"),
        (("--resamples", "5"), "at least 100 resamples"),
        (("--margin", "-1"), "--margin: expected at least 0"),
        (("--margin", "nan"), "--margin: expected at least 0, finite, .* got nan"),
        (("--margin", "inf"), "--margin: expected at least 0, finite, .* got inf"),
    ],
)
def test_options_out_of_range_are_refused(pair, words, message):
    parser = argparse.ArgumentParser()
    compare.add_parser(parser.add_subparsers())
    args = parser.parse_args(["compare", *pair, *words])
    with pytest.raises(ConfigError, match=message):
        args.run(args)


def test_a_file_that_is_no_score_file_is_refused(tmp_path):
    write_table(tmp_path / "a.parquet", "scores", [])
    with pytest.raises(RecordError, match="names no metric"):
        run(str(tmp_path / "a.parquet"), str(tmp_path / "a.parquet"))
    with pytest.raises(MissingDataError, match=r"nowhere.parquet: no such file"):
        run(str(tmp_path / "nowhere.parquet"), str(tmp_path / "a.parquet"))


def test_describing_the_commands_imports_nothing_heavy():
    code = (
        "import argparse, sys; from selma.commands import compare, judges, votes;"
        "c = argparse.ArgumentParser().add_subparsers();"
        "[m.add_parser(c) for m in (compare, judges, votes)]; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert {"torch", "numpy", "pyarrow", "scipy", "pandas"} & set(loaded.stdout.split()) == set()
