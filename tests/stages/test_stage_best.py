"""The stage best keeps what the raters of its source like best."""

from pathlib import Path

import pytest
from stage_world import read_json, rows_of, run
from tiny_world import tiny_params, write_images, write_params

from selma.core.files import write_json
from selma.core.tables import write_table
from selma.diffusion.requests import Request, as_images, picture_row
from selma.pocket.render import render
from selma.pocket.scenes import Scene, SceneObject

COMMAND = (
    "--skill count --images data/images/count.parquet --best best.json --out kept.parquet "
    "--transcript said.parquet --metrics metrics.json"
)
PARAMS = tiny_params()
JUDGE = {"row": PARAMS["judges"]["pocket"], "files": {}}
RATERS = {
    "faithfulness": {"row": PARAMS["raters"]["faithfulness"], "files": {}, "judge": JUDGE},
    "pickscore": {"row": PARAMS["raters"]["pickscore"], "files": {}},
}
STAR, RING = (
    SceneObject("star", "red", "large", 9.0, 16.0), SceneObject("ring", "blue", "small", 24.0, 16.0)
)  # fmt: skip
CANDIDATES = [
    ("a", "a red star", (RING,)), ("a", "a red star", (STAR,)), ("a", "a red star", ()),
    ("b", "a blue ring", ()), ("b", "a blue ring", (STAR,)), ("b", "a blue ring", ()),
]  # fmt: skip


@pytest.fixture
def folder(with_models):
    rows = [
        picture_row(Request(item, number, prompt, 0), render(Scene("white", things)))
        for number, (item, prompt, things) in enumerate(CANDIDATES)
    ]
    write_table(Path("data/images/count.parquet"), "images", as_images(rows))
    return with_models


def best(folder, best_of, **changes):
    write_params(folder, tiny_params(**changes))
    write_json(folder / "best.json", best_of)
    run("best", COMMAND)
    return [(row["prompt_id"], row["sample"]) for row in rows_of("kept.parquet", "images")]


def test_the_picture_that_shows_what_the_prompt_says_is_kept_and_the_others_are_counted(folder):
    raters = {"faithfulness": RATERS["faithfulness"]}
    found = best(
        folder,
        {"candidates": 3, "thresholds": {"faithfulness": 0.9}, "rank_by": ["faithfulness"],
         "raters": raters},
    )  # fmt: skip
    assert found == [("a", 1)]
    counts = read_json("metrics.json")
    assert (counts["prompts"], counts["kept"], counts["keep_rate"]) == (2, 1, 0.5)
    assert counts["pass_rate"] == {"faithfulness": pytest.approx(1 / 6)}
    said = rows_of("said.parquet", "transcript")
    assert {row["prompt_id"] for row in rows_of("kept.parquet", "images")} == {"a"}
    assert len(said) >= 6  # three steps for each prompt
    assert '"temperature": 0.0' in said[0]["parameters"]


def test_a_scorer_needs_no_llm(folder):
    best_of = {"candidates": 3, "thresholds": {}, "rank_by": ["pickscore"]}
    best_of["raters"] = {"pickscore": RATERS["pickscore"]}
    found = best(folder, best_of, llm={"backend": "openai"})  # without a key
    assert [item for item, _ in found] == ["a", "b"]
    assert rows_of("said.parquet", "transcript") == []


def test_both_rate_and_the_second_decides_between_equals(folder):
    best_of = {"candidates": 3, "thresholds": {}, "rank_by": ["faithfulness", "pickscore"]}
    found = best(folder, {**best_of, "raters": RATERS})
    assert found[0] == ("a", 1) and found[1][0] == "b"


def test_without_a_choice_the_table_passes_byte_for_byte(folder):
    write_images(folder, "count", 3)
    assert len(best(folder, None, llm={"backend": "openai"})) == 3
    assert Path("kept.parquet").read_bytes() == Path("data/images/count.parquet").read_bytes()
    assert read_json("metrics.json") == {
        "pictures": 3, "prompts": 3, "kept": 3, "keep_rate": 1.0
    }  # fmt: skip
