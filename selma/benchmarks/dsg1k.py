"""DSG-1k: 1,060 prompts of ten older sets with 8,182 yes/no questions that depend on each other.

Source: Davidsonian Scene Graph, arXiv 2310.18235; data of github.com/j-min/DSG.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from selma.benchmarks.reading import (
    TEXT,
    Check,
    Imported,
    Problems,
    Record,
    Row,
    file_in,
    item,
    shown,
)
from selma.core.errors import RecordError

FILE = "dsg-1k-anns.csv"
REMEDY = f"mend it, or take dsg/data/{FILE} of github.com/j-min/DSG"
COLUMNS = (
    "item_id", "text", "keywords", "proposition_id", "dependency", "category_broad",
    "category_detailed", "tuple", "question_natural_language",
)  # fmt: skip
SOURCES = {  # → items, questions
    "countbench": (100, 642), "diffusiondb": (100, 672), "drawtext": (100, 659),
    "localized_narratives": (100, 865), "midjourney": (100, 722), "posescript": (100, 1014),
    "stanford_paragraph": (100, 1240), "tifa160": (160, 929), "vrd": (100, 1004),
    "whoops": (100, 435),
}  # fmt: skip
FIRST_QUESTION = {"tifa160_134": 2}  # its question 1 was dropped; its others still name it
# category_detailed of SELMA's Table 7, arXiv 2403.06952, in its order; all others are not in it
SKILL_NAMES = {
    "whole": "Whole", "color": "Color", "shape": "Shape", "spatial": "Spatial", "part": "Part",
    "state": "State", "count": "Count", "action": "Action", "-": "Global",
    "material": "Material", "type": "Type", "text rendering": "Text Rendering",
}  # fmt: skip
BROAD_TYPES = {
    "entity": "entity", "attribute": "attribute", "other": "attribute", "relation": "relation",
    "action": "relation", "global": "global",
}  # fmt: skip
GROUPS = {
    "tifa": "tifa", "stanford": "paragraph", "localized": "paragraph", "vrd": "relation",
    "count": "count", "diffusiondb": "real_user", "midjourney": "real_user", "pose": "pose",
    "whoops": "defying", "drawtext": "text",
}  # fmt: skip
ITEM_ID = re.compile(r"(\S+)_[0-9]+")
_CHECKS: dict[str, Check] = {
    **dict.fromkeys(COLUMNS, TEXT),
    "item_id": (ITEM_ID.fullmatch, "an id like vrd_17"),
    "proposition_id": (re.compile("[1-9][0-9]{0,8}").fullmatch, "a whole number from 1"),
}


def broad_type(tuple_text: str) -> str:
    """Look up entity, attribute, relation or global: the first word of BROAD_TYPES in the tuple.

    Differs from the file's column category_broad, which has "other" besides: the official package
    sorts by the tuple's text, wherever in it the word stands. RecordError: it has none of the
    words.
    """
    return _first_in(f"tuple {tuple_text!r}", tuple_text, BROAD_TYPES)


def group_of(item_id: str) -> str:
    """Look up the one of DSG's 8 prompt groups that the id tells; RecordError if it tells none."""
    return _first_in(f"item {item_id!r}", item_id, GROUPS)


def _first_in(place: str, text: str, table: Mapping[str, str]) -> str:
    for part, found in table.items():
        if part in text:
            return found
    raise RecordError(f"{place}: expected one of {', '.join(table)} in it")


def source_of(item_id: str) -> str:
    """Take the id up to its last underscore: the older set that the prompt is of.

    RecordError: the id does not end in an underscore and a number.
    """
    match = ITEM_ID.fullmatch(item_id)
    if match is None:
        raise RecordError(f"item {item_id!r}: expected an id like vrd_17")
    return match[1]


def import_dsg1k(path: Path, *, partial: bool) -> Imported:
    """Read dsg-1k-anns.csv, or the folder that holds it; see `Importer`.

    A part may lack items, but has every question of the items it has.
    """
    file = file_in(path, FILE, REMEDY)
    rows = read_dsg_annotations(file)
    problems = Problems(file, REMEDY, "" if partial else "items")
    _check_numbers(rows, problems)
    _check_items(rows, problems, partial=partial)
    if not partial:
        counts = Counter(row["source"] for row in rows for _ in row["questions"])
        questions = {source: number for source, (_, number) in SOURCES.items()}
        problems.check_counts("questions", questions, counts)
    problems.stop()
    return Imported(rows, [file], sum(items for items, _ in SOURCES.values()))


def read_dsg_annotations(path: Path) -> list[Row]:
    """Read questions in the format of dsg-1k-anns.csv, of any number of prompts.

    The questions of an item keep the file's order and numbers, which may have gaps; a question text
    or tuple that occurs twice is two questions. Dependencies are kept as they are written: some
    name themselves, later or absent questions, or things that are no numbers.

    Returns rows of a benchmark table; category is the file's category_detailed ("-" is the global
    one), element its tuple, the answer always "yes". Raises MissingDataError if there is no such
    file, and RecordError that names all that is wrong: line, item, column, got and expected.
    """
    problems = Problems(file_in(path, FILE, REMEDY), REMEDY)
    items: dict[str, Row] = {}
    lines: dict[tuple[str, int], int] = {}
    for record in problems.csv_records(problems.path, COLUMNS):
        if problems.check(_place(record), record.cells, _CHECKS, kind="column"):
            _add(record, items, lines, problems)
    problems.stop()
    if not items:
        problems.add("file", "holds no question")
        problems.stop()
    return list(items.values())


def _add(
    record: Record, items: dict[str, Row], lines: dict[tuple[str, int], int], problems: Problems
) -> None:
    cells = record.cells
    item_id, number = cells["item_id"], int(cells["proposition_id"])
    row = items.setdefault(item_id, item(item_id, cells["text"], source_of(item_id)))
    if row["prompt"] != cells["text"]:
        expected = f"the item's prompt {row['prompt']!r}"
        problems.wrong(f"{_place(record)}, column text", expected, cells["text"])
    first = lines.setdefault((item_id, number), record.line)
    if first != record.line:
        again = f"question {number} of the item is on line {first} already"
        problems.add(f"{_place(record)}, column proposition_id", again)
    row["questions"].append(
        {
            "question_id": number,
            "question": cells["question_natural_language"],
            "choices": [],
            "answer": "yes",
            "dependency": cells["dependency"],
            "category": cells["category_detailed"],
            "element": cells["tuple"],
        }
    )


def _place(record: Record) -> str:
    return f"line {record.line}, item {record.cells['item_id']}"


def _check_items(rows: Sequence[Row], problems: Problems, *, partial: bool) -> None:
    known = {
        f"{source}_{number}" for source, (count, _) in SOURCES.items() for number in range(count)
    }
    given = {row["item_id"] for row in rows}
    for item_id in sorted(given - known):
        problems.add(f"item {item_id}", "is not one of DSG-1k")
    for item_id in sorted(known - given) if not partial else ():
        problems.add(f"item {item_id}", "is missing")


def _check_numbers(rows: Sequence[Row], problems: Problems) -> None:
    for row in rows:
        ids = [question["question_id"] for question in row["questions"]]
        wanted = range(FIRST_QUESTION.get(row["item_id"], 1), max(ids) + 1)
        missing = sorted(set(wanted) - set(ids))
        if missing:
            problems.add(f"item {row['item_id']}", f"lacks question {shown(missing)[1:-1]}")
        elif ids != list(wanted):
            expected = f"the questions {wanted.start} to {max(ids)} in order"
            problems.wrong(f"item {row['item_id']}", expected, ids)
