"""The stage answers asks the judge of its row about the pictures of its model."""

import base64
import io

import pytest
from PIL import Image
from stage_world import (
    chat_server,
    item,
    question,
    rows_of,
    run,
    sample,
    write_benchmark,
    write_samples,
)
from tiny_world import tiny_params, write_params

from selma.core.errors import MissingDataError, RecordError, SelmaError
from selma.core.tables import content_hash, read_about

RED = question(1, "Is there a red square?", choices=("yes", "no"))
BLUE = question(2, "Is there a blue square?", choices=("yes", "no"))
COLOUR = question(1, "What color is the square?", answer="red", choices=("red", "blue", "green"))
COLOURED = [item("a", "a red square", RED, BLUE), item("b", "a square", RED)]
CHOOSING = [item("c", "a square", COLOUR)]
PAINTED = {"red-model": "red", "blue-model": "blue"}


@pytest.fixture
def folder(world):
    """Two models: all that one draws is red, all that the other draws is blue."""
    write_benchmark("first", *COLOURED)
    write_benchmark("second", *CHOOSING)
    for model, colour in PAINTED.items():
        write_samples(model, "first", painted(COLOURED, colour))
        write_samples(model, "second", painted(CHOOSING, colour))
    return world


def painted(items, colour):
    """Two pictures of each item, no two alike."""
    keys = [(one, n) for one in items for n in range(2)]
    return [{**sample(one, place, colour), "sample": n} for place, (one, n) in enumerate(keys)]


def ask(folder, model, *, answers="mine", hosted=None, template="bare", threads=1, places=None):
    """Have questions answered by the pocket judge or, with settings for it, by a hosted one."""
    judge = "pocket" if hosted is None else "hosted"
    params = tiny_params(threads=threads)
    params["judges"]["hosted"] = {**params["judges"]["pocket"], **(hosted or {})}
    params["answers"] = {
        "mine": {"judge": judge, "benchmark": "first", "template": template},
        "choosing": {"judge": "pocket", "benchmark": "second", "template": "bare"},
    }
    write_params(folder, params)
    places = places or f"--benchmarks data/benchmarks --samples data/samples/{model}"
    run("answers", f"--answers {answers} --model {model} {places} --out out.parquet")
    return rows_of("out.parquet", "answers")


def said(rows):
    return {(row["item_id"], row["sample"], row["question_id"]): row["answer"] for row in rows}


def everywhere(red, blue):
    return {
        (one["item_id"], n, asked["question_id"]): red if asked is RED else blue
        for one in COLOURED
        for n in range(2)
        for asked in one["questions"]
    }


def test_each_model_is_judged_on_its_own_pictures(folder):
    assert said(ask(folder, "red-model")) == everywhere("yes", "no")
    assert said(ask(folder, "blue-model")) == everywhere("no", "yes")


def test_the_benchmark_and_the_pictures_are_those_of_the_row(folder):
    rows = ask(folder, "blue-model", answers="choosing")
    assert said(rows) == {("c", 0, 1): "blue", ("c", 1, 1): "blue"}
    assert read_about(folder / "out.parquet")["benchmark_sha256"] == content_hash(
        CHOOSING, "benchmark"
    )


def test_an_answer_names_its_judge_and_its_picture(folder):
    rows = ask(folder, "red-model")
    assert {(row["judge"], row["revision"]) for row in rows} == {("pocket", "1")}
    drawn = {
        (row["item_id"], row["sample"]): row["sha256"]
        for row in rows_of("data/samples/red-model/first.parquet", "samples")
    }
    assert all(row["sha256"] == drawn[row["item_id"], row["sample"]] for row in rows)
    about = read_about(folder / "out.parquet")
    assert about["pictures"] == {"left_out": [], "n_wanted": 4}
    assert about["class"] == "pocket"


def test_a_missing_black_or_alien_picture_stops_the_stage(folder):
    whole = painted(COLOURED, "red")
    black = io.BytesIO()
    Image.new("RGB", (32, 32)).save(black, format="PNG")
    spoilt = {"image": {"bytes": black.getvalue(), "path": None}}
    for rows, error, words in (
        (whole[:-1], MissingDataError, "1 missing"),
        ([*whole[:-1], {**whole[-1], **spoilt}], RecordError, "1 black"),
        ([*whole[:-1], {**whole[-1], "item_id": "z"}], RecordError, "1 unknown"),
    ):
        write_samples("spoilt", "first", rows)
        with pytest.raises(error, match=words):
            ask(folder, "spoilt")
    assert not (folder / "out.parquet").exists()


def test_benchmark_and_samples_come_from_the_folders_of_the_arguments(folder):
    (folder / "data").rename(folder / "elsewhere")
    places = "--benchmarks elsewhere/benchmarks --samples elsewhere/samples/blue-model"
    assert said(ask(folder, "red-model", places=places)) == everywhere("no", "yes")


def test_torch_works_with_the_threads_of_params(folder, one_thread):
    import torch

    ask(folder, "red-model", threads=2)
    assert torch.get_num_threads() == 2


def test_the_gpu_is_taken_after_the_processes_have_parted(folder, monkeypatch):
    """One that is in use does not survive a fork; and each process has its own."""
    from selma.core import devices

    parted = []

    def choose_device():
        parted.append(list((folder / ".selma/work").glob("answers-mine-red-model-*")))
        return "cpu"

    monkeypatch.setattr(devices, "prepare_device", choose_device)
    with pytest.raises(SelmaError):  # a judge without a model
        ask(folder, "red-model", hosted={"kind": "vilt", "path": "data"})
    (work,) = parted
    assert len(work) == 1


def colour_judge(body):
    """Say whether the colour that is asked about is the one that is shown."""
    shown, asked = body["messages"][0]["content"]
    data = shown["image_url"]["url"].partition(",")[2]
    red, _, blue = Image.open(io.BytesIO(base64.b64decode(data))).getpixel((16, 13))
    word = "red" if red > blue else "blue"
    return "Yes, it is." if word in asked["text"].lower() else "No."


@pytest.fixture
def endpoint(monkeypatch):
    with chat_server(monkeypatch, colour_judge) as server:
        yield server


HOSTED = {"kind": "endpoint", "model": "vlm-7", "normalise": "first-word", "batch_size": 1}


def texts(server):
    return [body["messages"][0]["content"][1]["text"] for body in server.requests]


def test_a_hosted_judge_is_asked_as_its_row_says(folder, endpoint):
    rows = ask(
        folder,
        "red-model",
        hosted={**HOSTED, "max_new_tokens": 7, "revision": "2024"},
        template="yes-no",
    )
    assert said(rows) == everywhere("yes", "no")
    assert {row["raw_answer"] for row in rows} == {"Yes, it is.", "No."}
    assert {row["judge"] for row in rows} == {"endpoint vlm-7"}
    assert {body["model"] for body in endpoint.requests} == {"vlm-7"}
    assert {body["max_completion_tokens"] for body in endpoint.requests} == {7}
    assert set(texts(endpoint)) == {
        f"{asked['question']} answer only yes or no" for asked in (RED, BLUE)
    }


def test_the_template_and_the_normaliser_are_those_of_the_row(folder, endpoint):
    settings = {**HOSTED, "normalise": "gpt4o-helper"}
    rows = ask(folder, "red-model", hosted=settings)
    assert said(rows)["a", 0, 1] == "yes it is"
    assert set(texts(endpoint)) == {RED["question"], BLUE["question"]}


def test_a_judge_that_fails_is_asked_again_only_for_what_it_did_not_answer(folder, endpoint):
    endpoint.broken_after = 3
    settings = {**HOSTED, "questions_per_batch": 1}
    with pytest.raises(SelmaError):
        ask(folder, "red-model", hosted=settings)
    assert len(endpoint.requests) == 4
    (log,) = (folder / ".selma/work").glob("answers-mine-red-model-*/answers.jsonl")
    assert len(log.read_text(encoding="utf-8").splitlines()) == 2  # a head, and the first batch
    endpoint.broken_after = 1000
    rows = ask(folder, "red-model", hosted=settings)
    assert said(rows) == everywhere("yes", "no")
    assert len(endpoint.requests) == 4 + 3  # of six questions three were answered
    assert not any((folder / ".selma/work").iterdir())


def test_answers_of_a_run_that_died_are_not_taken_up_for_other_words_or_another_model(
    folder, endpoint
):
    for changes in ({}, {"template": "yes-no"}, {"model": "blue-model"}):
        endpoint.requests.clear()
        endpoint.broken_after = 3
        with pytest.raises(SelmaError):
            ask(folder, **{"model": "red-model", "hosted": HOSTED, **changes})
        assert len(endpoint.requests) == 4
    endpoint.broken_after = 1000
    assert said(ask(folder, "blue-model", hosted=HOSTED)) == everywhere("no", "yes")
