"""PartiPrompts: 1,632 prompts of 12 categories and 11 challenges, without questions.

Source: Parti, arXiv 2206.10789; data of github.com/google-research/parti.
"""

from pathlib import Path

from selma.benchmarks.reading import (
    Imported,
    Problems,
    Row,
    file_in,
    is_text,
    item,
    refuse_partial,
    shown,
)

FILE = "PartiPrompts.tsv"
REMEDY = f"take {FILE} of github.com/google-research/parti"
COLUMNS = ["Prompt", "Category", "Challenge", "Note"]
PROMPTS = 1632
CATEGORIES = (
    "Abstract", "Animals", "Artifacts", "Arts", "Food & Beverage", "Illustrations",
    "Indoor Scenes", "Outdoor Scenes", "People", "Produce & Plants", "Vehicles", "World Knowledge",
)  # fmt: skip
CHALLENGES = (
    "Basic", "Complex", "Fine-grained Detail", "Imagination", "Linguistic Structures",
    "Perspective", "Properties & Positioning", "Quantity", "Simple Detail", "Style & Format",
    "Writing & Symbols",
)  # fmt: skip


def import_partiprompts(path: Path, *, partial: bool) -> Imported:
    """Read PartiPrompts.tsv, or the folder that holds it; see `Importer`.

    Cells are never quoted: a quotation mark belongs to the prompt, even at its beginning. An item's
    id is its row from 0, without the header: "00017".

    Raises:
        ConfigError: `partial`; without all rows the ids would be others.
    """
    refuse_partial("partiprompts", partial)
    file = file_in(path, FILE, REMEDY)
    problems = Problems(file, REMEDY)
    lines = problems.lines_of(file)
    header = lines[0].split("\t") if lines else []
    if header != COLUMNS:
        problems.add("line 1", f"expected the columns {', '.join(COLUMNS)}, got {shown(header)}")
    problems.stop()
    rows = [_row(line, index, problems) for index, line in enumerate(lines[1:])]
    problems.check_count("file", "prompts", PROMPTS, len(rows))
    problems.stop()
    return Imported(rows, [file], PROMPTS)


def _row(line: str, index: int, problems: Problems) -> Row:
    place, cells = f"line {index + 2}", line.split("\t")
    if len(cells) != len(COLUMNS):
        problems.wrong(place, f"{len(COLUMNS)} cells", len(cells))
        cells = (cells + [""] * len(COLUMNS))[: len(COLUMNS)]
    else:
        if not is_text(cells[0]):
            problems.wrong(f"{place}, column Prompt", "a text", cells[0])
        for column, known in ((1, CATEGORIES), (2, CHALLENGES)):
            if cells[column] not in known:
                expected = f"one of {', '.join(known)}"
                problems.wrong(f"{place}, column {COLUMNS[column]}", expected, cells[column])
    return item(f"{index:05d}", cells[0], cells[1])
