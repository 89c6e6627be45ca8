"""A search finds a known optimum, tries the same on the same seed, and goes on when killed."""

import itertools
import json

import pytest

from selma.core.errors import ConfigError, RecordError, SelmaError
from selma.measuring.searching import SAMPLERS, Trial, as_facts, best, search

RANGES = {name: {"low": 0.05, "high": 1.0, "step": 0.05} for name in ("a", "b", "c", "d")}
OPTIMUM = {"a": 0.1, "b": 0.3, "c": 0.9, "d": 0.7}
EQUAL = dict.fromkeys(RANGES, 0.5)
EVALUATIONS = 40


def hill(number, settings):
    """0 at the optimum, −0.37 at equal weights."""
    return -sum((settings[name] - OPTIMUM[name]) ** 2 for name in OPTIMUM)


@pytest.fixture
def run(tmp_path):
    """Search the hill; each call has a log of its own unless it names one."""
    numbers = itertools.count()

    def run_search(objective=hill, log=None, **changes):
        given = {"sampler": "tpe", "evaluations": EVALUATIONS, "seed": 0, "first": EQUAL}
        seen = []
        trials = search(
            objective, RANGES, **{**given, **changes}, on_trial=seen.append,
            log=log or tmp_path / f"{next(numbers)}.jsonl",
        )  # fmt: skip
        assert seen == trials
        return trials

    return run_search


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_it_comes_near_the_optimum_and_beats_equal_weights(run, sampler):
    for seed in range(3):
        trials = run(sampler=sampler, seed=seed)
        assert len(trials) == EVALUATIONS
        assert trials[0] == Trial(0, EQUAL, hill(0, EQUAL))
        found = best(trials)
        assert found.score == max(trial.score for trial in trials) > 0.5 * trials[0].score
        assert found.score == hill(0, found.settings)


def test_all_settings_are_in_their_ranges_on_their_steps(run):
    values = {v for trial in run() for v in trial.settings.values()}
    assert values <= {round(0.05 * k, 9) for k in range(1, 21)}
    assert len(values) > 10


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_the_seed_alone_decides_the_trials(run, sampler):
    assert run(sampler=sampler) == run(sampler=sampler)
    assert run(sampler=sampler) != run(sampler=sampler, seed=1)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
@pytest.mark.parametrize("cut", ["between", "half a line"])
def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(run, sampler, cut, tmp_path):
    whole, log, measured = run(sampler=sampler), tmp_path / "log.jsonl", []

    def dies(number, settings):
        if number == 23:
            raise KeyboardInterrupt
        return hill(number, settings)

    with pytest.raises(KeyboardInterrupt):
        run(dies, log, sampler=sampler)
    if cut == "half a line":
        with log.open("a") as file:
            file.write('{"number": 23, "sett')

    def counts(number, settings):
        measured.append(number)
        return hill(number, settings)

    assert run(counts, log, sampler=sampler) == whole
    assert measured[0] == 23
    assert len(log.read_text().splitlines()) == EVALUATIONS
    assert run(counts, log, sampler=sampler) == whole


def test_what_was_tried_before_is_not_measured_again_but_is_a_trial(tmp_path):
    measured = []

    def counts(number, settings):
        measured.append(tuple(settings.values()))
        return 0.0

    narrow = {"low": 0.5, "high": 1.0, "step": 0.5}
    trials = []
    ranges = {"a": narrow, "b": narrow}
    search(
        counts, ranges, sampler="uniform", evaluations=30, seed=0, first={"a": 0.5, "b": 0.5},
        log=tmp_path / "narrow.jsonl", on_trial=trials.append,
    )  # fmt: skip
    assert len(trials) == 30
    assert len(measured) == len(set(measured)) <= 4


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_stops_the_search_and_names_the_trial(run, score, tmp_path):
    log = tmp_path / "log.jsonl"
    with pytest.raises(SelmaError, match=rf"trial 2: the score is {score} at a 0\.\d+, b .*ranges"):
        run(lambda number, _: score if number == 2 else 0.0, log)
    assert len(log.read_text().splitlines()) == 2


def test_a_log_of_another_search_or_a_damaged_one_is_refused(run, tmp_path):
    log = tmp_path / "log.jsonl"
    run(log=log, evaluations=3)
    with pytest.raises(RecordError, match=r"trial [12] was a .*, now it is a .*SELMA_FRESH"):
        run(log=log, seed=5, evaluations=3)
    log.write_text(json.dumps({"number": 0}) + "\n")
    with pytest.raises(RecordError, match="not a log of trials"):
        run(log=log)


def test_an_unknown_sampler_is_refused_with_the_list(run):
    with pytest.raises(ConfigError, match="unknown search sampler 'tpee'.*choose one of: .*cmaes"):
        run(sampler="tpee")


def test_of_equal_trials_the_first_is_the_best_and_the_gain_is_over_the_first_of_all():
    trials = [Trial(0, {"a": 1.0}, 2.0), Trial(1, {"a": 0.5}, 3.5), Trial(2, {"a": 0.2}, 3.5)]
    facts = as_facts(trials)
    assert facts["best"] == {"number": 1, "settings": {"a": 0.5}, "score": 3.5}
    assert facts["gain_on_dev"] == 1.5
    assert [trial["number"] for trial in facts["trials"]] == [0, 1, 2]
