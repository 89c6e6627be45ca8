"""Score tables become one value per prompt, and headline numbers that say what they are."""

import json
import random

import pytest

from selma.comparing import summary
from selma.comparing.categories import category_scores, question_scores
from selma.comparing.comparison import (
    METRICS,
    Bootstrap,
    check_same_making,
    compare_models,
    item_scores,
    on_common_items,
    summarise_model,
)
from selma.comparing.multiple import holm
from selma.comparing.power import minimum_detectable_effect
from selma.comparing.verdicts import add_verdicts, compare_skills
from selma.core.errors import MissingDataError, RecordError

BOOTSTRAP = Bootstrap(resamples=500, confidence=0.95, seed=0)
BENCHMARK = [
    {"item_id": f"{skill}_{number}", "prompt": "", "source": skill, "questions": [{}]}
    for skill in ("common", "count")
    for number in range(10)
]
ABOUT = {
    "metric": "dsg", "version": "v", "policy": "official", "unit": "share of questions",
    "judge": "pocket", "revision": "1", "preprocessing": "none", "benchmark": "pocket-dsg",
    "libraries": {"torch": "2.13.0"},
}  # fmt: skip


def rows(value, weight=1.0):
    return [
        {
            "item_id": item["item_id"],
            "sample": sample,
            "source": item["source"],
            "score": value(item["source"], sample),
            "weight": weight,
            "details": "{}",
        }
        for item in BENCHMARK
        for sample in (0, 1)
    ]


def scores(model, value, **about):
    return item_scores("dsg", model, rows(value), ABOUT | about, BENCHMARK)


def test_a_prompts_value_is_the_mean_of_its_samples_in_percent():
    got = scores("base", lambda skill, sample: 0.25 + 0.5 * sample)
    assert got.values.tolist() == [50.0] * 20
    assert (got.n_samples, got.unit, got.about["judge"]) == (2, "percent", "pocket")


def test_a_comparison_says_what_it_compares_and_on_how_much():
    merged = scores("merged", lambda skill, sample: 0.75 if skill == "count" else 0.5)
    base = scores("base", lambda skill, sample: 0.5)
    row = compare_models(merged, base, "count", BOOTSTRAP)
    assert (row["difference"], row["low"], row["high"]) == (25.0, 25.0, 25.0)
    assert (row["wins"], row["ties"], row["losses"]) == (10, 0, 0)
    assert (row["judge"], row["policy"], row["unit"]) == ("pocket@1", "official", "percent")
    wanted = {"version", "confidence", "resamples", "n_items", "n_samples", "p_value"}
    assert wanted <= set(row)
    assert compare_models(merged, base, "all", BOOTSTRAP)["difference"] == 12.5


def test_a_judge_without_a_revision_is_shown_by_its_name():
    got = scores("base", lambda skill, sample: 0.5, revision="")
    assert summarise_model(got, "all", BOOTSTRAP)["judge"] == "pocket"


def test_the_order_of_the_rows_changes_no_byte():
    value = {(s, n): random.Random(f"{s}{n}").random() for s in ("common", "count") for n in (0, 1)}
    given = rows(lambda skill, sample: value[skill, sample])
    shuffled = random.Random(0).sample(given, len(given))
    results = [
        json.dumps(summarise_model(item_scores("dsg", "base", r, ABOUT), "all", BOOTSTRAP))
        for r in (given, shuffled)
    ]
    assert results[0] == results[1]


def test_a_prompt_counts_once_however_many_pictures_it_has():
    given = rows(lambda skill, sample: 1.0 if skill == "count" else 0.0)
    fewer = [row for row in given if row["source"] == "common" or row["sample"] == 0]
    got = item_scores("dsg", "base", fewer, ABOUT)
    assert (got.mean, got.n_samples, sum(got.pictures)) == (50.0, 1.5, 30)


def test_a_metric_that_is_not_known_is_shown_as_it_is():
    given = rows(lambda skill, sample: 0.31)
    got = item_scores("clipscore", "base", given, ABOUT | {"metric": "clipscore", "unit": "cosine"})
    assert (got.mean, got.unit) == (pytest.approx(0.31), "cosine")


def test_a_prompt_that_lacks_a_score_stops_the_comparison():
    given = rows(lambda skill, sample: 1.0)[:-1]
    with pytest.raises(MissingDataError, match=r"dsg for base: 1 of 20 items lack.*'count_9'"):
        item_scores("dsg", "base", given, ABOUT, BENCHMARK)
    with pytest.raises(MissingDataError, match="dsg for base: there are none"):
        item_scores("dsg", "base", [], ABOUT)


def test_a_table_of_another_metric_or_without_a_judge_is_refused():
    given = rows(lambda skill, sample: 1.0)
    with pytest.raises(RecordError, match="the table holds scores of 'dsg'"):
        item_scores("tifa", "base", given, ABOUT)
    about = {key: value for key, value in ABOUT.items() if key != "judge"}
    with pytest.raises(RecordError, match="does not tell its judge"):
        item_scores("dsg", "base", given, about)


def test_pictures_of_one_prompt_with_two_weights_are_refused():
    given = rows(lambda skill, sample: 1.0)
    given[0]["weight"] = 3.0
    with pytest.raises(RecordError, match="'common_0' has several sources or weights"):
        item_scores("dsg", "base", given, ABOUT)


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("version", "w"),
        ("policy", "selma"),
        ("judge", "mplug"),
        ("revision", "2"),
        ("judge_settings", {"dtype": "bfloat16"}),
        ("preprocessing", {"resample": "bicubic"}),
        ("benchmark", "dsg-1k"),
    ],
)
def test_scores_made_in_different_ways_are_not_compared_and_the_message_says_in_what(key, other):
    merged = scores("merged", lambda skill, sample: 1.0)
    base = scores("base", lambda skill, sample: 1.0, **{key: other})
    with pytest.raises(RecordError, match=rf"cannot be compared: {key} is .* and "):
        compare_models(merged, base, "all", BOOTSTRAP)


def test_a_benchmark_is_known_by_its_content_if_both_tell_it_else_by_its_name():
    def made(name, content=None):
        told = {"benchmark_sha256": content} if content else {}
        return scores("m", lambda *_: 1.0, benchmark=name, **told)

    check_same_making(made("a.csv", "1"), made("b.csv", "1"))
    check_same_making(made("a.csv", "1"), made("a.csv"))
    with pytest.raises(RecordError, match='benchmark_sha256 is "1" and "2"'):
        check_same_making(made("a.csv", "1"), made("a.csv", "2"))
    with pytest.raises(RecordError, match='benchmark is "a.csv" and "b.csv"'):
        check_same_making(made("a.csv", "1"), made("b.csv"))


def test_other_libraries_do_not_stop_a_comparison():
    merged = scores("merged", lambda skill, sample: 1.0)
    check_same_making(merged, scores("base", lambda *_: 1.0, libraries={"torch": "2.12.0"}))


def test_only_common_prompts_are_compared_and_only_if_that_was_allowed():
    whole = scores("merged", lambda skill, sample: 0.5)
    part = whole.of_items(set(whole.item_ids) - {"count_3", "common_1"})
    with pytest.raises(RecordError, match=r"2 items are in only one.*'common_1', 'count_3'; "):
        on_common_items(whole, part)
    one, other, alone = on_common_items(whole, part, allow_partial=True)
    assert one.item_ids == other.item_ids == part.item_ids
    assert alone == ("common_1", "count_3")
    with pytest.raises(MissingDataError, match="no item in common"):
        on_common_items(whole, whole.of_items(()), allow_partial=True)


def test_the_compare_stage_wants_as_many_pictures_of_both():
    merged = scores("merged", lambda skill, sample: 0.5)
    fewer = [row for row in rows(lambda *_: 0.5) if row["sample"] == 0]
    base = item_scores("dsg", "base", fewer, ABOUT, BENCHMARK)
    with pytest.raises(RecordError, match="different numbers of pictures"):
        compare_models(merged, base, "all", BOOTSTRAP)


def test_prompts_with_other_weights_are_not_compared():
    one = scores("merged", lambda skill, sample: 0.5)
    other = item_scores("dsg", "base", rows(lambda *_: 0.5, weight=4.0), ABOUT)
    with pytest.raises(RecordError, match="'common_0' weighs 1 and 4"):
        on_common_items(one, other)


def picture(item_id, sample, *questions):
    return {
        "item_id": item_id,
        "sample": sample,
        "source": "s",
        "score": 0.5,
        "weight": 1.0,
        "details": json.dumps(
            {
                "questions": [
                    {"question_id": number, "category": category, "filtered": right, "raw": 1}
                    for number, (category, right) in enumerate(questions, start=1)
                ]
            }
        ),
    }


def test_a_category_is_the_mean_of_its_questions_and_its_prompts_weigh_by_their_number():
    given = [
        picture("a", 0, ("color", 1), ("color", 0), ("count", 1)),
        picture("a", 1, ("color", 1), ("color", 1), ("count", 0)),
        picture("b", 0, ("color", 0), ("shape", 1)),
    ]
    found = category_scores(item_scores("dsg", "m", given, ABOUT), given)
    assert list(found) == ["color", "count", "shape"]
    color = found["color"]
    assert (color.item_ids, color.values.tolist()) == (("a", "b"), [75.0, 0.0])
    assert color.weights.tolist() == [2.0, 1.0]  # questions, whatever the number of pictures
    assert color.mean == 50.0
    assert (found["count"].item_ids, found["count"].mean) == (("a",), 50.0)
    assert (found["shape"].item_ids, found["shape"].mean) == (("b",), 100.0)


def test_questions_of_tifa_have_a_score_and_pictures_without_questions_none():
    details = {"questions": [{"question_id": 3, "category": "food", "score": 1, "key": "yes"}]}
    row = picture("a", 0) | {"details": json.dumps(details)}
    assert question_scores(row) == [(3, "food", 1.0)]
    assert question_scores(row | {"details": '{"truncated": false}'}) == []
    with pytest.raises(RecordError, match="item 'a' sample 0: the details hold no"):
        question_scores(row | {"details": '{"questions": [{"question_id": 3}]}'})


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


def test_a_single_prompt_has_no_detectable_effect():
    (row,) = add_verdicts([record("all", 1.0, 1.0, 1.0, standard_error=None, n_items=1)])
    assert row["minimum_detectable_effect"] is None


def test_differences_that_are_all_alike_have_no_detectable_effect():
    alike = [record("all", 1.0, 0.0, 0.0, standard_error=error) for error in (0.0, 1e-15)]
    assert [add_verdicts([row])[0]["minimum_detectable_effect"] for row in alike] == [None, None]
    (row,) = add_verdicts([record("all", 1.0, -1.0, 1.0, margin=2.0, standard_error=0.0)])
    assert row["minimum_detectable_effect"] is None


def test_skills_are_compared_as_one_family_and_rounded():
    chance = random.Random(1)
    value = {(i["item_id"], s): chance.random() for i in BENCHMARK for s in (0, 1)}
    given = rows(lambda skill, sample: 0.5)
    noisy = [row | {"score": value[row["item_id"], row["sample"]]} for row in given]
    merged = item_scores("dsg", "merged", noisy, ABOUT, BENCHMARK)
    base = item_scores("dsg", "base", given, ABOUT, BENCHMARK)
    found = compare_skills(merged, base, ("all", "common", "count"), BOOTSTRAP)
    alone = [compare_models(merged, base, name, BOOTSTRAP) for name in ("all", "common", "count")]
    for row, one in zip(found, alone, strict=True):
        assert one.items() <= row.items()
    want = holm([row["p_value"] for row in alone[1:]])
    assert [row["p_value_holm"] for row in found[1:]] == pytest.approx(want, abs=2e-6)


def test_the_headline_holds_each_model_and_both_differences_for_each_metric():
    level = {"base": 0.5, "mixture": 0.625, "merged": 0.75}
    table = {
        (metric, model): item_scores(
            metric,
            model,
            rows(lambda skill, sample, at=level[model]: at),
            ABOUT | {"metric": metric},
            BENCHMARK,
        )
        for metric in METRICS
        for model in summary.MODELS
    }
    records, comparisons = summary.summarise(table, BOOTSTRAP), summary.compare(table, BOOTSTRAP)
    flat = summary.headline(records, comparisons)
    assert len(flat) == 25
    assert {name: flat[name] for name in flat if name.startswith("dsg")} == {
        "dsg": 75.0,
        "dsg_base": 50.0,
        "dsg_mixture": 62.5,
        "dsg_gain": 25.0,
        "dsg_over_mixture": 12.5,
    }
    assert flat["pickscore_gain"] == 0.25
    assert summary.by_skill(records)["dsg"] == {"common": 75.0, "count": 75.0}
    lines = summary.plot_csv(records).splitlines()
    assert lines[0] == "metric,model,skill,score,low,high"
    assert lines[1] == "dsg,base,all,50.0000,50.0000,50.0000"
    assert len(lines) == 1 + 5 * 3 * 3
