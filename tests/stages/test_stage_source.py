"""The stage source writes what decides the pictures, and ground truth that is no benchmark's."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stage_world import item, read_json, rows_of, run, write_benchmark
from tiny_world import tiny_params, write_params

from selma.core.errors import MissingDataError, RecordError
from selma.core.files import write_json
from selma.sources.pairs import read_folder

COMMAND = "--source mine --benchmarks data/benchmarks --raters raters --out out --best best.json"
FOLDER = {"kind": "folder", "path": "pairs", "pictures": "truth", "size_px": 8}


@pytest.fixture
def folder(world):
    write_benchmark("first", item("x", "a red square"))
    for name in ("faithfulness", "pickscore"):
        write_json(Path(f"raters/{name}.json"), {"row": name})
    return world


def source(folder, row):
    params = tiny_params()
    write_params(folder, {**params, "sources": {**params["sources"], "mine": row}})
    run("source", COMMAND)
    return read_json("out/row.json"), read_json("best.json")


def pairs(*captions, skill="count"):
    Path("pairs", skill).mkdir(parents=True, exist_ok=True)
    for number, caption in enumerate(captions):
        grey = np.full((10, 12, 3), 20 * number, np.uint8)
        Image.fromarray(grey).save(f"pairs/{skill}/{number}.png")
        Path(f"pairs/{skill}/{number}.txt").write_text(caption)


def test_of_a_model_that_draws_there_is_the_row(folder):
    row = tiny_params()["sources"]["self"]
    assert source(folder, row) == ({"row": {"kind": "self", "path": row["path"]}}, None)
    assert [path.name for path in Path("out").iterdir()] == ["row.json"]


def test_another_models_row_has_the_hash_of_its_weights(folder):
    Path("weak").mkdir()
    Path("weak/a").write_text("weights")
    row = {"kind": "backbone", "path": "weak", "dtype": "float32", "best_of": None}
    listing = f"{hashlib.sha256(b'weights').hexdigest()}  a\n"
    found, _ = source(folder, row)
    assert found["files"] == {"weak": hashlib.sha256(listing.encode()).hexdigest()}


def test_thresholds_decide_nothing_that_is_drawn(folder):
    row = tiny_params()["sources"]["best_of"]
    drawn, best = source(folder, row)
    assert drawn["row"] == {"kind": "self", "path": row["path"], "candidates": 4}
    assert best["raters"] == {name: {"row": name} for name in ("faithfulness", "pickscore")}
    other = {**row, "best_of": {**row["best_of"], "thresholds": {"pickscore": 3.0}}}
    assert source(folder, other)[0] == drawn


def test_a_users_pairs_become_a_table_for_each_skill(folder):
    pairs("a dog", "a cat")
    pairs("two owls", skill="common")
    source(folder, FOLDER)
    rows = rows_of("out/count.parquet", "images")
    assert [(r["prompt_id"], r["prompt"], r["width"]) for r in rows] == [
        ("count/0.png", "a dog", 8), ("count/1.png", "a cat", 8)
    ]  # fmt: skip
    (other,) = rows_of("out/common.parquet", "images")  # its file has a name of the other skill's
    assert (other["prompt_id"], other["prompt"]) == ("common/0.png", "two owls")


def test_a_caption_that_is_a_benchmarks_is_refused(folder):
    pairs("a dog", "A red  square!")
    with pytest.raises(
        RecordError, match=r"mine: count of pairs: 1 of its 2 .* count/1\.png = first/x"
    ):
        source(folder, FOLDER)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda at: (at / "1.txt").unlink(), r"1 without a caption \(1\.png\)"),
        (lambda at: shutil.copy(at / "0.png", at / "1.png"), r"1 the same as another \(0\.png = 1"),
        (lambda at: shutil.copy(at / "0.txt", at / "1.txt"), r"1 with the caption of another"),
        (lambda at: (at / "1.png").write_bytes(b"\x89PNG cut"), r"1 that cannot be read \(1\.png"),
    ],
)
def test_what_is_wrong_with_a_users_folder_stops_it_before_any_model(folder, spoil, words):
    pairs("a dog", "a cat")
    spoil(Path("pairs/count"))
    with pytest.raises(RecordError, match=f"pairs/count: of 2 pictures: {words}") as caught:
        source(folder, FOLDER)
    assert "\n" not in str(caught.value) and not Path("out").exists()


def test_a_users_folder_that_is_not_there_stops_it(folder):
    with pytest.raises(MissingDataError, match="nowhere: no such folder"):
        source(folder, {**FOLDER, "path": "nowhere"})
    assert not Path("out").exists()


def test_pictures_that_are_to_be_left_as_they_are(folder):
    pairs("a dog")
    source(folder, {**FOLDER, "size_px": None})
    (row,) = rows_of("out/count.parquet", "images")
    (pair,) = read_folder(Path("pairs/count"), None)
    assert (row["width"], row["height"]) == (12, 10) == pair.picture.shape[1::-1]
