"""A scores table becomes one value per prompt; two are compared only if made in the same way."""

import json
import random

import pytest

from selma.comparing.categories import category_scores, question_scores, split
from selma.comparing.comparison import compare_parts, summarise_model
from selma.comparing.items import (
    ALL_SKILLS,
    check_same_making,
    item_scores,
    judge_label,
    on_common_items,
    shortened,
)
from selma.comparing.statistics import Bootstrap
from selma.core.errors import ConfigError, MissingDataError, RecordError

HOW = Bootstrap(resamples=500, confidence=0.95, seed=0)
BENCHMARK = [
    {"item_id": f"{skill}_{number}", "prompt": "", "source": skill, "questions": [{}]}
    for skill in ("common", "count")
    for number in range(10)
]
ABOUT = {
    "measure": "dsg", "metric": "dsg", "version": "v", "policy": "official", "unit": "percent",
    "factor": 100.0, "judge": "pocket", "revision": "1", "preprocessing": "none",
    "benchmark": "pocket-dsg", "libraries": {"torch": "2.13.0"},
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
    return item_scores("dsg", model, rows(value), ABOUT | about)


def test_a_prompts_value_is_the_mean_of_its_samples_in_percent():
    got = scores("base", lambda skill, sample: 0.25 + 0.5 * sample)
    assert got.values.tolist() == [50.0] * 20
    assert (got.n_samples, got.skills) == (2, ["common", "count"])


def test_a_judge_is_shown_with_its_revision_and_with_its_model_where_the_name_lacks_it():
    def label(**about):
        return judge_label({"judge": "pocket", **about})

    assert label() == label(revision="") == "pocket"
    assert label(revision="1", judge_settings={"class": "pocket"}) == "pocket@1"
    settings = {"path": "gpt-4o"}
    assert label(judge="endpoint", judge_settings=settings) == "endpoint gpt-4o"
    assert label(judge="gpt-4o", revision="2", judge_settings=settings) == "gpt-4o@2"


def test_the_order_of_the_rows_changes_no_byte():
    value = {(s, n): random.Random(f"{s}{n}").random() for s in ("common", "count") for n in (0, 1)}
    given = rows(lambda skill, sample: value[skill, sample])
    shuffled = random.Random(0).sample(given, len(given))
    results = [
        json.dumps(summarise_model(item_scores("dsg", "base", r, ABOUT), "all", HOW))
        for r in (given, shuffled)
    ]
    assert results[0] == results[1]


def test_a_prompt_counts_once_however_many_pictures_it_has():
    given = rows(lambda skill, sample: 1.0 if skill == "count" else 0.0)
    fewer = [row for row in given if row["source"] == "common" or row["sample"] == 0]
    got = item_scores("dsg", "base", fewer, ABOUT)
    assert (got.mean, got.n_samples, got.items["pictures"].sum()) == (50.0, 1.5, 30)


def test_unit_and_factor_are_the_tables_own():
    given = rows(lambda skill, sample: 0.31)
    about = ABOUT | {"measure": "clip", "metric": "clipscore", "unit": "cosine", "factor": 2.5}
    got = summarise_model(item_scores("clip", "base", given, about), "all", HOW)
    assert (got["score"], got["unit"]) == (pytest.approx(0.775), "cosine")
    assert (got["measure"], got["metric"]) == ("clip", "clipscore")


def test_a_table_without_scores_is_refused():
    with pytest.raises(MissingDataError, match="dsg for base: there are none"):
        item_scores("dsg", "base", [], ABOUT)


def test_a_table_of_another_measure_or_one_that_lacks_what_it_is_is_refused():
    given = rows(lambda skill, sample: 1.0)
    with pytest.raises(RecordError, match="the table holds scores of 'dsg'"):
        item_scores("dsg_lenient", "base", given, ABOUT)
    for key in ("judge", "unit", "factor"):
        about = {name: value for name, value in ABOUT.items() if name != key}
        with pytest.raises(RecordError, match=f"lacks its {key}"):
            item_scores("dsg", "base", given, about)


def test_a_table_without_a_measure_is_known_by_its_metric():
    about = {key: value for key, value in ABOUT.items() if key != "measure"}
    assert item_scores("dsg", "base", rows(lambda *_: 1.0), about).measure == "dsg"


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
        compare_parts(split(merged), split(base), HOW)


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
    part = whole.of_items({*whole.items.index} - {"count_3", "common_1"})
    with pytest.raises(RecordError, match=r"2 items are in only one.*'common_1', 'count_3'; "):
        on_common_items(whole, part)
    one, other, unpaired = on_common_items(whole, part, allow_partial=True)
    assert list(one.items.index) == list(other.items.index) == list(part.items.index)
    assert unpaired == ["common_1", "count_3"]
    with pytest.raises(RecordError, match="2 items are in only one"):
        on_common_items(part, whole)
    with pytest.raises(MissingDataError, match="no item in common"):
        on_common_items(whole, whole.of_items(()), allow_partial=True)


def test_a_list_of_names_is_cut_after_three():
    assert shortened(["a", "b", "c"]) == "a, b, c"
    assert shortened(["a", "b", "c", "d"]) == "a, b, c, …"


def test_items_that_changed_their_source_are_not_compared():
    one = scores("merged", lambda skill, sample: 0.5)
    moved = [row | {"source": "count"} for row in rows(lambda *_: 0.5)]
    with pytest.raises(RecordError, match="their items have different sources"):
        on_common_items(one, item_scores("dsg", "base", moved, ABOUT))


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
    assert (list(color.items.index), color.values.tolist()) == (["a", "b"], [75.0, 0.0])
    assert color.weights.tolist() == [2.0, 1.0]  # questions, whatever the number of pictures
    assert color.mean == 50.0
    assert (list(found["count"].items.index), found["count"].mean) == (["a"], 50.0)
    assert (list(found["shape"].items.index), found["shape"].mean) == (["b"], 100.0)


def test_questions_of_tifa_have_a_score_and_pictures_without_questions_none():
    details = {"questions": [{"question_id": 3, "category": "food", "score": 1, "key": "yes"}]}
    row = picture("a", 0) | {"details": json.dumps(details)}
    assert question_scores(row) == [(3, "food", 1.0)]
    assert question_scores(row | {"details": '{"truncated": false}'}) == []
    with pytest.raises(RecordError, match="item 'a' sample 0: the details hold no"):
        question_scores(row | {"details": '{"questions": [{"question_id": 3}]}'})


def test_parts_are_all_items_and_then_each_skill_or_category_or_nothing_else():
    given = [picture("a", 0, ("color", 1)), picture("b", 0, ("count", 0))]
    whole = item_scores("dsg", "m", given, ABOUT)
    assert list(split(whole)) == ["all", "s"]
    assert list(split(whole, given, "category")) == ["all", "color", "count"]
    assert list(split(whole, given, "none")) == ["all"]
    with pytest.raises(ConfigError, match="unknown split 'source'"):
        split(whole, given, "source")


def test_a_benchmark_without_sources_has_no_skills():
    given = [row | {"source": ""} for row in rows(lambda skill, sample: 1.0)]
    assert item_scores("dsg", "base", given, ABOUT).skills == []


def test_skills_are_sorted_and_neither_empty_nor_the_word_for_all():
    names = [f"skill{number:02d}" for number in range(30)] + ["", ALL_SKILLS]
    (first, *_) = rows(lambda *_: 1)
    table = [{**first, "item_id": f"i{k}", "source": name} for k, name in enumerate(names)]
    assert item_scores("dsg", "base", table, ABOUT).skills == names[:30]
