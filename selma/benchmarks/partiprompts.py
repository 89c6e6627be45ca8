"""PartiPrompts: 1,632 prompts of 12 categories and 11 challenges, without questions.

Source: Parti, arXiv 2206.10789; data of github.com/google-research/parti.
"""

from pathlib import Path

from selma.benchmarks.reading import (
    Imported,
    Problems,
    Row,
    check_count,
    file_in,
    is_text,
    lines_of,
    refuse_partial,
    shown,
)

FILE = "PartiPrompts.tsv"
REMEDY = f"take {FILE} of github.com/google-research/parti"
COLUMNS = ["Prompt", "Category", "Challenge", "Note"]
PROMPTS = 1632
CATEGORIES = (
    "Abstract",
    "Animals",
    "Artifacts",
    "Arts",
    "Food & Beverage",
    "Illustrations",
    "Indoor Scenes",
    "Outdoor Scenes",
    "People",
    "Produce & Plants",
    "Vehicles",
    "World Knowledge",
)
CHALLENGES = (
    "Basic",
    "Complex",
    "Fine-grained Detail",
    "Imagination",
    "Linguistic Structures",
    "Perspective",
    "Properties & Positioning",
    "Quantity",
    "Simple Detail",
    "Style & Format",
    "Writing & Symbols",
)


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
    lines = lines_of(file, problems)
    header = lines[0].split("\t") if lines else []
    if header != COLUMNS:
        problems.add("line 1", f"expected the columns {', '.join(COLUMNS)}, got {shown(header)}")
    problems.stop()
    rows = [_row(line, index, problems) for index, line in enumerate(lines[1:])]
    check_count("file", "prompts", PROMPTS, len(rows), problems)
    problems.stop()
    return Imported(rows, [file], PROMPTS)


def _row(line: str, index: int, problems: Problems) -> Row:
    place, cells = f"line {index + 2}", line.split("\t")
    if len(cells) != len(COLUMNS):
        problems.wrong(place, f"{len(COLUMNS)} cells", len(cells))
        cells = (cells + [""] * len(COLUMNS))[: len(COLUMNS)]
    else:
        _check_cells(place, cells[0], cells[1], cells[2], problems)
    return {"item_id": f"{index:05d}", "prompt": cells[0], "source": cells[1], "questions": []}


def _check_cells(
    place: str, prompt: str, category: str, challenge: str, problems: Problems
) -> None:
    if not is_text(prompt):
        problems.wrong(f"{place}, column Prompt", "a text", prompt)
    if category not in CATEGORIES:
        problems.wrong(f"{place}, column Category", f"one of {', '.join(CATEGORIES)}", category)
    if challenge not in CHALLENGES:
        problems.wrong(f"{place}, column Challenge", f"one of {', '.join(CHALLENGES)}", challenge)
