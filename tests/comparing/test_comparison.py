"""Verdicts follow one rule, and what the compare stage writes says what was compared with what."""

import random
from dataclasses import replace

import pytest

from selma.comparing import summary
from selma.comparing.categories import split
from selma.comparing.comparison import add_verdicts, compare_parts, difference, summarise_model
from selma.comparing.items import item_scores
from selma.comparing.power import minimum_detectable_effect
from selma.comparing.statistics import Bootstrap, holm
from selma.core.errors import ConfigError, RecordError

HOW = Bootstrap(resamples=500, confidence=0.95, seed=0)
ABOUT = {
    "version": "v", "policy": "official", "unit": "percent", "factor": 100.0, "judge": "pocket",
    "revision": "1", "benchmark": "b", "title": "DSG", "metric": "dsg",
}  # fmt: skip


def scores(model, value, measure="dsg", skills=("common", "count"), samples=2, seed=0, **about):
    """Score ten prompts a skill; `value` is the level of each skill, give or take a tenth."""
    chance = random.Random(f"{seed}{model}")
    rows = [
        {
            "item_id": f"{skill}_{number}",
            "sample": sample,
            "source": skill,
            "score": value.get(skill, 0.5) + chance.uniform(-0.1, 0.1),
            "weight": 1.0,
            "details": "{}",
        }
        for skill in skills
        for number in range(10)
        for sample in range(samples)
    ]
    return item_scores(measure, model, rows, {**ABOUT, "measure": measure, **about})


def compared(first, second, how=HOW, **options):
    return compare_parts(split(first), split(second), how, **options)


def record(skill, p_value, low, high, **changes):
    plain = {"confidence": 0.95, "margin": 0.0, "standard_error": 1.0, "n_items": 100}
    return {"skill": skill, "p_value": p_value, "low": low, "high": high, **plain, **changes}


def test_skills_are_judged_by_holms_p_value_and_the_whole_by_its_own():
    records = [
        record("all", 0.04, 0.1, 2.0),
        record("a", 0.04, 0.1, 2.0),
        record("b", 0.01, -3.0, -0.1),
        record("c", 0.5, -1.0, 1.0),
    ]
    judged = add_verdicts(records)
    assert [row["p_value_holm"] for row in judged] == [0.04, *holm([0.04, 0.01, 0.5])]
    assert [row["verdict"] for row in judged] == ["better", "undecided", "worse", "undecided"]
    whole, skill = (row["minimum_detectable_effect"] for row in judged[:2])
    assert whole == pytest.approx(2.8016, abs=1e-4)
    assert skill == pytest.approx(minimum_detectable_effect(10, 100, alpha=0.05 / 3))


def test_a_verdict_needs_the_interval_beyond_the_margin():
    found = [
        add_verdicts([record("all", 0.001, low, low + 1, margin=1.0)])[0]["verdict"]
        for low in (1.1, 0.9, -1.9, -2.1)
    ]
    assert found == ["better", "undecided", "undecided", "worse"]


def test_a_verdict_needs_a_p_value_as_small_as_the_confidence_asks():
    def verdict(p_value, confidence):
        return add_verdicts([record("all", p_value, 0.1, 1.0, confidence=confidence)])[0]["verdict"]

    assert [verdict(0.05, 0.95), verdict(0.051, 0.95)] == ["better", "undecided"]
    assert [verdict(0.02, 0.99), verdict(0.09, 0.9)] == ["undecided", "better"]


def test_a_single_prompt_has_no_detectable_effect():
    (row,) = add_verdicts([record("all", 1.0, 1.0, 1.0, standard_error=None, n_items=1)])
    assert row["minimum_detectable_effect"] is None


def test_differences_that_are_all_alike_have_no_detectable_effect():
    alike = [record("all", 1.0, 0.0, 0.0, standard_error=error) for error in (0.0, 1e-15)]
    assert [add_verdicts([row])[0]["minimum_detectable_effect"] for row in alike] == [None, None]
    (row,) = add_verdicts([record("all", 1.0, -1.0, 1.0, margin=2.0, standard_error=0.0)])
    assert row["minimum_detectable_effect"] is None


def test_a_comparison_is_first_less_second_and_says_on_how_much():
    merged, base = scores("merged", {"count": 0.8}, seed=2), scores("base", {}, seed=2)
    whole, common, count = compared(merged, base)
    assert [row["skill"] for row in (whole, common, count)] == ["all", "common", "count"]
    assert count["difference"] == pytest.approx(
        merged.of_skill("count").mean - base.of_skill("count").mean
    )
    assert (count["first"], count["second"]) == (
        merged.of_skill("count").mean,
        base.of_skill("count").mean,
    )
    assert count["low"] < count["difference"] < count["high"]
    assert (count["wins"], count["ties"], count["losses"]) == (10, 0, 0)
    assert (count["n_items"], whole["n_items"], whole["n_samples"]) == (10, 20, 2)
    assert (count["model"], count["baseline"]) == ("merged", "base")
    assert (count["judge"], count["policy"], count["unit"]) == ("pocket@1", "official", "percent")
    assert (count["verdict"], common["verdict"]) == ("better", "undecided")
    back = compared(base, merged)[2]
    assert (back["difference"], back["verdict"]) == (-count["difference"], "worse")


def test_parts_are_one_family_and_the_whole_is_none_of_it():
    rows = compared(scores("merged", {"count": 0.55}), scores("base", {}))
    want = holm([row["p_value"] for row in rows[1:]])
    assert [row["p_value_holm"] for row in rows] == [rows[0]["p_value"], *want]
    assert min(want) == 2 * min(row["p_value"] for row in rows[1:])


def test_confidence_resamples_margin_and_seed_all_reach_the_numbers():
    merged, base = scores("merged", {"count": 0.7}), scores("base", {})
    plain = compared(merged, base)[0]
    wide = compared(merged, base, Bootstrap(500, 0.99, 0))[0]
    assert wide["low"] < plain["low"] < plain["high"] < wide["high"]
    assert wide["confidence"] == 0.99
    assert compared(merged, base, Bootstrap(400, 0.95, 0))[0]["resamples"] == 400
    assert compared(merged, base, Bootstrap(500, 0.95, 1))[0]["low"] != plain["low"]
    strict = compared(merged, base, margin=90.0)[0]
    assert (strict["margin"], strict["p_value"], strict["verdict"]) == (90.0, 1.0, "undecided")
    assert strict["low"] == plain["low"]


def test_each_number_draws_by_its_own_name():
    same = {"seed": 1}
    one, other = scores("a", {}, **same), scores("b", {}, **same)
    twin = scores("a", {}, measure="tifa", **same)
    ends = [summarise_model(s, skill, HOW)["low"] for s, skill in ((one, "all"), (twin, "all"))]
    assert ends[0] != ends[1]
    against = [difference(one, twin, "all", HOW) for twin in (other, replace(other, model="c"))]
    assert against[0]["difference"] == against[1]["difference"]
    assert against[0]["low"] != against[1]["low"]
    assert summarise_model(replace(one, model="b"), "all", HOW)["low"] != ends[0]
    judges = [summarise_model(one, "all", HOW, kind="judge", part=name)["low"] for name in "xy"]
    assert judges[0] != judges[1]
    assert difference(one, other, "all", HOW)["low"] != difference(one, other, "x", HOW)["low"]


def test_a_part_that_only_one_model_has_is_refused_or_left_out():
    whole = scores("merged", {})
    part = scores("base", {}, skills=("common",))
    with pytest.raises(RecordError, match="10 items are in only one"):
        compared(whole, part)
    rows = compared(whole, part, allow_partial=True)
    assert [(row["skill"], row["n_items"]) for row in rows] == [("all", 10), ("common", 10)]
    same = split(whole)
    with pytest.raises(RecordError, match="only one of merged and merged has 'count'"):
        compare_parts(same, {name: same[name] for name in ("all", "common")}, HOW)


def test_numbers_out_of_range_are_refused():
    for numbers in ((99, 0.95), (500, 0.5), (500, 1.0), (500, 95)):
        with pytest.raises(ConfigError, match="a confidence between 0.5 and 1 and at least 100"):
            Bootstrap(*numbers, 0)


LEVELS = {"base": 0.3, "merged": 0.7, "mixture": 0.6, "expert": 0.5}


def table(models=tuple(LEVELS), measures=("pick", "dsg"), **options):
    return {
        (measure, model): scores(
            model, dict.fromkeys(("common", "count"), LEVELS[model]), measure, **options
        )
        for measure in measures
        for model in models
    }


def summarised(given, subject="merged", reference="base", against=("mixture",), trained=None):
    return summary.summarise(
        given, subject=subject, reference=reference, against=against,
        trained_against=trained or {}, bootstrap=HOW,
    )  # fmt: skip


def test_the_subject_meets_reference_and_rivals_and_all_others_meet_the_reference():
    found = summarised(table())
    pairs = [
        (row["measure"], row["model"], row["baseline"])
        for row in found["comparisons"]
        if row["skill"] == "all"
    ]
    assert pairs == [
        (measure, *pair)
        for measure in ("pick", "dsg")
        for pair in (
            ("merged", "base"), ("merged", "mixture"), ("mixture", "base"), ("expert", "base"),
        )
    ]  # fmt: skip
    assert [row["skill"] for row in found["comparisons"][:3]] == ["all", "common", "count"]
    assert found["models"] == ["base", "merged", "mixture", "expert"]
    assert (found["subject"], found["reference"], found["against"]) == (
        "merged", "base", ["mixture"],
    )  # fmt: skip
    assert found["measures"][0] == {
        "name": "pick", "title": "DSG", "metric": "dsg", "unit": "percent", "judge": "pocket@1",
        "policy": "official", "version": "v", "benchmark": "b",
    }  # fmt: skip
    assert [one["name"] for one in found["measures"]] == ["pick", "dsg"]
    assert len(found["scores"]) == 2 * 4 * 3


def test_the_stage_writes_the_verdicts_of_the_command_rounded_to_six_digits():
    given = table()
    found = summarised(given)["comparisons"]
    want = compared(given["pick", "merged"], given["pick", "base"])
    for row, one in zip(found, want, strict=False):
        assert row["verdict"] == one["verdict"]
        assert row["difference"] == round(one["difference"], 6) != one["difference"]
        assert row["p_value_holm"] == round(one["p_value_holm"], 6)


def test_the_headline_names_scores_gains_and_rivals():
    found = summarised(table(measures=("dsg",)))
    flat = summary.headline(found)
    mean = {r["model"]: r["score"] for r in found["scores"] if r["skill"] == "all"}
    assert flat == {
        "dsg": pytest.approx(mean["merged"], abs=1e-4),
        "dsg_base": pytest.approx(mean["base"], abs=1e-4),
        "dsg_mixture": pytest.approx(mean["mixture"], abs=1e-4),
        "dsg_expert": pytest.approx(mean["expert"], abs=1e-4),
        "dsg_gain": pytest.approx(mean["merged"] - mean["base"], abs=2e-4),
        "dsg_over_mixture": pytest.approx(mean["merged"] - mean["mixture"], abs=2e-4),
        "dsg_mixture_gain": pytest.approx(mean["mixture"] - mean["base"], abs=2e-4),
        "dsg_expert_gain": pytest.approx(mean["expert"] - mean["base"], abs=2e-4),
    }
    assert all(value == round(value, 4) for value in flat.values())


def test_two_numbers_of_one_name_are_refused(monkeypatch):
    monkeypatch.setitem(LEVELS, "gain", 0.5)
    with pytest.raises(ConfigError, match="two numbers are called 'dsg_gain'"):
        summary.headline(summarised(table(("base", "merged", "gain"), ("dsg",)), against=()))


def test_skills_and_plots_hold_what_their_readers_look_for():
    found = summarised(table(measures=("dsg", "tifa")))
    skills = summary.by_skill(found)
    assert list(skills) == ["dsg", "tifa"]
    want = {
        row["skill"]: round(row["score"], 4)
        for row in found["scores"]
        if (row["measure"], row["model"]) == ("tifa", "merged") and row["skill"] != "all"
    }
    assert skills["tifa"] == want and list(want) == ["common", "count"]
    lines = summary.plot_csv(found).splitlines()
    first = found["scores"][0]
    ends = ",".join(f"{first[name]:.4f}" for name in ("score", "low", "high"))
    assert lines[:2] == ["measure,model,skill,score,low,high", f"dsg,base,all,{ends}"]
    assert len(lines) == 1 + 2 * 4 * 3


def test_a_model_by_itself_and_measures_without_skills_work():
    given = table(("base",), ("dsg",), skills=("",))
    found = summarised(given, subject="base", against=())
    assert found["comparisons"] == []
    assert list(summary.headline(found)) == ["dsg"]
    assert summary.by_skill(found) == {"dsg": {}}
    assert len(summary.plot_csv(found).splitlines()) == 2


def test_a_reference_that_is_the_subject_meets_only_its_rivals():
    found = summarised(table(("base", "mixture"), ("dsg",)), subject="base", against=["mixture"])
    pairs = {(row["model"], row["baseline"]) for row in found["comparisons"]}
    assert pairs == {("base", "mixture"), ("mixture", "base")}


def test_a_name_that_is_no_model_is_refused_with_the_list():
    for names in ({"subject": "mergd"}, {"reference": "bose"}, {"against": ["mixtur"]}):
        with pytest.raises(ConfigError, match="unknown model to compare .*choose one of: base,"):
            summarised(table(measures=("dsg",)), **names)


def test_the_stage_wants_as_many_pictures_of_both():
    given = table(("base", "merged"), ("dsg",))
    given["dsg", "base"] = scores("base", {}, samples=1)
    with pytest.raises(RecordError, match="merged and base have different numbers of pictures"):
        summarised(given, against=())


@pytest.mark.parametrize(("p_value", "verdict"), [(0.05, "better"), (0.0501, "undecided")])
def test_a_p_value_of_exactly_alpha_is_still_a_finding(p_value, verdict):
    (record, *_) = compared(scores("a", {"common": 0.9, "count": 0.9}), scores("b", {}))
    (judged,) = add_verdicts([record | {"p_value": p_value, "skill": "all"}])
    assert judged["verdict"] == verdict


def test_without_a_margin_a_difference_is_tested_against_none():
    first, second = scores("a", {"common": 0.7}), scores("b", {})
    assert difference(first, second, "all", HOW) == difference(first, second, "all", HOW, 0.0)
