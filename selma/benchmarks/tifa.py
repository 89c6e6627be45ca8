"""TIFA v1.0: 4,081 prompts with 25,829 multiple-choice questions about their elements.

Source: TIFA, arXiv 2303.11897; data of github.com/Yushi-Hu/tifa.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.benchmarks.dsg1k import ITEM_ID, source_of
from selma.benchmarks.reading import (
    TEXT,
    Check,
    Imported,
    Problems,
    Row,
    file_in,
    is_text,
    is_writable,
    item,
)

FILE = "tifa_v1.0_question_answers.json"
PROMPTS_FILE = "tifa_v1.0_text_inputs.json"
REMEDY = "mend it, or take the folder tifa_v1.0 of github.com/Yushi-Hu/tifa"
PROMPTS = {"coco": 2000, "drawbench": 161, "paintskill": 500, "partiprompt": 1420}
DSG_SOURCE = "tifa160"  # DSG's names of the 160 prompts that it took from TIFA
ITEMS_WITH_QUESTIONS = 4073
QUESTIONS = 25_829
# As SELMA's Table 6 prints them, arXiv 2403.06952, in its order.
ELEMENT_TYPES = {
    "animal/human": "Animal/Human", "object": "Object", "location": "Location",
    "activity": "Activity", "color": "Color", "spatial": "Spatial", "attribute": "Attribute",
    "food": "Food", "counting": "Counting", "material": "Material", "other": "Other",
    "shape": "Shape",
}  # fmt: skip
MERGED_TYPES = {"animal": "animal/human", "human": "animal/human"}
_ID: Check = (lambda value: ITEM_ID.fullmatch(str(value)) is not None, "an id like coco_17")


def import_tifa(path: Path, *, partial: bool) -> Imported:
    """Read tifa_v1.0_question_answers.json, or the folder that holds it; see `Importer`.

    If tifa_v1.0_text_inputs.json is beside it, the prompts are that file's, and those without
    questions become items without questions. A part may lack items, questions and element types,
    and has no items without questions.
    """
    file = file_in(path, FILE, REMEDY)
    beside = file.parent / PROMPTS_FILE
    prompts = beside if beside.is_file() and not partial else None
    rows = read_tifa_questions(file, prompts)
    problems = Problems(file, REMEDY, "" if partial else "questions")
    _check_known(rows, problems, partial=partial)
    if not partial:
        _check_complete(rows, problems, with_prompts=prompts is not None)
    problems.stop()
    if prompts is None:
        return Imported(rows, [file], ITEMS_WITH_QUESTIONS)
    return Imported(rows, [file, prompts], sum(PROMPTS.values()))


def read_tifa_questions(path: Path, prompts: Path | None = None) -> list[Row]:
    """Read questions in the format of TIFA v1.0, of any number of prompts.

    Questions are numbered from 1 in the file's order, each item for itself; a text that occurs
    twice is two questions. The types "animal" and "human" are merged into "animal/human".

    The file is a JSON list of {id, caption, question, choices, answer}, with or without
    element_type and element. An item_id goes before the id: DSG, and the answers that its authors
    released, call TIFA's prompts otherwise. `prompts` is a JSON list of {id, caption}: then these
    are the items, in this order, and an item may have no questions.

    Returns rows of a benchmark table; category is the element_type, "" if there is none. Raises
    MissingDataError if there is no such file, and RecordError that names all that is wrong.
    """
    problems = Problems(file_in(path, FILE, REMEDY), REMEDY)
    items: dict[str, Row] = {}
    for place, entry in _entries(problems.path, ("caption", "question", "answer"), problems):
        checks = {"choices": (_are_texts, "a list of texts")}
        checks |= {key: (is_writable, "a text") for key in ("element_type", "element")}
        known = {"choices": None, "element_type": "", "element": "", **entry}
        sound = problems.check(place, known, checks)
        if not _are_texts(known["choices"]):
            continue
        if entry["answer"] not in entry["choices"]:
            problems.wrong(f"{place}, key answer", f"one of {entry['choices']}", entry["answer"])
        elif sound:
            _add(entry, items, place, problems)
    if prompts is not None:
        items = _all_prompts(file_in(prompts, PROMPTS_FILE, REMEDY), items, problems)
    problems.stop()
    return list(items.values())


def _entries(
    path: Path, text_keys: Sequence[str], problems: Problems
) -> list[tuple[str, dict[str, Any]]]:
    """Read the objects of a list whose ids and texts are sound, each with its place."""
    sound = []
    for index, entry in enumerate(problems.json_list(path)):
        place = f"{problems.in_file(path)}entry {index}"
        if not isinstance(entry, dict):
            problems.wrong(place, "an object", entry)
            continue
        ids = dict.fromkeys(["id", *(entry.keys() & {"item_id"})], _ID)
        if problems.check(place, entry, dict.fromkeys(text_keys, TEXT) | ids):
            sound.append((f"{place} ({entry['id']})", entry))
    return sound


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(is_text, value))


def _add(entry: Mapping[str, Any], items: dict[str, Row], place: str, problems: Problems) -> None:
    item_id, caption = entry.get("item_id", entry["id"]), entry["caption"]
    row = items.setdefault(item_id, item(item_id, caption, source_of(item_id)))
    if row["prompt"] != caption:
        problems.wrong(f"{place}, key caption", f"the item's {row['prompt']!r}", caption)
    element_type = entry.get("element_type", "")
    row["questions"].append(
        {
            "question_id": len(row["questions"]) + 1,
            "question": entry["question"],
            "choices": list(entry["choices"]),
            "answer": entry["answer"],
            "dependency": "0",
            "category": MERGED_TYPES.get(element_type, element_type),
            "element": entry.get("element", ""),
        }
    )


def _all_prompts(path: Path, items: Mapping[str, Row], problems: Problems) -> dict[str, Row]:
    """Make an item of every prompt of the file, with the questions it has."""
    rows: dict[str, Row] = {}
    for place, entry in _entries(path, ("caption",), problems):
        item_id, caption = entry["id"], entry["caption"]
        if item_id in rows:
            problems.add(f"{place}, key id", f"{item_id} occurs twice")
        rows[item_id] = item(item_id, caption, source_of(item_id))
        asked = items.get(item_id)
        if asked is None:
            continue
        rows[item_id]["questions"] = asked["questions"]
        if asked["prompt"].split() != caption.split():
            expected = f"that of the questions, {asked['prompt']!r}"
            problems.wrong(f"{place}, key caption", expected, caption)
    for item_id in sorted(items.keys() - rows.keys()) if rows else ():
        problems.add(f"item {item_id}", f"has questions and is not in {path.name}")
    return rows


def _check_known(rows: Sequence[Row], problems: Problems, *, partial: bool) -> None:
    """Check sources and types; a part may go by DSG's names and be without types."""
    sources = (*PROMPTS, DSG_SOURCE) if partial else tuple(PROMPTS)
    types = (*ELEMENT_TYPES, "") if partial else tuple(ELEMENT_TYPES)
    for row in rows:
        if row["source"] not in sources:
            expected = f"an id of one of {', '.join(PROMPTS)}"
            problems.wrong(f"item {row['item_id']}", expected, row["item_id"])
        for question in row["questions"]:
            if question["category"] not in types:
                place = f"item {row['item_id']} question {question['question_id']}, element_type"
                problems.wrong(place, f"one of {', '.join(ELEMENT_TYPES)}", question["category"])


def _check_complete(rows: Sequence[Row], problems: Problems, *, with_prompts: bool) -> None:
    sources = Counter(row["source"] for row in rows)
    if with_prompts:
        problems.check_counts("prompts", PROMPTS, sources)
    asked = [len(row["questions"]) for row in rows if row["questions"]]
    problems.check_count("file", "prompts with questions", ITEMS_WITH_QUESTIONS, len(asked))
    problems.check_count("file", "questions", QUESTIONS, sum(asked))
