"""`selma questions` from prompts to a benchmark table, with the pocket LLM and over HTTP."""

import json

import pytest
from chat_server import completion, serving

from selma.commands.cli import main
from selma.core.tables import read_about, read_table
from selma.foundation.benchmarks import benchmark_rows
from selma.pocket.question_writer import MODEL, REVISION, PocketQuestionWriter

POCKET = ("--backend", "pocket", "--model", MODEL, "--revision", REVISION)
CAPTIONS = ("a red star", "two blue rings and a circle", "a small heart above a big red square")


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("\n".join(CAPTIONS))
    return path


def run(method, prompts, *arguments):
    out = prompts.with_name("benchmark.parquet")
    words = ["questions", method, "--prompts", str(prompts), "--out", str(out), *arguments]
    return main(words), out


def test_pocket_captions_get_the_questions_of_the_pocket_benchmark(tmp_path):
    rows = benchmark_rows("pocket-dsg", items_per_skill=3, seed=5)
    path = tmp_path / "items.jsonl"
    keys = ("item_id", "prompt", "source")
    path.write_text("".join(json.dumps({key: row[key] for key in keys}) + "\n" for row in rows))
    code, out = run("dsg", path, *POCKET, "--retries", "6")
    assert code == 0
    names = ("question_id", "question", "choices", "answer", "dependency")
    for row, wanted in zip(read_table(out, "benchmark"), rows, strict=True):
        assert {key: row[key] for key in keys} == {key: wanted[key] for key in keys}
        expected = [{**q, "choices": []} for q in wanted["questions"]]  # both mean yes or no
        assert [[q[name] for name in names] for q in row["questions"]] == [
            [q[name] for name in names] for q in expected
        ]


def test_the_table_tells_how_it_came_about(prompts, capsys):
    code, out = run("dsg", prompts, *POCKET, "--seed", "3")
    assert code == 0
    about = read_about(out)
    assert about["method"] == "dsg"
    assert about["request_versions"] == {"tuples": 1, "dependencies": 1, "questions": 1}
    assert (about["backend"], about["model"], about["revision"]) == ("pocket", MODEL, REVISION)
    assert (about["seed"], about["counts"]["prompts"]) == (3, 3)
    assert "for 3 of 3 prompts" in capsys.readouterr().out


def test_a_second_run_gives_the_same_bytes_and_adds_no_reply(prompts):
    _, out = run("dsg", prompts, *POCKET)
    replies = out.with_suffix(".replies.jsonl")
    first, stored = out.read_bytes(), replies.read_bytes()
    run("dsg", prompts, *POCKET)
    assert (out.read_bytes(), replies.read_bytes()) == (first, stored)


def test_replies_are_kept_where_it_is_told(prompts, tmp_path):
    path = tmp_path / "kept" / "here.jsonl"
    run("tifa", prompts, *POCKET, "--replies", str(path))
    assert len(path.read_text().splitlines()) == 3


def test_a_prompt_without_questions_stops_the_command_and_is_told_with_its_replies(prompts, capsys):
    prompts.write_text("a red star\na furry dog\n")
    code, out = run("dsg", prompts, *POCKET, "--retries", "1")
    assert code == 4
    message = capsys.readouterr().err
    assert "1 of 2 prompts have no questions, first 'mine_0002'" in message
    assert "--allow-partial" in message
    assert not out.exists()
    failures = json.loads(out.with_suffix(".failures.json").read_text())
    assert [failure["prompt"] for failure in failures] == ["a furry dog"]
    bad = failures[0]["bad_replies"]
    assert [reply["step"] for reply in bad] == ["tuples", "tuples"]
    assert all(reply["reply"].startswith("I am sorry") for reply in bad)


def test_the_others_are_written_if_that_is_allowed(prompts):
    prompts.write_text("a red star\na furry dog\n")
    code, out = run("dsg", prompts, *POCKET, "--allow-partial")
    assert code == 0
    assert [row["item_id"] for row in read_table(out, "benchmark")] == ["mine_0001"]
    assert read_about(out)["counts"]["failed"] == 1
    assert out.with_suffix(".failures.json").exists()
    prompts.write_text("a red star\n")
    assert run("dsg", prompts, *POCKET)[0] == 0
    assert not out.with_suffix(".failures.json").exists()


def test_nothing_at_all_is_never_written(prompts):
    prompts.write_text("a furry dog\n")
    code, out = run("dsg", prompts, *POCKET, "--allow-partial")
    assert code == 4
    assert not out.exists()


@pytest.mark.parametrize(
    ("method", "arguments", "told"),
    [
        ("vqa", POCKET, "unknown question method 'vqa'"),
        ("dsg", (*POCKET, "--retries", "-1"), "--retries"),
        ("dsg", (*POCKET, "--unifiedqa", "x"), "--unifiedqa only with tifa"),
        ("dsg", ("--backend", "gpt", "--model", "m", "--revision", "1"), "unknown LLM backend"),
        ("dsg", (*POCKET[:-1], "9"), "revision '1', got '9'"),
    ],
)
def test_a_wrong_option_is_told(prompts, capsys, method, arguments, told):
    assert run(method, prompts, *arguments)[0] == 2
    assert told in capsys.readouterr().err


def pocket(body):
    """Answer with what the pocket LLM says."""
    request = body["messages"][0]["content"]
    text = PocketQuestionWriter(MODEL, REVISION).generate(request, seed=body["seed"])
    return 200, completion(text)


@pytest.fixture
def server(monkeypatch):
    with serving(monkeypatch, pocket) as server:
        yield server


def test_a_server_is_asked_over_http_and_only_once(prompts, server):
    llm = ("--backend", "openai", "--model", "m-2024", "--revision", "2024-01-01")
    code, out = run("dsg", prompts, *llm, "--retries", "6")
    assert code == 0
    asked = len(server.requests)
    counts = read_about(out)["counts"]
    assert asked == counts["requests"] == 9 + counts["unreadable"]
    texts = {row["prompt"]: [q["question"] for q in row["questions"]]
             for row in read_table(out, "benchmark")}  # fmt: skip
    assert texts[CAPTIONS[0]] == ["Is there a star?", "Is the star red?"]
    run("dsg", prompts, *llm, "--retries", "6")
    assert len(server.requests) == asked
