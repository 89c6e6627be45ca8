"""The stage scores turns hand-made answers of every model into scores that a hand can check."""

import pytest
from stage_world import answer, item, question, rows_of, run, write_benchmark
from tiny_world import tiny_params, write_params

from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.core.tables import content_hash, read_about, write_table

YES_NO = ("yes", "no")
CHAIN = [
    item(
        "a",
        "a red dog",
        question(1, "is there a dog?", choices=YES_NO),
        question(2, "is the dog red?", choices=YES_NO, dependency="1"),
        question(3, "is the red dog big?", choices=YES_NO, dependency="2"),
        question(4, "is it a photo?", choices=YES_NO),
    ),
    item("b", "a cat", question(1, "is there a cat?", choices=YES_NO), source="common"),
]
COLOURS = ("red", "blue")
CHOICE = [
    item(
        "c",
        "a red cat",
        question(1, "which colour?", answer="red", choices=COLOURS),
        question(2, "which animal?", answer="cat", choices=("cat", "dog")),
    )
]
JUDGED = {"class": "hand", "libraries": {"numpy": "2"}, "preprocessing": "none"}
# Item a: no dog, red, big, a photo; item b: a cat.
NO_DOG = ["no", "yes", "yes", "yes"], ["yes"]
ALL_RIGHT = ["yes"] * 4, ["yes"]


@pytest.fixture
def folder(world):
    write_benchmark("first", *CHAIN)
    write_benchmark("second", *CHOICE)
    return world


def write_answers(row, model, items, texts):
    rows = [
        answer(one["item_id"], number, text)
        for one, said in zip(items, texts, strict=True)
        for number, text in enumerate(said, start=1)
    ]
    write_table(folder_of(row) / f"{model}.parquet", "answers", rows, JUDGED)


def folder_of(row):
    from pathlib import Path

    return Path("data/answers") / row


def score(folder, models=("base",), *, measure="mine", kind="dsg", arguments=None, **changes):
    row = {"kind": kind, "title": "Mine", "answers": "asked", "path": "selma/metrics"}
    row |= {"policy": "official", "mean": "prompt"} if kind == "dsg" else {"mapping": "exact"}
    row |= {"no_answer_max": 0.05, **changes}
    params = tiny_params()
    params["models"] = {model: {"weights": "w"} for model in models}
    params["answers"] = {
        "asked": {"judge": "pocket", "benchmark": "first", "template": "bare"},
        "chosen": {"judge": "pocket", "benchmark": "second", "template": "bare"},
    }
    params["measures"] = {"mine": row, "another": {**row, "title": "Another"}}
    write_params(folder, params)
    places = arguments or f"--benchmarks data/benchmarks --answers data/answers/{row['answers']}"
    run("scores", f"--measure {measure} {places} --out out")


def scored(model="base"):
    return {row["item_id"]: row["score"] for row in rows_of(f"out/{model}.parquet", "scores")}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("none", 3 / 4), ("official", 2 / 4), ("transitive", 1 / 4), ("selma", 1 / 4)],
)
def test_dsg_filters_by_the_policy_of_params(folder, policy, expected):
    """Without a dog the official filter takes the red dog's point, transitive the big one's too."""
    write_answers("asked", "base", CHAIN, NO_DOG)
    score(folder, policy=policy)
    assert scored() == {"a": expected, "b": 1.0}
    assert read_about(folder / "out/base.parquet")["policy"] == (f"{policy}, prompt mean")


@pytest.mark.parametrize(("mean", "weights"), [("prompt", [1.0, 1.0]), ("question", [4.0, 1.0])])
def test_dsg_weighs_prompts_by_the_mean_of_params(folder, mean, weights):
    write_answers("asked", "base", CHAIN, NO_DOG)
    score(folder, mean=mean)
    assert [row["weight"] for row in rows_of("out/base.parquet", "scores")] == weights


def test_every_model_is_scored_on_its_own_answers_and_no_other(folder):
    write_answers("asked", "first-model", CHAIN, NO_DOG)
    write_answers("asked", "second-model", CHAIN, ALL_RIGHT)
    write_answers("asked", "stranger", CHAIN, ALL_RIGHT)
    score(folder, ("first-model", "second-model"))
    assert scored("first-model") == {"a": 0.5, "b": 1.0}
    assert scored("second-model") == {"a": 1.0, "b": 1.0}
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "first-model.parquet",
        "second-model.parquet",
    ]


def test_scores_say_what_they_are(folder):
    write_answers("asked", "base", CHAIN, ALL_RIGHT)
    score(folder, measure="another")
    about = read_about(folder / "out/base.parquet")
    assert (about["measure"], about["title"], about["metric"]) == ("another", "Another", "dsg")
    assert (about["unit"], about["factor"]) == ("percent", 100.0)
    assert (about["judge"], about["revision"]) == ("hand", "1")
    assert about["judge_settings"]["class"] == "hand"
    assert about["benchmark"] == "first"
    assert about["benchmark_sha256"] == content_hash(CHAIN, "benchmark")
    assert (about["coverage"], about["n_items"], about["n_pictures"]) == (1.0, 2, 2)
    rows = rows_of("out/base.parquet", "scores")
    assert [row["source"] for row in rows] == ["count", "common"]


def test_tifa_scores_the_share_of_right_choices_on_the_benchmark_of_its_answers(folder):
    write_answers("chosen", "base", CHOICE, [["red", "dog"]])
    score(folder, kind="tifa", answers="chosen")
    assert scored() == {"c": 0.5}
    about = read_about(folder / "out/base.parquet")
    assert (about["metric"], about["benchmark"]) == ("tifa", "second")
    assert about["benchmark_sha256"] == content_hash(CHOICE, "benchmark")
    assert about["policy"].startswith("exact")


def test_tifa_maps_by_the_sentence_encoder_at_the_path_of_params(folder):
    write_answers("chosen", "base", CHOICE, [["crimson", "cat"]])
    score(folder, kind="tifa", answers="chosen")
    assert scored() == {"c": 0.5}
    with pytest.raises(MissingDataError, match="nowhere"):
        score(folder, kind="tifa", answers="chosen", mapping="sbert", path="nowhere")


def test_replies_that_are_no_answer_are_counted_and_above_the_share_of_params_refused(folder):
    texts = ["yes", "I cannot tell", "yes", "yes"], ["yes"]
    write_answers("asked", "base", CHAIN, texts)
    score(folder, no_answer_max=0.2)
    about = read_about(folder / "out/base.parquet")
    assert (about["n_no_answer"], about["no_answer"]) == (1, pytest.approx(1 / 5))
    with pytest.raises(RecordError, match="1 of 5 .*are no answer"):
        score(folder, no_answer_max=0.19)


def test_answers_and_benchmarks_come_from_the_folders_of_the_arguments(folder):
    write_answers("asked", "base", CHAIN, NO_DOG)
    write_answers("others", "base", CHAIN, ALL_RIGHT)
    (folder / "data/benchmarks").rename(folder / "benchmarks")
    score(folder, arguments="--benchmarks benchmarks --answers data/answers/others")
    assert scored() == {"a": 1.0, "b": 1.0}


def test_missing_answers_and_unknown_choices_stop_the_stage(folder):
    write_answers("asked", "base", CHAIN[:1], NO_DOG[:1])
    with pytest.raises(MissingDataError, match="1 of 5 are missing"):
        score(folder)
    with pytest.raises(ConfigError, match="unknown dsg policy 'strict'"):
        score(folder, policy="strict")
    with pytest.raises(MissingDataError, match="nobody"):
        score(folder, ("nobody",))
    assert not (folder / "out").exists()


def test_torch_works_with_the_threads_of_params(folder, one_thread):
    import torch

    write_answers("asked", "base", CHAIN, ALL_RIGHT)
    params = tiny_params(threads=2)
    params["models"] = {"base": {"weights": "w"}}
    params["measures"]["dsg"]["answers"], params["answers"] = (
        "asked",
        {"asked": {"judge": "pocket", "benchmark": "first", "template": "bare"}},
    )
    write_params(folder, params)
    run(
        "scores",
        "--measure dsg --benchmarks data/benchmarks --answers data/answers/asked --out out",
    )
    assert torch.get_num_threads() == 2
