"""Of a prompt's pictures the best is kept, if it is good enough."""

import math

import pytest

from selma.core.errors import RecordError
from selma.measuring.choosing import all_kept, choose_best

ROWS = [
    {"prompt_id": prompt, "sample": sample} for prompt in ("a", "b", "c") for sample in range(3)
]
RATINGS = {
    "faith": [1.0, 1.0, 0.5, 0.8, 0.9, 0.1, math.nan, math.nan, math.nan],
    "looks": [2.0, 3.0, 9.0, 4.0, 1.0, 8.0, 5.0, 6.0, 7.0],
}


def chosen(thresholds, rank_by, ratings=RATINGS, rows=ROWS):
    found = choose_best(rows, ratings, thresholds=thresholds, rank_by=rank_by)
    return [(row["prompt_id"], row["sample"]) for row in found.rows], found.counts


def test_the_best_of_those_that_pass_is_kept_and_of_equals_the_next_rater_decides():
    kept, counts = chosen({"faith": 0.8}, ["faith", "looks"])
    assert kept == [("a", 1), ("b", 1)]
    assert (counts["prompts"], counts["kept"], counts["keep_rate"]) == (3, 2, 2 / 3)
    assert (counts["passing"], counts["unrated"], counts["pass_rate"]) == (4, 3, {"faith": 4 / 9})
    assert counts["mean_kept"] == {"faith": 0.95, "looks": 2.0}
    assert counts["mean"]["faith"] == pytest.approx(4.3 / 6)


def test_the_first_rater_decides_whatever_the_others_say():
    assert chosen({}, ["looks"])[0] == [("a", 2), ("b", 2)]  # nobody could ask about c
    assert chosen({"faith": 0.8}, ["looks"])[0] == [("a", 1), ("b", 0)]


def test_all_thresholds_must_be_reached():
    assert chosen({"faith": 0.8, "looks": 2.5}, ["faith"])[0] == [("a", 1), ("b", 0)]


def test_of_equals_the_first_drawn_is_kept_in_any_order_of_the_rows():
    same = {"faith": [1.0] * 9}
    for rows in (ROWS, ROWS[::-1]):
        kept, counts = chosen({}, ["faith"], same, rows)
        assert sorted(kept) == [("a", 0), ("b", 0), ("c", 0)]
        assert counts["keep_rate"] == 1.0


def test_if_none_passes_it_says_so():
    with pytest.raises(RecordError, match=r"of 9 pictures none passes \(faith 1\.1; 3 could not"):
        chosen({"faith": 1.1}, ["faith"])


def test_where_nothing_is_chosen_all_is_kept():
    assert all_kept(ROWS) == {"pictures": 9, "prompts": 3, "kept": 3, "keep_rate": 1.0}
