"""The stage objective_row writes down who rates for the objective, and the code where it trains."""

import pytest
from stage_world import read_json, run
from tiny_world import with_objective, write_params

from selma.core.files import write_json
from selma.core.fingerprints import content_sha256


@pytest.fixture
def row(world):
    """Run the stage for an objective; returns what it wrote."""
    (world / "code").mkdir()
    (world / "code/rates.py").write_text("1")
    for name in ("pickscore", "faithfulness"):
        write_json(world / f"data/rows/raters/{name}.json", {"row": {"kind": name}, "files": {}})

    def row(objective, *, images=None, **changes):
        params = with_objective(objective)
        params["images"] |= images or {}
        params["objectives"][objective] |= changes
        write_params(world, params)
        run("objective_row", "--raters data/rows/raters --code code --out out/row.json")
        return read_json("out/row.json")

    return row


def test_where_nothing_is_rated_nothing_counts(row):
    assert row("denoise") == {"raters": {}, "code": None}


def test_of_pairs_the_rater_counts_and_its_code_is_the_stages_before(row):
    found = row("dpo")
    assert found["raters"] == {"pickscore": {"row": {"kind": "pickscore"}, "files": {}}}
    assert found["code"] is None


def test_of_rewards_the_rater_counts_and_the_code_that_rates(row, world):
    found = row("ddpo", rater="faithfulness")
    assert set(found["raters"]) == {"faithfulness"}
    assert found["code"] == {"code": content_sha256(world / "code")}
    assert found["images"] == {"guidance_scale": 3.0, "inference_steps": 2}
    (world / "code/rates.py").write_text("2")
    assert row("ddpo", rater="faithfulness")["code"] != found["code"]


def test_how_a_training_draws_counts_only_where_it_does(row):
    before = {objective: row(objective) for objective in ("denoise", "dpo", "ddpo")}
    images = {"guidance_scale": 1.5}
    found = {objective: row(objective, images=images) for objective in before}
    assert [name for name in before if found[name] != before[name]] == ["ddpo"]
    assert row("ddpo", images={"batch_size": 1}) == before["ddpo"]
    assert row("ddpo", images=images)["images"]["guidance_scale"] == 1.5
