"""Pairs are a prompt's best and worst picture, and what is left out is counted."""

import pytest

from selma.core.errors import RecordError
from selma.pictures.pairs import choose_pairs, describe_ratings


def rated(prompt_id, *ratings):
    return [
        {"prompt_id": prompt_id, "sample": sample, "rating": rating}
        for sample, rating in enumerate(ratings)
    ]


def test_the_best_is_paired_with_the_worst_and_what_is_too_close_is_counted():
    rows = [*rated("b", 0.2, 0.9, 0.9, 0.1), *rated("a", 1.0, 1.04), *rated("c", 2.0, 2.0)]
    rows += [*rated("d", 7.0), *rated("e", 0.5, 0.0)]
    choice = choose_pairs(reversed(rows), 0.05)
    assert choice.pairs == [(("b", 1), ("b", 3)), (("e", 0), ("e", 1))]
    assert choice.counts == {"prompts": 5, "pairs": 2, "too_close": 3}
    assert len(choose_pairs(rows, 0.0).pairs) == 3  # equal ratings are never a pair


def test_no_pair_at_all_is_told_in_a_line():
    with pytest.raises(RecordError, match=r"of 1 prompts none has two pictures .* 0\.5 or more"):
        choose_pairs(rated("a", 1.0, 1.4), 0.5)


def test_ratings_are_described_by_hand():
    rows = [*rated("a", 1.0, 3.0), *rated("b", 2.0, 2.0)]
    assert describe_ratings(rows) == {"rating": 2.0, "gap": 1.0, "prompts_without_gap": 1}
    assert describe_ratings([]) == {}
