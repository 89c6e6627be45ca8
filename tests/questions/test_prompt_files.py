"""Prompts are read from text, JSON lines and prompts tables."""

import json

import pytest

from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.core.tables import write_table
from selma.questions.prompt_files import Prompt, read_prompts


def test_a_text_file_has_a_prompt_on_each_line(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes("\ufeffa red cube \r\n\r\n  café — “open”\n".encode())
    assert read_prompts(path) == [
        Prompt("mine_0001", "a red cube", "mine"),
        Prompt("mine_0002", "café — “open”", "mine"),
    ]


def test_json_lines_name_item_and_source(tmp_path):
    path = tmp_path / "mine.jsonl"
    prompt = Prompt("whoops_7", "two\nlines", "whoops")
    path.write_text(json.dumps(vars(prompt)) + "\n")
    assert read_prompts(path) == [prompt]


def test_a_prompts_table_gives_its_skills_as_sources(tmp_path):
    path = tmp_path / "prompts.parquet"
    row = {
        "prompt_id": "count_0000", "skill": "count", "prompt": "two cubes", "index": 0,
        "request_id": 0, "nearest_prompt_id": None, "rouge_l": 0.0, "nearest_benchmark_id": None,
        "benchmark_rouge_l": 0.0, "benchmark_kind": None,
    }  # fmt: skip
    write_table(path, "prompts", [row])
    assert read_prompts(path) == [Prompt("count_0000", "two cubes", "count")]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.txt", "\n  \n", "holds no prompts"),
        ("a.jsonl", "{\n", r"a\.jsonl:1: not JSON"),
        ("a.jsonl", '["x"]\n', r"a\.jsonl:1: expected an object with the texts item_id"),
        ("a.jsonl", '{"item_id": "a", "prompt": 3, "source": "s"}\n', "expected an object"),
        ("a.jsonl", '{"item_id": "a", "prompt": " ", "source": "s"}\n', "must not be empty"),
        ("a.jsonl", '{"item_id": "a", "prompt": "p", "source": "s"}\n' * 2, r":2: .*occurs twice"),
    ],
)
def test_a_broken_file_is_told_with_its_place(tmp_path, name, text, reason):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(RecordError, match=reason):
        read_prompts(path)


def test_a_file_of_another_encoding_is_told(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(RecordError, match="not UTF-8"):
        read_prompts(path)


def test_a_missing_file_and_another_ending_are_told(tmp_path):
    with pytest.raises(MissingDataError, match="no such file"):
        read_prompts(tmp_path / "a.txt")
    with pytest.raises(ConfigError, match=r"unknown prompts file '.csv'"):
        read_prompts(tmp_path / "a.csv")
