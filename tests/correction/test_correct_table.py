"""An images table is corrected in shards that are kept, and its results are counted."""

import hashlib
import json

import numpy as np
import pytest
from toy_world import THRESHOLDS, WAY, WORDS, SeesAll, llm, picture, squares_of, tools

from selma.core.errors import BackendError, RecordError
from selma.core.schemas import KINDS, checked_rows
from selma.core.seeds import derive_seed
from selma.core.tables import read_table, write_table
from selma.correction.summary import summarise
from selma.correction.tables import correct_table, passed_through
from selma.pictures.png import decode_png, encode_png

TWO, NONE = "A picture with two squares", "A picture without squares"
PICTURES = {
    "a": (TWO, picture(("red", 0, 0))),
    "b": (NONE, picture(("blue", 2, 2))),
    "c": (TWO, picture(("blue", 0, 0), ("red", 3, 3))),
    "d": (f"{TWO} nonsense", picture(("red", 0, 0))),
    "e": ("red squares", picture(("red", 1, 1), size=(40, 30))),
    "f": ("green squares, carelessly", picture(("red", 1, 1))),
}


def row(name):
    prompt, image = PICTURES[name]
    data = encode_png(np.asarray(image))
    return {
        "prompt_id": name, "sample": 0, "image": {"bytes": data, "path": None}, "prompt": prompt,
        "seed": 3, "width": image.width, "height": image.height,
        "sha256": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip


ROWS = [row(name) for name in PICTURES]


def run(folder, *, keep="all", batch_size=2, rows=ROWS, **given):
    folder.mkdir(exist_ok=True)
    done = []
    table = correct_table(
        rows, tools(folder, **given), WAY, names=("correct", "count"), seed=7,
        thresholds=THRESHOLDS, words=WORDS, keep=keep, batch_size=batch_size, directory=folder,
        advance=done.append,
    )  # fmt: skip
    assert sum(done) == len(rows)
    return table


def by_name(rows):
    return {row["prompt_id"]: row for row in rows}


def test_rows_say_what_became_of_each_picture(tmp_path):
    table = run(tmp_path)
    found = by_name(table.corrections)
    verdicts = {name: one["verdict"] for name, one in found.items()}
    assert verdicts == {
        "a": "fixed", "b": "fixed", "c": "pass_before", "d": "failed", "e": "fixed",
        "f": "edited",
    }  # fmt: skip
    a, d = found["a"], found["d"]
    assert (a["add"], a["remove"], a["rounds"], a["chosen_round"]) == (1, 0, 1, 1)
    assert (a["passes_before"], a["passes_after"]) == (0, 1)
    assert (d["passes_before"], d["passes_after"], d["llm_requests"], d["llm_refused"]) == (
        None, None, 2, 2
    )  # fmt: skip
    trace = json.loads(a["trace"])
    assert trace["seed"] == derive_seed(7, "correct", "count", "a", 0)
    assert [said["step"] for said in trace["llm"]] == ["parse", "correct 1"]
    assert len(table.exchanges) == sum(one["llm_requests"] for one in table.corrections)
    assert checked_rows(table.corrections, KINDS["corrections"], "here") == table.corrections


def test_pictures_that_stay_are_the_same_rows_and_others_are_described_anew(tmp_path):
    images = by_name(run(tmp_path).images)
    assert images["c"] == by_name(ROWS)["c"] and images["d"] == by_name(ROWS)["d"]
    made = images["a"]
    data = made["image"]["bytes"]
    assert squares_of(picture_of(made)) == {("red", 0, 0), ("green", 1, 0)}
    assert made["sha256"] == hashlib.sha256(data).hexdigest() and made["seed"] == 3
    assert (images["e"]["width"], images["e"]["height"]) == (40, 30)


def picture_of(one):
    from PIL import Image

    return Image.fromarray(decode_png(one["image"]["bytes"], "x"))


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("all", {"a": "result", "b": "result", "c": "result", "d": "result", "e": "result",
            "f": "result"}),
        ("passing", {"a": "result", "b": "result", "c": "result", "e": "result"}),
        ("fixed_or_original", {"a": "result", "b": "result", "c": "original", "d": "original",
            "e": "result", "f": "original"}),
    ],
)  # fmt: skip
def test_what_is_kept(tmp_path, keep, kept):
    table = run(tmp_path, keep=keep)
    found = {one["prompt_id"]: one["kept"] for one in table.corrections if one["kept"]}
    assert found == kept and sorted(by_name(table.images)) == sorted(kept)


def test_shards_of_any_size_and_restarts_make_the_same_table(tmp_path):
    whole = run(tmp_path / "whole", batch_size=5)
    detector = SeesAll()

    def dying(request):
        if "without" in request.text.split("User Prompt: ")[-1]:
            raise KeyboardInterrupt
        return llm(request)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "torn", batch_size=1, answer=dying)
    assert (tmp_path / "torn/shard-000000.json").exists()
    (tmp_path / "torn/shard-000001.json").write_text("{")  # cut short
    assert run(tmp_path / "torn", batch_size=1, detector=detector) == whole
    looks = len(detector.calls)
    assert run(tmp_path / "torn", batch_size=1, detector=detector) == whole
    assert len(detector.calls) == looks


def test_shards_of_other_pictures_are_not_taken_up(tmp_path):
    run(tmp_path, batch_size=1, rows=ROWS[:1])
    other = {**ROWS[0], **{k: ROWS[1][k] for k in ("image", "sha256")}}
    table = run(tmp_path, batch_size=1, rows=[other])
    assert table.corrections[0]["sha256_before"] == ROWS[1]["sha256"]


def test_an_llm_that_is_out_of_order_stops_all_and_one_that_refuses_does_not(tmp_path):
    def refusing(request):
        if "nonsense" in request.text:
            raise BackendError("the server refused")
        return llm(request)

    def away(request):
        raise BackendError("no server")

    assert by_name(run(tmp_path / "a", answer=refusing).corrections)["d"]["verdict"] == "failed"
    with pytest.raises(BackendError, match="no server"):
        run(tmp_path / "b", answer=away)
    assert run(tmp_path / "b") == run(tmp_path / "c")  # nothing was kept of it


def test_no_picture_left_is_an_error(tmp_path):
    with pytest.raises(RecordError, match="keeps none of 1 pictures of correct/count"):
        run(tmp_path, keep="passing", rows=[row("d")])


def test_without_rounds_every_picture_is_skipped(tmp_path):
    rows = passed_through(ROWS)
    write_table(tmp_path / "t.parquet", "corrections", rows)
    assert read_table(tmp_path / "t.parquet", "corrections") == rows
    numbers = summarise(rows)
    assert (numbers["pictures"], numbers["kept"], numbers["changed"]) == (6, 6, 0)
    assert numbers["verdicts"]["skipped"] == 6 and "pass_before" not in numbers


def test_the_numbers_are_those_of_the_table(tmp_path):
    numbers = summarise(run(tmp_path, keep="passing").corrections)
    assert numbers["verdicts"] | {"fixed": 3, "pass_before": 1, "edited": 1} == numbers["verdicts"]
    assert (numbers["pictures"], numbers["kept"], numbers["changed"]) == (6, 4, 3)
    assert (numbers["judged"], numbers["pass_before"], numbers["pass_after"]) == (3, 1 / 3, 1)
    assert numbers["operations"] == {"remove": 3, "add": 3, "move": 2, "attribute": 0}
    assert numbers["edits"]["add"] == {"asked": 3, "done": 1}  # of f, in both rounds, nothing
    assert (numbers["failures"], numbers["llm_refused"]) == (1, 2)
