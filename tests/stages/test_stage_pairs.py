"""The stage pairs draws and rates what a preference is learnt from, or leaves an empty table."""

import importlib
import sys

import pytest
from stage_world import pixels, read_json, rows_of, run
from tiny_world import shipped_params, with_objective, write_images, write_params, write_rater

from selma.core.errors import ConfigError
from selma.measuring.preferring import load_scorer

ARGUMENTS = (
    "--skill count --images data/images/count.parquet --objective data/rows/objective.json "
    "--out out/p.parquet --transcript out/t.parquet --metrics out/m.json"
)
TABLE = "out/p.parquet"


@pytest.fixture
def folder(with_models):
    write_images(with_models, "count", 2)
    write_rater(with_models)
    return with_models


def pairs(folder, objective="dpo", *, images=None, rater="pickscore", **changes):
    params = with_objective(objective, **changes)
    params["objectives"]["dpo"]["pairs"] = {"rater": rater, "images": images or {"per_prompt": 3}}
    write_params(folder, params)
    run("pairs", ARGUMENTS)
    return rows_of(TABLE, "pairs")


def test_each_prompt_has_its_pictures_with_the_scorers_ratings(folder):
    rows = pairs(folder)
    assert [(row["prompt_id"], row["sample"]) for row in rows] == [
        (f"count-{k}", sample) for k in range(2) for sample in range(3)
    ]
    row = shipped_params()["raters"]["pickscore"]
    given = {"version": row["version"], "antialias": row["antialias"], "device": "cpu"}
    scorer = load_scorer("pickscore", folder / row["path"], **given)
    from selma.scorers.preference import score_pairs

    pictures = [pixels(row).astype("uint8") for row in rows]
    scores = score_pairs(pictures, [row["prompt"] for row in rows], scorer, "here")
    assert [row["rating"] for row in rows] == pytest.approx([one[0] for one in scores], abs=1e-4)
    numbers = read_json("out/m.json")
    ratings = [row["rating"] for row in rows]
    gaps = [max(own) - min(own) for own in (ratings[:3], ratings[3:])]
    assert numbers["pictures"] == 6
    assert numbers["unrated"] == 0
    assert numbers["rating"] == pytest.approx(sum(ratings) / 6)
    assert numbers["gap"] == pytest.approx(sum(gaps) / 2)


def test_pictures_are_drawn_as_the_section_images_says_under_the_objectives_own(folder):
    one, other = pairs(folder), pairs(folder, seed=1)
    assert {row["seed"] for row in one}.isdisjoint(row["seed"] for row in other)
    more = pairs(folder, images={"per_prompt": 3, "guidance_scale": 1.0})
    assert [row["seed"] for row in more] == [row["seed"] for row in one]
    assert [row["sha256"] for row in more] != [row["sha256"] for row in one]


def test_pictures_of_prompts_that_nobody_can_ask_about_are_counted_and_left_out(folder):
    write_rater(folder, "faithfulness")
    assert pairs(folder, rater="faithfulness") == []
    assert read_json("out/m.json")["unrated"] == 6


def test_another_rater_than_the_rows_file_holds_is_one_line(folder):
    with pytest.raises(ConfigError, match="rater in data/rows/objective.json 'faithfulness'"):
        pairs(folder, rater="faithfulness")


def test_a_judge_rates_by_questions_that_the_llm_writes_and_these_are_kept(folder):
    write_rater(folder, "faithfulness")
    write_images(folder, "count", 2, prompt="two red circles")
    rows = pairs(folder, rater="faithfulness")
    assert len(rows) == 6
    assert all(0 <= row["rating"] <= 1 for row in rows)
    assert rows_of("out/t.parquet", "transcript")


@pytest.mark.parametrize("objective", ["denoise", "ddpo"])
def test_other_objectives_have_an_empty_table_and_load_no_model(folder, objective):
    (folder / "models").rename(folder / "away")
    importlib.import_module("stages.pairs")
    before = set(sys.modules)
    assert pairs(folder, objective) == []
    assert not {name for name in set(sys.modules) - before if name.startswith("torch")}
    assert read_json("out/m.json") == {"pictures": 0}
