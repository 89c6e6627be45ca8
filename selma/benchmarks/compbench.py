"""T2I-CompBench: 300 validation prompts in each of eight categories, without questions.

Source: T2I-CompBench, arXiv 2307.06350; the folder `examples/dataset` of
github.com/Karine-Huang/T2I-CompBench.
"""

from pathlib import Path

from selma.benchmarks.reading import Imported, Problems, Row, check_folder, is_text, numbered

CATEGORIES = (
    "3d_spatial", "color", "complex", "non_spatial", "numeracy", "shape", "spatial", "texture",
)  # fmt: skip
PROMPTS_PER_CATEGORY = 300
REMEDY = "take the *_val.txt of github.com/Karine-Huang/T2I-CompBench, examples/dataset"
PARTIAL = "or say --partial to import the categories that are there"


def import_compbench(path: Path, *, partial: bool) -> Imported:
    """Read the folder of CATEGORY_val.txt, one prompt a line; see `Importer`.

    An item's id is its category and its line from 0: "color/00017". A part lacks whole categories.
    """
    check_folder(path, REMEDY)
    problems = Problems(path, REMEDY if partial else f"{REMEDY}, {PARTIAL}")
    files = {category: path / f"{category}_val.txt" for category in CATEGORIES}
    used = {name: file for name, file in files.items() if file.exists() or not partial}
    rows = [row for name, file in used.items() for row in _rows(name, file, problems)]
    if not used:
        problems.add("folder", f"holds none of {', '.join(file.name for file in files.values())}")
    problems.stop()
    return Imported(rows, list(used.values()), len(CATEGORIES) * PROMPTS_PER_CATEGORY)


def _rows(category: str, file: Path, problems: Problems) -> list[Row]:
    prompts = problems.lines_of(file)
    first: dict[str, int] = {}
    for line, prompt in enumerate(prompts, start=1):
        if not is_text(prompt):
            problems.wrong(f"{file.name} line {line}", "a prompt", prompt)
        elif first.setdefault(prompt, line) != line:
            problems.add(
                f"{file.name} line {line}", f"has the prompt of line {first[prompt]} again"
            )
    if prompts:
        problems.check_count(file.name, "prompts", PROMPTS_PER_CATEGORY, len(prompts))
    return numbered(category, prompts)
