"""The LMD benchmark's pass rates: counts by hand, intervals, pictures that are missing."""

import io

import numpy as np
import pytest
from PIL import Image

from selma.comparing.statistics import Bootstrap
from selma.core.errors import MissingDataError, RecordError
from selma.core.tables import write_table
from selma.correction.detectors.protocol import RawBox
from selma.correction.layout import Box
from selma.correction.lmd import Vocabulary, lmd_prompts, read_prompt
from selma.measuring.lmd import (
    Judged,
    LmdPictures,
    estimate_passes,
    judge_pictures,
    lmd_result,
    read_lmd_pictures,
)

WORDS = Vocabulary("A picture", ("square", "disc"), ("red", "blue"), (1, 2))
HOW = Bootstrap(2000, 0.95, 0)
SCORES = {"attribution": 0.45, "others": 0.2, "nms_iou": 0.15}
LEFT, RIGHT = Box(0, 0, 0.2, 0.2), Box(0.6, 0, 0.2, 0.2)


class Knows:
    """A detector that reports, of every picture, given boxes by the words of their query."""

    def __init__(self, *boxes):
        self.boxes, self.asked = boxes, []

    def detect(self, pictures, queries):
        self.asked += [list(one) for one in queries]
        return [
            [RawBox(own.index(words), *rest) for words, *rest in self.boxes if words in own]
            for own in queries
        ]


def judged(prompt, name="0"):
    def load():
        return Image.new("RGB", (4, 4))

    return Judged(name, prompt, read_prompt(prompt, WORDS), load)


def result(passes, *, missing=(), allow_partial=False):
    """Score pictures given as (prompt, whether it passes)."""
    found = [judged(prompt, str(n)) for n, (prompt, _) in enumerate(passes)]
    pictures = LmdPictures(found, list(missing))
    return lmd_result(pictures, [ok for _, ok in passes], HOW, allow_partial=allow_partial)


SQUARES, DISCS = "A picture without squares", "A picture without discs"
BOTH = "A picture with a square on the left and a disc on the right"


def test_passes_are_counted_over_pictures_and_intervals_are_of_distinct_prompts():
    """Two prompts, drawn twice: both the first (100 %), both (75 %) or both the second (0 %)."""
    found = result([(SQUARES, True)] * 3 + [(DISCS, False), (BOTH, True)])
    cell = found["categories"]["negation"]
    assert (cell["score"], cell["passed"], cell["pictures"], cell["distinct_prompts"]) == (
        75.0, 3, 4, 2
    )  # fmt: skip
    assert (cell["low"], cell["high"]) == (0.0, 100.0)
    spatial = found["categories"]["spatial"]
    assert (spatial["score"], spatial["low"], spatial["high"]) == (100.0, None, None)
    assert (found["score"], found["pictures"], found["distinct_prompts"]) == (80.0, 5, 3)
    assert found["low"] == pytest.approx(20.0) and found["high"] == pytest.approx(100.0)
    assert found["failed"] == ["3"] and found["coverage"] == 1
    assert "distinct prompts" in found["resampled"]


def test_a_difference_of_two_ways_has_its_interval_over_the_same_prompts():
    """Prompts +1, 0 and −1: both drawn the first (+1/2), one each (0), both the second (−1)."""
    asked = [("negation", SQUARES), ("negation", SQUARES), ("negation", DISCS), ("spatial", BOTH)]
    found = estimate_passes(asked, np.array([1.0, 0.0, -1.0, 0.0]), HOW)
    negation, spatial = found.categories["negation"], found.categories["spatial"]
    assert (negation.mean, negation.low, negation.high) == (0.0, -1.0, 0.5)
    assert (spatial.mean, spatial.low, spatial.pictures) == (0.0, None, 1)
    assert (found.whole.mean, found.whole.pictures, found.whole.distinct_prompts) == (0.0, 4, 3)
    assert (found.whole.low, found.whole.high) == (-0.75, 0.375)  # negation is 3 of 4 pictures


def test_where_all_prompts_agree_there_is_no_interval():
    found = result([(SQUARES, True), (DISCS, True)])
    assert (found["score"], found["low"], found["high"]) == (100.0, None, None)


def test_missing_pictures_are_refused_unless_that_is_allowed():
    with pytest.raises(MissingDataError, match=r"1 of 2 pictures are missing \(007\)"):
        result([(SQUARES, True)], missing=["007"])
    assert result([(SQUARES, True)], missing=["007"], allow_partial=True)["coverage"] == 0.5
    with pytest.raises(RecordError, match="none of the benchmark's pictures"):
        result([], missing=["007"], allow_partial=True)


@pytest.mark.parametrize(
    ("prompt", "boxes", "passes"),
    [
        (SQUARES, [], True),
        (SQUARES, [("image of a square", LEFT, 0.21)], False),
        (SQUARES, [("image of a square", LEFT, 0.19)], True),
        ("A picture with two squares",
         [("image of a square", LEFT, 0.3), ("image of a square", RIGHT, 0.3)], True),
        ("A picture with two squares",  # of one object, seen twice
         [("image of a square", LEFT, 0.3), ("image of a square", LEFT, 0.4)], False),
        (BOTH, [("image of a square", LEFT, 0.3), ("image of a disc", RIGHT, 0.3)], True),
        (BOTH, [("image of a square", RIGHT, 0.3), ("image of a disc", LEFT, 0.3)], False),
        ("A picture with a red square and a blue disc",
         [("image of a red square", LEFT, 0.5), ("image of a blue disc", RIGHT, 0.46)], True),
        ("A picture with a red square and a blue disc",
         [("image of a red square", LEFT, 0.5), ("image of a blue disc", RIGHT, 0.44)], False),
    ],
)  # fmt: skip
def test_a_picture_passes_by_what_is_seen_well_enough(prompt, boxes, passes):
    done = []
    detector = Knows(*boxes)
    found = judge_pictures(
        [judged(prompt)] * 3, detector, **SCORES, batch_size=2, advance=done.append
    )
    assert found == [passes] * 3 and done == [2, 1]
    assert all(text.startswith("image of a ") for text in detector.asked[0])


def put(folder, name, color="red"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), color).save(path)


def test_the_newest_round_that_counts_is_taken_from_a_folder(tmp_path):
    for name in ("000/initial_image.jpg", "000/round1.png", "000/round2.jpg", "001/round1.jpg"):
        put(tmp_path, name)
    (tmp_path / "002").mkdir()
    (tmp_path / "002/initial_image.jpg").write_bytes(b"no picture")
    places = [
        [one.load.path.name for one in read_lmd_pictures(tmp_path, WORDS, rounds).found]
        for rounds in (0, 1, 5)
    ]
    assert places == [
        ["initial_image.jpg"] * 2, ["round1.png", "round1.jpg", "initial_image.jpg"],
        ["round2.jpg", "round1.jpg", "initial_image.jpg"],
    ]  # fmt: skip
    pictures = read_lmd_pictures(tmp_path, WORDS, 1)
    assert pictures.wanted == 400 and pictures.missing[:2] == ["003", "004"]
    assert [one.name for one in pictures.found] == ["000", "001", "002"]
    with pytest.raises(RecordError, match=r"002/initial_image.jpg: no picture"):
        pictures.found[2].load()


def table(path, prompts):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, format="PNG")
    rows = [
        {"prompt_id": f"p{n:03d}", "sample": 0, "image": {"bytes": buffer.getvalue(), "path": None},
         "prompt": prompt, "seed": n, "width": 4, "height": 4, "sha256": "0"}
        for n, prompt in enumerate(prompts)
    ]  # fmt: skip
    write_table(path, "images", rows)
    return read_lmd_pictures(path, WORDS, 0)


def test_a_table_holds_each_prompt_as_often_as_the_benchmark_repeats_it(tmp_path):
    texts = [one.text for one in lmd_prompts(WORDS)]
    whole = table(tmp_path / "a.parquet", [f" {text}." for text in texts])
    assert (len(whole.found), whole.missing) == (400, [])
    assert whole.found[0].load().size == (4, 4) and whole.found[0].name == "p000/0"
    lacking = table(tmp_path / "b.parquet", texts[1:])
    assert lacking.missing == [texts[0]]
    with pytest.raises(RecordError, match=r"p000/0: 'two cats' is no prompt"):
        table(tmp_path / "c.parquet", ["two cats"])
