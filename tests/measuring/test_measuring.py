"""The acts of measuring: what is read, left out and said besides the number, by hand."""

import json

import pytest

from selma.comparing.statistics import Bootstrap
from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.core.tables import write_table
from selma.measuring.details import CONTROLS, answer_details, hps_numbers
from selma.measuring.inputs import benchmark_aliases, read_benchmark
from selma.measuring.naming import describe_measure
from selma.measuring.preferring import check_version, picture_coverage, scored_rows
from selma.measuring.results import Scored, result_of
from selma.measuring.scoring import score_answers
from selma.pictures.checks import Findings, PictureSet

HOW = Bootstrap(200, 0.9, 0)


def question(number, answer="yes", choices=("yes", "no")):
    return {
        "question_id": number, "question": f"q{number}?", "choices": list(choices),
        "answer": answer, "dependency": "0", "category": f"kind{number}", "element": "",
    }  # fmt: skip


def item(item_id, source, *questions):
    return {"item_id": item_id, "prompt": item_id, "source": source, "questions": list(questions)}


BENCHMARK = [item("a", "count", question(1), question(2)), item("b", "common", question(1))]


@pytest.fixture
def table(tmp_path):
    write_table(tmp_path / "b.parquet", "benchmark", BENCHMARK)
    return tmp_path / "b.parquet"


def names(rows):
    return [row["item_id"] for row in rows]


def test_a_benchmark_is_read_whole_or_for_some_sources(table):
    assert names(read_benchmark(table)) == ["a", "b"]
    assert names(read_benchmark(table, ["common"])) == ["b"]
    assert names(read_benchmark(table, ["common", "count"])) == ["a", "b"]
    with pytest.raises(ConfigError, match=r"source spatial: not in .*its sources: common, count"):
        read_benchmark(table, ["spatial", "count"])
    with pytest.raises(ConfigError, match="is no file"):
        read_benchmark(table.parent)
    with pytest.raises(MissingDataError):
        read_benchmark(table.parent / "none.parquet")


def test_second_names_of_items_are_only_in_json(tmp_path, table):
    assert benchmark_aliases(table) == {}
    entries = [{"id": "x", "item_id": "tifa_1"}, {"id": "y"}]
    (tmp_path / "t.json").write_text(json.dumps(entries), encoding="utf-8")
    assert benchmark_aliases(tmp_path / "t.json") == {"x": "tifa_1"}


def score(item_id, sample, value, *points, weight=1.0, source="count"):
    questions = [
        {"question_id": n, "category": f"kind{n}", "filtered": p, "raw": p, "score": p}
        for n, p in enumerate(points, start=1)
    ]
    return {
        "item_id": item_id, "sample": sample, "source": source, "score": value, "weight": weight,
        "details": json.dumps({"questions": questions}),
    }  # fmt: skip


ROWS = [
    score("a", 0, 0.5, 1, 0),
    score("a", 1, 1.0, 1, 1),
    score("b", 0, 0.0, 0, source="common"),
    score("b", 1, 1.0, 1, source="common"),
]
ABOUT = {"factor": 100.0, "unit": "percent", "libraries": {"scipy": "1"}, "metric": "dsg"}


def test_a_result_is_the_mean_over_prompts_in_the_unit(table):
    spoilt = [score("a", 0, 0.25, 1, 0), score("b", 0, 0.75, 1, source="common")]
    found = result_of(Scored(ROWS, ABOUT, {}, {"spoilt": spoilt}, {"extra": 7}), HOW)
    assert found["score"] == pytest.approx(100 * (0.75 + 0.5) / 2)
    assert found["prompts"] == {"a": pytest.approx(75.0), "b": pytest.approx(50.0)}
    assert found["controls"] == {"spoilt": pytest.approx(50.0)}
    assert (found["n_prompts"], found["n_questions"], found["extra"]) == (2, 6, 7)
    assert (found["confidence"], found["resamples"]) == (0.9, 200)
    assert found["low"] <= found["score"] <= found["high"]
    assert set(found["libraries"]) == {"numpy", "scipy"}


def test_tifas_numbers_are_shares_over_prompts_and_types():
    _, found = answer_details("tifa", ROWS, [], BENCHMARK, HOW)
    assert found["tifa_average"] == pytest.approx((0.75 + 0.5) / 2)
    # kind 1 is asked of all four pictures, kind 2 of item a alone
    assert found["accuracy_by_type"] == {
        "kind1": pytest.approx(3 / 4),
        "kind2": pytest.approx(1 / 2),
    }


def said(item_id, number, text, sample=0):
    return {"item_id": item_id, "sample": sample, "question_id": number, "answer": text}


def test_dsgs_numbers_count_the_answers_of_scored_pictures_and_those_that_just_miss_yes():
    answers = [said("a", 1, "yes"), said("a", 2, "Yes."), said("z", 1, "yes"), said("b", 1, "no")]
    _, found = answer_details("dsg", [ROWS[0], ROWS[2]], answers, BENCHMARK, HOW)
    assert found["n_answered_questions"] == 3
    assert found["score_per_answered_question"] == pytest.approx(100 / 3)
    assert found["nearly_yes"] == 1


def test_each_metric_has_its_own_tables_and_numbers():
    answers = [said("a", 1, "yes"), said("a", 2, "no"), said("b", 1, "no")]
    tables, numbers = answer_details("dsg", ROWS, answers, BENCHMARK, HOW)
    assert set(tables) == {"category", "source"}
    assert "nearly_yes" in numbers
    source = {cell.name: cell.value for cell in tables["source"]}
    assert source == {"common": pytest.approx(50.0), "count": pytest.approx(75.0)}
    tables, numbers = answer_details("tifa", ROWS, answers, BENCHMARK, HOW)
    assert set(tables) == {"source", "element type"}
    assert "tifa_average" in numbers


def test_the_controls_say_yes_to_all_or_take_the_first_choice():
    benchmark = [item("c", "count", question(1, "red", ("blue", "red")))]
    title, control = CONTROLS["dsg"]
    assert title == "always yes"
    assert [row["answer"] for row in control(BENCHMARK, [said("a", 1, "no")])] == ["yes"]
    title, control = CONTROLS["tifa"]
    assert title == "first choice"
    assert [row["answer"] for row in control(benchmark, [said("c", 1, "red")])] == ["blue"]


def test_hps_aggregates_only_its_own_four_styles():
    assert hps_numbers(ROWS, partial=True) == {}


def pictures(*rows, n_wanted=4, findings=None):
    return PictureSet([dict(row) for row in rows], n_wanted, findings or Findings())


def drawn(item_id):
    return {"item_id": item_id, "sample": 0, "prompt": item_id}


def test_pictures_keep_their_prompts_or_get_that_of_another_item():
    given = pictures(drawn("a"), drawn("b"))
    assert [row["prompt"] for row in scored_rows(BENCHMARK, given, None)] == ["a", "b"]
    assert [row["prompt"] for row in scored_rows(BENCHMARK, given, 3)] == ["b", "a"]
    with pytest.raises(MissingDataError, match="no picture"):
        scored_rows(BENCHMARK, pictures(), None)


def test_the_coverage_is_the_share_of_the_wanted_pictures():
    findings = Findings(black=("b/0",))
    found = picture_coverage(pictures(findings=findings), [score("a", 0, 1.0), score("a", 1, 1.0)])
    assert (found["coverage"], found["n_items"], found["n_pictures"]) == (0.5, 1, 2)
    assert (found["n_wanted"], found["left_out"]) == (4, ["1 black (b/0)"])


@pytest.mark.parametrize(
    ("kind", "version", "antialias"),
    [("pickscore", None, None), ("hps", "v2.1", True), ("hps", "pocket", False)],
)
def test_versions_and_options_that_a_scorer_has(kind, version, antialias):
    check_version(kind, version, antialias)


@pytest.mark.parametrize(
    ("kind", "version", "antialias", "words"),
    [
        ("pickscore", "v1", None, "pickscore has one version, expected null, got 'v1'"),
        ("hps", "v9", None, "version of hps 'v9'"),
        ("hps", None, None, "version of hps"),
        ("clipscore", "v9", None, "version of clipscore"),
        ("pickscore", None, True, "is an option of hps, not of pickscore"),
        ("imagereward", None, False, "is an option of hps, not of imagereward"),
    ],
)
def test_versions_and_options_that_a_scorer_does_not_have(kind, version, antialias, words):
    with pytest.raises(ConfigError, match=words):
        check_version(kind, version, antialias)


def test_an_unknown_kind_of_measure_and_too_many_refusals_are_refused():
    answers = [
        {**said(one["item_id"], q["question_id"], "I'm sorry, I cannot help"), "judge": "j",
         "revision": "1", "sha256": "0", "raw_answer": "I'm sorry, I cannot help"}
        for one in BENCHMARK
        for q in one["questions"]
    ]  # fmt: skip
    given = {"measure": "m", "title": "M", "benchmark_name": "b", "no_answer_max": 0.5}
    with pytest.raises(ConfigError, match="unknown kind of measure 'vqa'"):
        score_answers("vqa", BENCHMARK, answers, None, settings={}, **given)
    settings = {"policy": "official", "mean": "prompt"}
    with pytest.raises(RecordError, match="3 of 3"):
        score_answers("dsg", BENCHMARK, answers, None, settings=settings, **given)
    given["no_answer_max"] = 1.0
    rows, about = score_answers("dsg", BENCHMARK, answers, None, settings=settings, **given)
    assert [row["score"] for row in rows] == [0.0, 0.0]
    assert about["no_answer"] == 1.0


def test_a_table_names_its_measure_and_its_benchmark_by_content():
    one = describe_measure("m", "M", "b", BENCHMARK)
    other = describe_measure("m", "M", "b", BENCHMARK[:1])
    assert {key: one[key] for key in ("measure", "title", "benchmark")} == {
        "measure": "m", "title": "M", "benchmark": "b",
    }  # fmt: skip
    assert one["benchmark_sha256"] != other["benchmark_sha256"]
    assert len(one["benchmark_sha256"]) == 64
