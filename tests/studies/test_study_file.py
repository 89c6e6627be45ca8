"""A study's file: what is wrong with it is one line that lists everything."""

from pathlib import Path

import pytest
from tiny_world import ROOT
from toy import STUDY

from selma.core.errors import ConfigError, MissingDataError
from selma.studies.checking import check_variant
from selma.studies.settings import params_with
from selma.studies.study_file import Row, baselines, read_study


def written(folder, text):
    path = folder / "toy.yaml"
    path.write_text(text)
    return path


def test_a_file_is_read(tmp_path):
    study = read_study(written(tmp_path, STUDY))
    assert study.settings_of("high", 2) == ["+extra={note: common}", "rank=2", "~gone", "seed=2"]
    assert study.runs()[:4] == [("low", 1), ("low", 2), ("low", 3), ("high", 1)]
    assert study.rows() == [
        Row("low", "merged"), Row("low", "base"), Row("high", "merged"), Row("high", "base")
    ]  # fmt: skip


def test_a_baseline_without_a_variant_is_of_the_rows_own(tmp_path):
    table = read_study(written(tmp_path, STUDY)).tables["ranks"]
    assert baselines(table, "rank 2") == {"base": Row("high", "base"), "low": Row("low", "merged")}
    assert baselines(table, "rank 1") == {"base": Row("low", "base")}  # not with itself


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds: [1, 2, 3]", "seedz: [1]", "seeds is missing; seedz is not a known key"),
        ("seeds: [1, 2, 3]", "seeds: [1, 1]", r"seeds: each once, got \[1, 1\]"),
        ("measures: [dsg]", "measures: [dsg, dsg]", "measures: each once, got"),
        ("rank 2: high/merged", "rank 2: hgh/merged", "row hgh/merged names no variant; choose one "
         "of: low, high"),
        ("rank 2: high/merged", "rank 2: merged", r"tables.ranks.rows.rank 2: .* got 'merged'"),
        ("measure: dsg", "measure: dgs", "'merged beats base' names measure 'dgs'; choose one of"),
        ("low: [rank=1]", "low: [rank=1, seed=4]", "'seed=4': the seeds stand under `seeds`"),
        ("{rank 1: {dsg", "{rank 9: {dsg", "tables.ranks.paper.rank 9: no such row or column"),
        ("direction: less", "direction: down", "claims.1.direction: .* 'greater' or 'less'"),
        ("trained_against: {}", "trained_against: {low/mixture: [dsg]}", "trained_against names "
         "low/mixture, which is no row"),
        ("trained_against: {}", "trained_against: {low/base: [dsg]}", "trained_against names "
         "low/base, which no table or claim compares with another"),
        ("trained_against: {}", "trained_against: {low/merged: [pick]}", "trained_against."
         "low/merged names pick; choose of: dsg"),
        ("measures: {dsg: none}", "measures: {tifa: none}", "tables.ranks.measures names 'tifa'"),
        ("measures: {dsg: none}", "measures: {dsg: skil}", "'none', 'skill' or 'category'"),
        ("{rank 1: {dsg: 30.5", "{rank 1: {pick/s0: 30.5", "tables.ranks.paper.rank 1: no such"),
        ("second: low/base", "second: low/merged", "compares low/merged with itself"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(tmp_path, old, new, words):
    assert old in STUDY
    with pytest.raises(ConfigError, match=words) as caught:
        read_study(written(tmp_path, STUDY.replace(old, new)))
    assert "\n" not in str(caught.value) and "toy.yaml" in str(caught.value)


def test_one_measure_is_split_in_one_way(tmp_path):
    tables = STUDY.partition("tables:\n")[2].partition("claims:")[0]
    again = tables.replace("ranks:", "again:").replace("dsg: none", "dsg: category")
    text = STUDY.replace("claims:", f"{again}claims:")
    assert read_study(written(tmp_path, text)).splits() == {"dsg": "category"}
    with pytest.raises(ConfigError, match="tables.ranks.measures.dsg: another table splits it"):
        read_study(written(tmp_path, text.replace("dsg: none", "dsg: skill")))


def test_a_file_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(MissingDataError, match="nowhere.yaml: no such file"):
        read_study(tmp_path / "nowhere.yaml")


POCKET = ROOT / "presets/pocket.yaml"
PARAMS = b"seed: 0\nlora: {rank: 8}\nmodels: {base: {w: 1}, merged: {w: 2}}\n"


def test_settings_change_add_and_remove():
    settings = ["lora.rank=16", "+models.half={w: ${models.merged.w}}", "~models.base"]
    assert params_with(PARAMS, settings) == {
        "seed": 0, "lora": {"rank": 16}, "models": {"merged": {"w": 2}, "half": {"w": 2}}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("lora.rnk=1", "Could not override 'lora.rnk'"),
        ("lora.rank=1,2", "'lora.rank=1,2': several values; make them variants"),
        ("lora.rank", "a setting is wrong: .*missing EQUAL"),
        ("~models.none", "a setting is wrong: .*'models.none' does not exist"),
        ("+models.half={w: ${models.none.w}}", "a setting is wrong: .*'models.none.w' not found"),
    ],
)
def test_a_wrong_setting_is_named(setting, words):
    with pytest.raises(ConfigError, match=words):
        params_with(PARAMS, [setting])


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda p: p.name)
def test_the_studies_that_ship_are_whole(path: Path, tmp_path: Path):
    """Their rows and measures stand in the params that each variant makes of the pocket preset."""
    study = read_study(path)
    assert study.name == path.stem
    for variant in study.variants:
        check_variant(study, POCKET.read_bytes(), variant)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (["scores"], "do not make all tables of hps, imagereward, pickscore: add preferences"),
        (["preferences", "answers@dsg-base"], "do not make all tables of dsg, tifa: add scores"),
        (["preferences", "scores@dsg"], "do not make all tables of dsg, tifa: add scores"),
    ],
)
def test_targets_that_leave_a_measure_to_the_commit_are_refused(targets, words):
    """The tables would be read from the commit as they lie, of other pictures and seeds."""
    study = read_study(ROOT / "studies/aa.yaml")
    with pytest.raises(ConfigError, match=words):
        check_variant(study.model_copy(update={"targets": targets}), POCKET.read_bytes(), "once")
    for made in ([], ["compare"], ["preferences", "scores"]):
        check_variant(study.model_copy(update={"targets": made}), POCKET.read_bytes(), "once")
