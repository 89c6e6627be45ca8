"""`selma score` with judges of the real classes, from folder to number."""

import json

import pytest
import tiny
import tiny_chat
from PIL import Image

from selma.commands.cli import main
from selma.core.tables import read_table, write_table

ITEMS = ("set_1", "set_2", "set_3")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    rows = []
    for number, item_id in enumerate(ITEMS):
        Image.fromarray(tiny.picture(number)).save(tmp_path / "pictures" / f"{item_id}.png")
        questions = [
            {
                "question_id": place,
                "question": text,
                "choices": ["yes", "no"],
                "answer": "yes",
                "dependency": "0",
                "category": "whole",
                "element": "",
            }
            for place, text in enumerate(("Is there a cat?", "Is the cat white?"), start=1)
        ]
        prompt = f"a cat number {number}"
        rows.append({"item_id": item_id, "prompt": prompt, "source": "set", "questions": questions})
    write_table(tmp_path / "benchmark.parquet", "benchmark", rows)
    return tmp_path


def score(capsys, metric, *options):
    given = ("--images", "pictures", "--benchmark", "benchmark.parquet", "--resamples", "200")
    code = main(["score", metric, *given, *options, "--json"])
    told = capsys.readouterr()
    assert code == 0, told.err
    return json.loads(told.out)


def test_answers_of_a_model_on_disk_are_kept_with_all_that_decides_them(folder, capsys):
    tiny.write_blip_vqa(folder / "blip")
    result = score(
        capsys, "dsg", "--judge", "blip-vqa", "--judge-path", str(folder / "blip"),
        "--answers", "answers.parquet", "--max-new-tokens", "4", "--beams", "2",
        "--no-answer-max", "1",
    )  # fmt: skip
    assert (result["judge"], result["judge_settings"]["path"]) == ("blip-vqa blip", "blip")
    assert result["revision"].startswith("sha256:") and str(folder) not in json.dumps(result)
    assert result["preprocessing"] != "unknown: the answers were given"
    assert {"torch", "transformers"} <= set(result["libraries"])
    rows = read_table(folder / "answers.parquet", "answers")
    assert len(rows) == 6 and {row["judge"] for row in rows} == {"blip-vqa blip"}


def test_a_chat_models_probability_of_yes_is_a_score(folder, capsys):
    tiny_chat.write_llava(folder / "llava")
    result = score(capsys, "vqascore", "--judge-path", str(folder / "llava"), "--variant", "p-yes")
    assert set(result["prompts"]) == set(ITEMS)
    assert all(0 < value < 1 for value in result["prompts"].values())
    assert (result["policy"], result["unit"]) == ("p-yes", "probability")
    assert str(folder) not in json.dumps(result)
