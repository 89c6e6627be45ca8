"""DSG-1k is read as it is published, with all its oddities, and a damaged copy is not read."""

import csv
import io
import json
from collections import Counter

import pytest

from selma.benchmarks.dsg1k import (
    COLUMNS,
    SKILL_NAMES,
    broad_type,
    group_of,
    import_dsg1k,
    read_dsg_annotations,
    source_of,
)
from selma.core.errors import MissingDataError, RecordError

FILE = "dsg-1k-anns.csv"


def cells(item_id="vrd_3", number=1, **changes):
    """Give the cells of one question; `changes` by column."""
    return {
        "item_id": item_id,
        "text": f"the prompt of {item_id}",
        "keywords": "prompt",
        "proposition_id": str(number),
        "dependency": "0",
        "category_broad": "entity",
        "category_detailed": "whole",
        "tuple": "entity - whole (prompt)",
        "question_natural_language": "Is there a prompt?",
        **changes,
    }


def write_csv(path, records, columns=COLUMNS):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(records)
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    return path


@pytest.fixture
def lines(public):
    """The lines of the public file with their ends; no row of it spans lines."""
    return public(FILE).read_bytes().splitlines(keepends=True)


def test_every_cell_of_the_public_file_is_kept_as_it_is_written(public):
    with public(FILE).open(encoding="utf-8", newline="") as handle:
        expected = list(csv.DictReader(handle))
    imported = import_dsg1k(public(FILE), partial=False)
    got = [
        {
            "item_id": row["item_id"],
            "text": row["prompt"],
            "proposition_id": str(question["question_id"]),
            "dependency": question["dependency"],
            "category_detailed": question["category"],
            "tuple": question["element"],
            "question_natural_language": question["question"],
        }
        for row in imported.rows
        for question in row["questions"]
    ]
    assert (len(imported.rows), len(got)) == (1060, 8182)
    assert got == [{column: row[column] for column in got[0]} for row in expected]
    questions = [question for row in imported.rows for question in row["questions"]]
    assert {(tuple(q["choices"]), q["answer"]) for q in questions} == {((), "yes")}


def test_the_known_oddities_of_the_public_file_are_there(public):
    rows = {row["item_id"]: row for row in read_dsg_annotations(public(FILE))}
    cell = {(i, q["question_id"]): q["dependency"] for i in rows for q in rows[i]["questions"]}
    assert cell["posescript_69", 9] == "5, right"
    assert cell["posescript_39", 8] == "7, 1"
    assert cell["drawtext_57", 6] == "0,4"
    assert [q["question_id"] for q in rows["tifa160_134"]["questions"]] == list(range(2, 10))
    assert all("1" in q["dependency"].split(",") for q in rows["tifa160_134"]["questions"])
    assert rows["midjourney_61"]["prompt"] == rows["midjourney_65"]["prompt"]
    assert sum(not row["prompt"].isascii() for row in rows.values()) == 16
    texts = [Counter(q["question"] for q in row["questions"]) for row in rows.values()]
    assert sum(n for counts in texts for n in counts.values() if n > 1) == 122


def test_skills_have_the_names_and_numbers_of_questions_that_the_paper_prints(public):
    table = json.loads(public("selma_paper_tables.json").read_text())["table7_dsg_skills"]
    rows = read_dsg_annotations(public(FILE))
    counts = Counter(question["category"] for row in rows for question in row["questions"])
    assert list(SKILL_NAMES) == table["category_detailed_keys"]
    assert [*SKILL_NAMES.values(), "Average"] == table["columns"]
    assert [counts[key] for key in SKILL_NAMES] == table["question_counts"]


def test_sources_and_groups_divide_the_prompts_as_documented(public):
    rows = read_dsg_annotations(public(FILE))
    assert all(row["source"] == source_of(row["item_id"]) for row in rows)
    assert Counter(row["source"] for row in rows)["localized_narratives"] == 100
    assert Counter(group_of(row["item_id"]) for row in rows) == {
        "tifa": 160,
        "paragraph": 200,
        "relation": 100,
        "count": 100,
        "real_user": 200,
        "pose": 100,
        "defying": 100,
        "text": 100,
    }


def test_every_public_tuple_has_a_broad_type_of_four(public):
    rows = read_dsg_annotations(public(FILE))
    types = [broad_type(question["element"]) for row in rows for question in row["questions"]]
    assert set(types) == {"entity", "attribute", "relation", "global"}


@pytest.mark.parametrize(
    ("tuple_text", "expected"),
    [
        ("entity - whole (bus)", "entity"),
        ("attribute - color (bus, red)", "attribute"),
        ("other - count (buses, ==2)", "attribute"),
        ("relation - spatial (bus, road, on)", "relation"),
        ("action - (man, bus, drive)", "relation"),
        ("global - (photo)", "global"),
        ("relation - spatial (mother, bus, in)", "attribute"),
        ("attribute - state (identity, lost)", "entity"),
    ],
)
def test_the_broad_type_is_the_first_of_the_words_found_anywhere_in_the_tuple(tuple_text, expected):
    assert broad_type(tuple_text) == expected


def test_texts_that_tell_no_type_group_or_source_are_refused():
    with pytest.raises(RecordError, match="'colour \\(bus\\)': expected one of entity"):
        broad_type("colour (bus)")
    with pytest.raises(RecordError, match="'coco_3': expected one of tifa"):
        group_of("coco_3")
    with pytest.raises(RecordError, match="'vrd': expected an id like vrd_17"):
        source_of("vrd")


def test_a_file_of_the_format_is_read_whatever_its_number_of_prompts_and_its_line_ends(tmp_path):
    records = [cells(number=4), cells("a_b_12", 1, text='say "no",\nor "-"'), cells(number=2)]
    path = write_csv(tmp_path / "mine.csv", records)
    rows = read_dsg_annotations(path)
    assert [(row["item_id"], row["source"]) for row in rows] == [
        ("vrd_3", "vrd"),
        ("a_b_12", "a_b"),
    ]
    assert [question["question_id"] for question in rows[0]["questions"]] == [4, 2]
    assert rows[1]["prompt"] == 'say "no",\nor "-"'
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))
    assert read_dsg_annotations(path) == rows


@pytest.mark.parametrize("number", ["1.0", "0", "-1", " 2", "٢", "two", "", "9999999999"])
def test_a_number_of_a_question_is_a_plain_whole_number(tmp_path, refusal, number):
    path = write_csv(tmp_path / "bad.csv", [cells(), cells(proposition_id=number)])
    told = f"column proposition_id: expected a whole number from 1, got {number!r}"
    assert f"{path}: line 3, item vrd_3, {told}; mend it" in refusal(read_dsg_annotations, path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"text": "  "}, "column text: expected a text, got '  '"),
        ({"text": "another"}, "column text: expected the item's prompt 'the prompt of vrd_3'"),
        ({"dependency": ""}, "column dependency: expected a text, got ''"),
        ({"category_detailed": ""}, "column category_detailed: expected a text, got ''"),
        ({"item_id": "vrd3"}, "column item_id: expected an id like vrd_17, got 'vrd3'"),
        ({"proposition_id": "1"}, "column proposition_id: question 1 of the item is on line 2"),
    ],
)  # fmt: skip
def test_a_wrong_cell_is_told_with_line_item_and_column(tmp_path, refusal, changes, told):
    path = write_csv(tmp_path / "bad.csv", [cells(), cells(number=2, **changes)])
    message = refusal(read_dsg_annotations, path)
    assert f"{path}: line 3, item {changes.get('item_id', 'vrd_3')}, {told}" in message
    assert "problems" not in message


def test_all_problems_are_counted_and_the_first_five_told(tmp_path, refusal):
    records = [cells(number=number, text="") for number in range(1, 8)]
    message = refusal(read_dsg_annotations, write_csv(tmp_path / "bad.csv", records))
    assert "bad.csv: 7 problems: line 2, item vrd_3, column text" in message
    assert "line 6, " in message
    assert "line 7, " not in message
    assert "; and 2 more; mend it" in message


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text.replace("tuple,", "tupel,"), "line 1: missing columns: tuple"),
        (lambda text: text.replace("tuple,", "text,"), "line 1: unknown or doubled columns: 'text"),
        (lambda text: text.replace(",whole,", ",", 1), "line 2: expected 9 cells, got 8"),
        (lambda text: text.replace("vrd_3,", 'vrd_3,"', 1), "line 2: cannot be read as CSV"),
        (lambda text: text + "\r\n", "line 4: expected 9 cells, got 0"),
        (lambda text: "", "file: is empty"),
        (lambda text: text.splitlines()[0], "file: holds no question"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_of_the_format_is_told_by_its_line(tmp_path, refusal, damage, told):
    path = write_csv(tmp_path / "bad.csv", [cells(), cells(number=2)])
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8", newline="")
    assert told in refusal(read_dsg_annotations, path)


def test_bytes_that_are_not_utf8_are_told_by_their_line(tmp_path, refusal):
    path = write_csv(tmp_path / "bad.csv", [cells(text="a café")])
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    assert "line 2: byte 0xe9 is not UTF-8" in refusal(read_dsg_annotations, path)


def test_a_file_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(MissingDataError, match="nowhere.csv: no such file.*j-min/DSG"):
        read_dsg_annotations(tmp_path / "nowhere.csv")


def without(number):
    return lambda lines: lines[: number - 1] + lines[number:]


def swapped(lines):
    return [*lines[:1], lines[2], lines[1], *lines[3:]]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (without(3), ["item whoops_5: lacks question 2", "whoops: expected 435 questions"]),
        (lambda lines: lines[:-1], ["expected", "questions, got"]),
        (lambda lines: lines[:1] + lines[4:], ["item whoops_5: is missing", "questions, got 432"]),
        (lambda lines: [*lines, b"\r\n", lines[1]], ["line 8184, item whoops_5", "is on line 2"]),
        (swapped, ["item whoops_5: expected the questions 1 to 3 in order, got [2, 1, 3]"]),
        (lambda lines: [lines[0].replace(b",tuple", b""), *lines[1:]], ["missing columns: tuple"]),
        (lambda lines: [*lines[:2], lines[2][:20]], ["line 3: expected 9 cells, got 2"]),
        (lambda lines: [*lines[:2], lines[2][:50]], ["line 3: cannot be read as CSV (unexp"]),
        (lambda lines: lines[:4000], ["problems: ", "is missing", "; and "]),
        (
            lambda lines: [line.replace(b"whoops_5,", b"whoops_500,") for line in lines],
            ["item whoops_500: is not one of DSG-1k", "item whoops_5: is missing"],
        ),
    ],
    ids=["row", "end", "item", "doubled", "order", "column", "cell", "quote", "cut", "unknown id"],
)  # fmt: skip
def test_a_damaged_copy_of_the_public_file_is_refused_by_place(
    tmp_path, lines, refusal, damage, told
):
    path = tmp_path / FILE
    path.write_bytes(b"".join(damage(lines)))
    message = refusal(import_dsg1k, tmp_path, partial=False)
    assert str(path) in message
    assert [part for part in told if part not in message] == [], message


def test_a_part_is_taken_when_asked_for_and_must_have_whole_items(tmp_path, lines, refusal):
    path = tmp_path / FILE
    path.write_bytes(b"".join(lines[:4]))
    assert "or say --partial" in refusal(import_dsg1k, path, partial=False)
    imported = import_dsg1k(path, partial=True)
    assert [row["item_id"] for row in imported.rows] == ["whoops_5"]
    assert imported.published_items == 1060
    path.write_bytes(b"".join([*lines[:2], *lines[3:4]]))
    assert "item whoops_5: lacks question 2" in refusal(import_dsg1k, path, partial=True)
