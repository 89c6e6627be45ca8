"""HPS v2: 800 prompts in each of four styles, without questions.

Source: Human Preference Score v2, arXiv 2306.09341; the folder `benchmark` of the data set
zhwang/HPDv2.
"""

from pathlib import Path

from selma.benchmarks.reading import Imported, Problems, Row, check_folder, is_text, numbered

STYLES = ("anime", "concept-art", "paintings", "photo")
PROMPTS_PER_STYLE = 800
# Files of a style, one way or other.
FORMS = (("{}.json",), ("{}.txt",), ("{}_750.txt", "{}_50.txt"))
REMEDY = "take anime, concept-art, paintings and photo .json of zhwang/HPDv2, folder benchmark"
PARTIAL = "or say --partial to import the styles that are there"


def import_hps(path: Path, *, partial: bool) -> Imported:
    """Read the folder of prompts; see `Importer`.

    A style is STYLE.json (a list of texts), STYLE.txt (one prompt a line, blank lines skipped) or
    the pair STYLE_750.txt and STYLE_50.txt, which others have made of it. An item's id is its style
    and its place among the style's 800 prompts: "photo/00165". A part lacks whole styles.
    """
    check_folder(path, REMEDY)
    problems = Problems(path, REMEDY if partial else f"{REMEDY}, {PARTIAL}")
    rows: list[Row] = []
    used: list[Path] = []
    for style in STYLES:
        files = _files_of(style, path, problems)
        if not files and not partial:
            problems.add(style, f"expected {style}.json or {style}.txt, there is none")
        prompts = [prompt for file in files for prompt in _prompts_of(file, problems)]
        if files:
            problems.check_count(style, "prompts", PROMPTS_PER_STYLE, len(prompts))
        used += files
        rows += numbered(style, prompts)
    if not used and partial:
        problems.add("folder", "holds no style")
    problems.stop()
    return Imported(rows, used, len(STYLES) * PROMPTS_PER_STYLE)


def _files_of(style: str, folder: Path, problems: Problems) -> list[Path]:
    """Find the files of the one form that a style is there in."""
    forms = [[folder / name.format(style) for name in form] for form in FORMS]
    there = [form for form in forms if any(file.exists() for file in form)]
    if len(there) > 1:
        names = ", ".join(file.name for form in there for file in form)
        problems.add(style, f"is there in more than one form ({names}); keep one")
    return there[0] if there else []


def _prompts_of(file: Path, problems: Problems) -> list[str]:
    if file.suffix == ".txt":
        return [line for line in problems.lines_of(file) if line.strip()]
    prompts = problems.json_list(file)
    for index, prompt in enumerate(prompts):
        if not is_text(prompt):
            problems.wrong(f"{file.name} entry {index}", "a text", prompt)
    return prompts
