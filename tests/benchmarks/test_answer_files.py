"""Published answers are read cell for cell and find the question they answer."""

import json

import pytest

from selma.benchmarks.answer_files import read_answers
from selma.core.errors import ConfigError, MissingDataError, RecordError

HEADER = "dsg_prompt_split,qg_model,t2i_model,item_id,question,question_id,dependency_id,answer\n"


def item(item_id, *texts, source="set"):
    questions = [
        {
            "question_id": number,
            "question": text,
            "choices": ["yes", "no"],
            "answer": "yes",
            "dependency": "0",
            "category": "whole",
            "element": "",
        }
        for number, text in enumerate(texts, start=1)
    ]
    return {"item_id": item_id, "prompt": "", "source": source, "questions": questions}


BENCHMARK = [item("set_1", "Is it a cat?", "Is it red?"), item("set_2", "Is it wet?", "Is it wet?")]


@pytest.fixture
def write(tmp_path):
    def to_file(text, name="judge.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return to_file


def read(path, **options):
    return read_answers(path, BENCHMARK, **({"metric": "dsg", "t2i_model": None} | options))


def told(rows):
    return {(row["item_id"], row["question_id"]): row["answer"] for row in rows}


def test_answers_keep_every_letter_also_line_breaks_blanks_and_words_for_nothing(write):
    body = 'set,dsg,sd,set_1,Is it a cat?,1,0,"yes 10\r\n00"\r\n'
    body += "set,dsg,sd,set_1,Is it red?,2,1,None\r\n"
    body += "set,dsg,sd,set_2,Is it wet?,1,0,\r\nset,dsg,sd,set_2,Is it wet?,2,0, yes \r\n"
    rows = read(write(HEADER + body))
    assert told(rows) == {
        ("set_1", 1): "yes 10\r\n00",
        ("set_1", 2): "None",
        ("set_2", 1): "",
        ("set_2", 2): " yes ",
    }
    assert {row["judge"] for row in rows} == {"judge"}
    assert rows[0]["revision"].startswith("sha256 ")


def test_one_of_several_models_must_be_chosen(write):
    path = write(HEADER + "".join(f"set,dsg,{m},set_1,Is it red?,2,1,{m}\n" for m in ("a", "b")))
    assert told(read(path, t2i_model="b")) == {("set_1", 2): "b"}
    with pytest.raises(ConfigError, match=r"several t2i_model: a \(1 answers\), b \(1 answers\)"):
        read(path)
    with pytest.raises(ConfigError, match="no t2i_model 'c'"):
        read(path, t2i_model="c")


def test_of_several_kinds_of_questions_the_metrics_own_are_taken(write):
    lines = "".join(f"set,{kind},sd,set_1,Is it red?,2,1,{kind}\n" for kind in ("dsg", "tifa"))
    assert told(read(write(HEADER + lines), metric="tifa")) == {("set_1", 2): "tifa"}


def test_an_answer_with_a_foreign_number_finds_its_question_by_its_words(write):
    lines = "set,dsg,sd,set_1,is it  RED?,7,0,red\nset,dsg,sd,set_2,Is it wet?,8,0,first\n"
    lines += "set,dsg,sd,set_2,Is it wet?,9,0,second\n"
    assert told(read(write(HEADER + lines))) == {
        ("set_1", 2): "red",
        ("set_2", 1): "first",
        ("set_2", 2): "second",
    }


def test_items_go_by_their_other_names_too_and_those_of_other_sources_are_left_out(write):
    path = write("item_id,question,answer\ncoco_5,Is it red?,yes\nelsewhere_1,Is it hot?,no\n")
    assert told(read(path, aliases={"coco_5": "set_1"})) == {("set_1", 2): "yes"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("set,dsg,sd,set_3,Is it red?,1,0,yes\n", "line 2: item 'set_3' is not in the benchmark"),
        (
            "set,dsg,sd,set_1,Is it old?,3,0,yes\n",
            r"line 2: item 'set_1': question '3' \('Is it old",
        ),
        (
            "set,dsg,sd,set_1,Is it old?,2,0,yes\n",
            "1 of 1 answers belong to a question with another",
        ),
        (
            "set,dsg,sd,set_1,Is it red?,2,0,yes\nset,dsg,sd,set_1,Is it red?,2,0,no\n",
            "line 3: item 'set_1': question '2'.*twice",
        ),
        ("set,dsg,sd,set_1,Is it red?\n", "line 2: expected 8 cells, got another number"),
        ("", "holds no answers"),
    ],
)
def test_what_does_not_belong_is_named_with_its_line(write, line, message):
    with pytest.raises(RecordError, match=message):
        read(write(HEADER + line))


def test_a_file_with_other_columns_and_a_missing_file_are_named(write, tmp_path):
    with pytest.raises(RecordError, match="columns a, b; expected item_id, answer and question_id"):
        read(write("a,b\n1,2\n"))
    with pytest.raises(MissingDataError, match="none.csv"):
        read(tmp_path / "none.csv")


def test_a_tifa_result_gives_free_and_mapped_answers(write):
    logs = {"Is it red?": {"free_form_vqa": "reddish", "multiple_choice_vqa": "yes"}}
    rows = read(write(json.dumps({"question_details": {"set_1": logs}}), "r.json"), metric="tifa")
    assert [(r["question_id"], r["raw_answer"], r["answer"]) for r in rows] == [
        (2, "reddish", "yes")
    ]


def test_a_tifa_result_about_other_questions_is_refused(write):
    logs = {"Is it old?": {"free_form_vqa": "yes", "multiple_choice_vqa": "yes"}}
    path = write(json.dumps({"question_details": {"set_1": logs}}), "r.json")
    with pytest.raises(RecordError, match="1 questions are not the benchmark's.*Is it old"):
        read(path, metric="tifa")
    with pytest.raises(RecordError, match="not a result of TIFA's package"):
        read(write("[]", "r.json"), metric="tifa")


def test_a_line_that_stands_there_twice_counts_once(write, caplog):
    rows = read(write(HEADER + 2 * "set,dsg,sd,set_1,Is it red?,2,0,yes\n"))
    assert told(rows) == {("set_1", 2): "yes"} and len(rows) == 1
    assert "1 answers stand there twice" in caplog.text
