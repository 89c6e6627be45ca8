"""What is wrong with a search is told before its first trial."""

import pytest

from selma.core.errors import ConfigError
from selma.measuring.search_checks import check_search
from selma.merging.merge import Settings

SCALE = {"low": 0.5, "high": 2.0, "step": 0.5}
WEIGHT = {"low": 0.25, "high": 1.0, "step": 0.25}


def settings_of(tried):
    return Settings(
        method="magnitude_prune", weights={"a": tried.get("weights.a", 1.0)},
        scale=tried.get("scale", 1.0), rank=None, error_max=None, match_norm=False,
        parameters={"density": tried.get("parameters.density", 0.5)}, dtype="float32", seed=0,
    )  # fmt: skip


def check(sampler, **ranges):
    ranges = {name.replace("__", "."): one for name, one in ranges.items()}
    first = {name: (one["low"] + one["high"]) / 2 for name, one in ranges.items()}
    check_search("searches.mine", ranges, first, settings_of, sampler)


def test_a_sound_search_is_no_error():
    check("cmaes", weights__a=WEIGHT, scale=SCALE)
    check("tpe", scale=SCALE)
    check("tpe", scale={"low": -2.0, "high": -1.0, "step": 0.5})


def test_cmaes_needs_two_ranges():
    with pytest.raises(ConfigError, match=r"^searches.mine: sampler: cmaes needs 2 .* 1 \(scale\)"):
        check("cmaes", scale=SCALE)


def test_one_skills_weight_alone_changes_no_merge():
    with pytest.raises(ConfigError, match="skills: weights.a alone is searched"):
        check("tpe", weights__a=WEIGHT)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 0.0), (-0.5, 0.5)])
def test_a_scale_of_0_is_no_merge(low, high):
    with pytest.raises(ConfigError, match="scale: .* contains 0"):
        check("tpe", weights__a=WEIGHT, scale={"low": low, "high": high, "step": high - low})


@pytest.mark.parametrize(("low", "high", "end"), [(0.0, 1.0, "low"), (0.5, 1.5, "high")])
def test_both_ends_of_a_parameters_range_are_merges(low, high, end):
    density = {"low": low, "high": high, "step": 0.5}
    with pytest.raises(ConfigError, match=rf"parameters.density.{end}: .*density: must be above 0"):
        check("tpe", weights__a=WEIGHT, parameters__density=density)
