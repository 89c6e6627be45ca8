"""A rater's row holds all that decides its ratings, and nothing that does not."""

import hashlib
from pathlib import Path

import pytest
from stage_world import read_json, run
from tiny_world import tiny_params, write_params

from selma.core.errors import ConfigError
from selma.core.files import write_json


def written(rater, **changes):
    write_params(Path(), tiny_params(**changes))
    run("rater_row", f"--rater {rater} --judges judges --out out.json")
    return read_json("out.json")


@pytest.fixture
def row(world):
    """Of a rater by questions and of a scorer, whose files are in the current folder."""
    for path in ("selma/metrics", "models/pocket/pickscore"):
        Path(path).mkdir(parents=True)
        Path(path, "file").write_text("weights")
    write_json(Path("judges/pocket.json"), {"row": "the judge's"})
    return written


def test_a_scorers_row_holds_the_hash_of_its_weights(row):
    path, params = "models/pocket/pickscore", tiny_params()
    listing = f"{hashlib.sha256(b'weights').hexdigest()}  file\n"
    hashed = hashlib.sha256(listing.encode()).hexdigest()
    assert row("pickscore") == {"row": params["raters"]["pickscore"], "files": {path: hashed}}


def test_a_row_by_questions_holds_its_judge_and_how_the_llm_is_asked(row):
    found = row("faithfulness")
    assert found["judge"] == {"row": "the judge's"}
    assert found["llm"]["model"] == tiny_params()["llm"]["model"]
    assert '"temperature": 0.0' in found["llm"]["parameters"]  # the row's, not that of prompts


def test_what_changes_no_reply_changes_no_row(row):
    before = row("faithfulness")
    assert row("faithfulness", llm={"retries": 2, "timeout_s": 7.0}) == before
    assert row("faithfulness", llm={"reply_tokens_max": 9}) != before


def test_an_unknown_rater_lists_those_there_are(row):
    with pytest.raises(ConfigError, match="raters has no row 'x'; there are: faithfulness, pick"):
        row("x")
