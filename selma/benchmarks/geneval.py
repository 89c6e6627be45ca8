"""GenEval: 553 prompts of six tasks, without questions.

Source: GenEval, arXiv 2310.11513; data of github.com/djghosh13/geneval.
"""

from collections import Counter
from pathlib import Path

from selma.benchmarks.reading import (
    Imported,
    Problems,
    Row,
    file_in,
    is_text,
    item,
    parse_json,
    refuse_partial,
)

FILE = "evaluation_metadata.jsonl"
REMEDY = f"take prompts/{FILE} of github.com/djghosh13/geneval"
TAGS = {
    "color_attr": 100, "colors": 94, "counting": 80, "position": 100, "single_object": 80,
    "two_object": 99,
}  # fmt: skip


def import_geneval(path: Path, *, partial: bool) -> Imported:
    """Read evaluation_metadata.jsonl, or the folder that holds it; see `Importer`.

    An item's id is its line from 0, as GenEval names its folders of pictures: "00017". What a
    picture has to hold is checked to be there and not kept: GenEval's own detector scores it.

    Raises:
        ConfigError: `partial`; without all lines the ids would be others.
    """
    refuse_partial("geneval", partial)
    file = file_in(path, FILE, REMEDY)
    problems = Problems(file, REMEDY)
    rows: list[Row] = []
    first: dict[str, int] = {}
    for index, line in enumerate(problems.lines_of(file)):
        row = _row(line, index, problems)
        if row is None:
            continue
        if first.setdefault(row["prompt"], index) != index:
            again = f"the prompt of line {first[row['prompt']] + 1} again"
            problems.add(f"line {index + 1}, key prompt", again)
        rows.append(row)
    problems.check_counts("prompts", TAGS, Counter(row["source"] for row in rows))
    problems.stop()
    return Imported(rows, [file], sum(TAGS.values()))


def _row(line: str, index: int, problems: Problems) -> Row | None:
    place = f"line {index + 1}"
    try:
        entry = parse_json(line)
    except ValueError as error:
        problems.add(place, str(error))
        return None
    if not isinstance(entry, dict):
        problems.wrong(place, "an object", entry)
        return None
    wrong = [key for key in ("tag", "prompt") if not is_text(entry.get(key))]
    for key in wrong:
        problems.wrong(f"{place}, key {key}", "a text", entry.get(key, "nothing"))
    if not isinstance(entry.get("include"), list) or not entry["include"]:
        problems.wrong(f"{place}, key include", "a list of objects", entry.get("include"))
    return None if wrong else item(f"{index:05d}", entry["prompt"], entry["tag"])
