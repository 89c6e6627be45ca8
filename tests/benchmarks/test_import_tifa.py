"""TIFA's questions are read in its own format, and the whole of v1.0 is checked to be whole."""

import json

import pytest

from selma.benchmarks.tifa import ELEMENT_TYPES, import_tifa, read_tifa_questions
from selma.core.errors import MissingDataError, RecordError

PROMPT_COUNTS = {"coco": 2000, "partiprompt": 1420, "paintskill": 500, "drawbench": 161}
FILE, PROMPTS_FILE = "tifa_v1.0_question_answers.json", "tifa_v1.0_text_inputs.json"


def entry(item_id="coco_7", **changes):
    return {
        "id": item_id,
        "caption": f"the caption of {item_id}",
        "question": "what animal is this?",
        "choices": ["cat", "dog", "bird", "fish"],
        "answer": "cat",
        "element_type": "animal",
        "element": "cat",
        **changes,
    }


def write(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def whole():
    """Questions and prompts of TIFA v1.0's layout and numbers: 8 prompts have no question."""
    ids = [f"{source}_{n}" for source, count in PROMPT_COUNTS.items() for n in range(count)]
    asked = [item_id for item_id in ids if item_id not in ids[10:18]]
    types = [*(set(ELEMENT_TYPES) - {"animal/human"}), "animal", "human"]
    questions = []
    for index in range(25_829):
        types_text = types[index % len(types)]
        item_id = asked[index % len(asked)]
        questions.append(entry(item_id, question=f"is this {index}?", element_type=types_text))
    return questions, [{"id": i, "caption": f"the caption of {i}"} for i in ids]


def write_whole(folder, questions, prompts):
    write(folder / FILE, questions)
    if prompts is not None:
        write(folder / PROMPTS_FILE, prompts)
    return folder


def test_the_authors_sample_is_read_question_by_question(public):
    path = public("tifa_sample/sample_question_answers.json")
    expected = json.loads(path.read_text())
    rows = read_tifa_questions(path)
    assert [(row["item_id"], row["source"]) for row in rows] == [
        ("coco_301091", "coco"),
        ("drawbench_52", "drawbench"),
    ]
    questions = [question for row in rows for question in row["questions"]]
    keys = ("question", "choices", "answer", "element")
    assert [[q[key] for key in keys] for q in questions] == [[e[k] for k in keys] for e in expected]
    assert [q["category"] for q in questions] == [e["element_type"] for e in expected]
    assert [q["question_id"] for q in rows[0]["questions"]] == list(range(1, 12))
    assert {q["dependency"] for q in questions} == {"0"}


def test_the_reconstructed_key_is_read_by_dsgs_names_of_its_items_and_has_no_types(public):
    rows = read_tifa_questions(public("tifa160_question_answers_reconstructed.json"))
    questions = [question for row in rows for question in row["questions"]]
    assert (len(rows), len(questions)) == (160, 1128)
    assert (rows[0]["item_id"], rows[0]["source"]) == ("tifa160_63", "tifa160")
    assert {(q["category"], q["element"]) for q in questions} == {("", "")}
    assert sum(q["answer"] == q["choices"][0] for q in questions) == 1114


def test_types_have_the_names_that_the_paper_prints(public):
    table = json.loads(public("selma_paper_tables.json").read_text())["table6_tifa_skills"]
    assert list(ELEMENT_TYPES) == table["element_type_keys"]
    assert [*ELEMENT_TYPES.values(), "Average"] == table["columns"]


def test_the_public_prompts_become_items_also_without_questions(public, tmp_path):
    prompts = json.loads(public(PROMPTS_FILE).read_text(encoding="utf-8"))
    asked = [entry(p["id"], caption=p["caption"]) for p in prompts[5:7]]
    rows = read_tifa_questions(write(tmp_path / "asked.json", asked), public(PROMPTS_FILE))
    assert [(row["item_id"], row["prompt"]) for row in rows] == [
        (prompt["id"], prompt["caption"]) for prompt in prompts
    ]
    assert [row["item_id"] for row in rows if row["questions"]] == [e["id"] for e in asked]


def test_all_of_tifa_is_imported_with_its_prompts(tmp_path, whole):
    imported = import_tifa(write_whole(tmp_path, *whole), partial=False)
    assert (len(imported.rows), imported.published_items) == (4081, 4081)
    assert sum(not row["questions"] for row in imported.rows) == 8
    categories = {q["category"] for row in imported.rows for q in row["questions"]}
    assert categories == set(ELEMENT_TYPES)


def test_all_of_tifa_is_imported_without_its_prompts(tmp_path, whole):
    folder = write_whole(tmp_path, whole[0], None)
    imported = import_tifa(folder / FILE, partial=False)
    assert (len(imported.rows), imported.published_items) == (4073, 4073)
    assert imported.files == [folder / FILE]


def test_one_item_is_numbered_for_itself_and_keeps_a_question_that_occurs_twice(tmp_path):
    entries = [entry(), entry("coco_8"), entry(), entry(question="what else?")]
    rows = read_tifa_questions(write(tmp_path / "a.json", entries))
    asked = [(q["question_id"], q["question"]) for q in rows[0]["questions"]]
    same = "what animal is this?"
    assert asked == [(1, same), (2, same), (3, "what else?")]
    assert [q["question_id"] for q in rows[1]["questions"]] == [1]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"id": "coco"}, "entry 1, key id: expected an id like coco_17, got 'coco'"),
        ({"id": 7}, "entry 1, key id: expected an id like coco_17, got 7"),
        ({"caption": ""}, "entry 1, key caption: expected a text, got ''"),
        ({"caption": "a lone \ud83d"}, "entry 1, key caption: expected a text, got"),
        ({"caption": "another"}, "entry 1 (coco_7), key caption: expected the item's 'the caption"),
        ({"question": None}, "entry 1, key question: expected a text, got None"),
        ({"answer": ["cat"]}, "entry 1, key answer: expected a text, got ['cat']"),
        ({"answer": "Cat"}, "entry 1 (coco_7), key answer: expected one of ['cat', 'dog', 'bird'"),
        ({"choices": []}, "entry 1 (coco_7), key choices: expected a list of texts, got []"),
        ({"choices": "cat"}, "entry 1 (coco_7), key choices: expected a list of texts, got 'cat'"),
        ({"choices": ["cat", 2]}, "entry 1 (coco_7), key choices: expected a list of texts, got"),
        ({"element_type": 3}, "entry 1 (coco_7), key element_type: expected a text, got 3"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_entry_and_key(tmp_path, refusal, changes, told):
    path = write(tmp_path / "bad.json", [entry(), entry(**changes)])
    assert f"{path}: {told}" in refusal(read_tifa_questions, path)


def test_a_missing_key_is_told(tmp_path, refusal):
    bad = {key: value for key, value in entry().items() if key != "question"}
    message = refusal(read_tifa_questions, write(tmp_path / "bad.json", [bad, "text"]))
    assert "2 problems: entry 0, key question: expected a text, got 'nothing'" in message
    assert "entry 1: expected an object, got 'text'" in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[{"id": "coco_1",', "file: not JSON at line 1 column 18"),
        ('[\n{"id": }]', "file: not JSON at line 2 column 8"),
        ("{}", "file: expected a JSON list that is not empty, got {}"),
        ("[]", "file: expected a JSON list that is not empty, got []"),
        ("[" * 100_000, "file: JSON that is nested too deeply"),
        ("", "file: is empty"),
    ],
)
def test_a_file_that_is_no_json_list_is_told(tmp_path, refusal, text, told):
    path = tmp_path / "bad.json"
    path.write_text(text)
    assert f"bad.json: {told}" in refusal(read_tifa_questions, path)


def test_missing_files_are_missing(tmp_path):
    with pytest.raises(MissingDataError, match=f"{FILE}: no such file.*Yushi-Hu/tifa"):
        import_tifa(tmp_path, partial=False)
    path = write(tmp_path / FILE, [entry()])
    with pytest.raises(MissingDataError, match=r"prompts.json: no such file"):
        read_tifa_questions(path, tmp_path / "prompts.json")


def test_numbers_that_lack_one_are_told(tmp_path, whole, refusal):
    questions, prompts = whole
    folder = write_whole(tmp_path, questions[:-1], prompts[:10] + prompts[11:])
    message = refusal(import_tifa, folder, partial=False)
    assert f"{folder / FILE}: 2 problems: coco: expected 2000 prompts, got 1999; " in message
    assert "file: expected 25829 questions, got 25828; " in message


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"element_type": "colour"},
            "item coco_7 question 2, element_type: expected one of animal/",
        ),
        ({"id": "flickr_3"}, "item flickr_3: expected an id of one of coco, drawbench, paintskill"),
    ],
)
def test_a_type_or_source_that_tifa_does_not_have_is_told(tmp_path, refusal, changes, told):
    path = write(tmp_path / "bad.json", [entry(), entry(**changes)])
    assert told in refusal(import_tifa, path, partial=True)


@pytest.mark.parametrize(
    ("prompts", "told"),
    [
        ([entry("coco_8")], "item coco_7: has questions and is not in prompts.json"),
        ([entry()] * 2, "prompts.json entry 1 (coco_7), key id: coco_7 occurs twice"),
        (
            [entry(caption="another")],
            "prompts.json entry 0 (coco_7), key caption: expected that of the questions, 'the capt",
        ),
        ([entry(caption="")], "prompts.json entry 0, key caption: expected a text, got ''"),
        ({}, "prompts.json file: expected a JSON list that is not empty, got {}"),
    ],
)
def test_prompts_that_do_not_fit_the_questions_are_told(tmp_path, refusal, prompts, told):
    path = write(tmp_path / "asked.json", [entry()])
    prompts_path = write(tmp_path / "prompts.json", prompts)
    assert told in refusal(read_tifa_questions, path, prompts_path)


def test_a_part_is_taken_when_asked_for(public, refusal):
    path = public("tifa_sample/sample_question_answers.json")
    assert "or say --partial" in refusal(import_tifa, path, partial=False)
    imported = import_tifa(path, partial=True)
    assert (len(imported.rows), imported.published_items) == (2, 4073)


def test_the_reconstructed_key_is_a_part_of_tifa_that_can_be_imported(public):
    key = public("tifa160_question_answers_reconstructed.json")
    imported = import_tifa(key, partial=True)
    assert len(imported.rows) == 160
    with pytest.raises(RecordError, match="160 problems: item tifa160_0"):
        import_tifa(key, partial=False)
