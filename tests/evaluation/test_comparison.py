"""Score tables become one value per prompt, and headline numbers that say what they are."""

import json
import random

import pytest

from selma.errors import MissingDataError, RecordError
from selma.evaluation import summary
from selma.evaluation.comparison import (
    METRICS,
    Bootstrap,
    compare_models,
    item_scores,
    summarise_model,
)

BOOTSTRAP = Bootstrap(resamples=500, confidence=0.95, seed=0)
BENCHMARK = [
    {"item_id": f"{skill}_{number}", "prompt": "", "source": skill, "questions": [{}]}
    for skill in ("common", "count")
    for number in range(10)
]


def rows(value, judge="pocket@1", weight=1):
    about = {"judge": judge, "policy": "official", "version": "v", "weight": weight}
    return [
        {
            "item_id": item["item_id"],
            "sample": sample,
            "score": value(item["source"], sample),
            "details": json.dumps(about),
        }
        for item in BENCHMARK
        for sample in (0, 1)
    ]


def scores(model, value, **changes):
    return item_scores("dsg", model, rows(value, **changes), BENCHMARK)


def test_a_prompts_value_is_the_mean_of_its_samples_in_percent():
    got = scores("base", lambda skill, sample: 0.25 + 0.5 * sample)
    assert got.values.tolist() == [50.0] * 20
    assert (got.n_samples, got.about["unit"], got.about["judge"]) == (2, "percent", "pocket@1")


def test_a_comparison_says_what_it_compares_and_on_how_much():
    merged = scores("merged", lambda skill, sample: 0.75 if skill == "count" else 0.5)
    base = scores("base", lambda skill, sample: 0.5)
    row = compare_models(merged, base, "count", BOOTSTRAP)
    assert (row["difference"], row["low"], row["high"]) == (25.0, 25.0, 25.0)
    assert (row["wins"], row["ties"], row["losses"]) == (10, 0, 0)
    wanted = {"judge", "policy", "version", "unit", "confidence", "n_items", "n_samples", "p_value"}
    assert wanted <= set(row)
    assert compare_models(merged, base, "all", BOOTSTRAP)["difference"] == 12.5


def test_the_order_of_the_rows_changes_no_byte():
    value = {(s, n): random.Random(f"{s}{n}").random() for s in ("common", "count") for n in (0, 1)}
    given = rows(lambda skill, sample: value[skill, sample])
    shuffled = random.Random(0).sample(given, len(given))
    results = [
        json.dumps(summarise_model(item_scores("dsg", "base", r, BENCHMARK), "all", BOOTSTRAP))
        for r in (given, shuffled)
    ]
    assert results[0] == results[1]


def test_a_prompt_that_lacks_a_score_stops_the_comparison():
    given = rows(lambda skill, sample: 1.0)[:-1]
    with pytest.raises(MissingDataError, match="dsg for base: 1 of 20 items lack.*'count_9'"):
        item_scores("dsg", "base", given, BENCHMARK)


def test_scores_of_different_judges_are_not_compared():
    merged = scores("merged", lambda skill, sample: 1.0)
    base = scores("base", lambda skill, sample: 1.0, judge="other@1")
    with pytest.raises(RecordError, match="cannot be compared"):
        compare_models(merged, base, "all", BOOTSTRAP)


def test_the_headline_holds_each_model_and_both_differences_for_each_metric():
    level = {"base": 0.5, "mixture": 0.625, "merged": 0.75}
    table = {
        (metric, model): item_scores(
            metric, model, rows(lambda skill, sample, at=level[model]: at), BENCHMARK
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
