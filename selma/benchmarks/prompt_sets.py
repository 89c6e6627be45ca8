"""Reads benchmarks for their prompts: HPS v2, T2I-CompBench, GenEval 1 and 2, PartiPrompts.

Sources: arXiv 2306.09341, data set zhwang/HPDv2; arXiv 2307.06350, Karine-Huang/T2I-CompBench;
arXiv 2310.11513, djghosh13/geneval; arXiv 2512.16853, facebookresearch/GenEval2; arXiv 2206.10789,
google-research/parti.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from selma.benchmarks.reading import (
    TEXT,
    Check,
    Imported,
    Problems,
    Row,
    check_folder,
    file_in,
    is_text,
    item,
    parse_json,
    shown,
)
from selma.core.errors import ConfigError

STYLES = ("anime", "concept-art", "paintings", "photo")
PROMPTS_PER_STYLE = 800
HPS_FORMS = (("{}.json",), ("{}.txt",), ("{}_750.txt", "{}_50.txt"))  # files of a style
HPS_REMEDY = "take anime, concept-art, paintings and photo .json of zhwang/HPDv2, folder benchmark"
CATEGORIES = (
    "3d_spatial", "color", "complex", "non_spatial", "numeracy", "shape", "spatial", "texture",
)  # fmt: skip
PROMPTS_PER_CATEGORY = 300
COMPBENCH_REMEDY = "take the *_val.txt of github.com/Karine-Huang/T2I-CompBench, examples/dataset"
GENEVAL_FILE = "evaluation_metadata.jsonl"
GENEVAL_REMEDY = f"take prompts/{GENEVAL_FILE} of github.com/djghosh13/geneval"
TAGS = {
    "color_attr": 100, "colors": 94, "counting": 80, "position": 100, "single_object": 80,
    "two_object": 99,
}  # fmt: skip
GENEVAL2_FILE = "geneval2_data.jsonl"
GENEVAL2_REMEDY = f"take {GENEVAL2_FILE} of github.com/facebookresearch/GenEval2"
GENEVAL2_ATOMS = {str(atoms): 100 for atoms in range(3, 11)}
_LIST: Check = (lambda value: isinstance(value, list) and value, "a list that is not empty")
PARTI_FILE = "PartiPrompts.tsv"
PARTI_REMEDY = f"take {PARTI_FILE} of github.com/google-research/parti"
COLUMNS = ["Prompt", "Category", "Challenge", "Note"]
PARTI_PROMPTS = 1632
PARTI_CATEGORIES = (
    "Abstract", "Animals", "Artifacts", "Arts", "Food & Beverage", "Illustrations",
    "Indoor Scenes", "Outdoor Scenes", "People", "Produce & Plants", "Vehicles", "World Knowledge",
)  # fmt: skip
CHALLENGES = (
    "Basic", "Complex", "Fine-grained Detail", "Imagination", "Linguistic Structures",
    "Perspective", "Properties & Positioning", "Quantity", "Simple Detail", "Style & Format",
    "Writing & Symbols",
)  # fmt: skip


def import_hps(path: Path, *, partial: bool) -> Imported:
    """Read HPS v2's folder of prompts, 800 in each of four styles; see `Importer`.

    A style is STYLE.json (a list of texts), STYLE.txt (one prompt a line, blank lines skipped) or
    the pair STYLE_750.txt and STYLE_50.txt, which others have made of it. An item's id is its style
    and its place among the style's 800 prompts: "photo/00165". A part lacks whole styles.
    """
    check_folder(path, HPS_REMEDY)
    problems = Problems(path, HPS_REMEDY, "" if partial else "styles")
    rows: list[Row] = []
    used: list[Path] = []
    for style in STYLES:
        files = _style_files(style, path, problems)
        if not files and not partial:
            problems.add(style, f"expected {style}.json or {style}.txt, there is none")
        prompts = [prompt for file in files for prompt in _style_prompts(file, problems)]
        if files:
            problems.check_count(style, "prompts", PROMPTS_PER_STYLE, len(prompts))
        used += files
        rows += _numbered(style, prompts)
    if not used and partial:
        problems.add("folder", "holds no style")
    problems.stop()
    return Imported(rows, used, len(STYLES) * PROMPTS_PER_STYLE)


def _style_files(style: str, folder: Path, problems: Problems) -> list[Path]:
    forms = [[folder / name.format(style) for name in form] for form in HPS_FORMS]
    there = [form for form in forms if any(file.exists() for file in form)]
    if len(there) > 1:
        names = ", ".join(file.name for form in there for file in form)
        problems.add(style, f"is there in more than one form ({names}); keep one")
    return there[0] if there else []


def _style_prompts(file: Path, problems: Problems) -> list[str]:
    if file.suffix == ".txt":
        return [line for line in problems.lines_of(file) if line.strip()]
    prompts = problems.json_list(file)
    for index, prompt in enumerate(prompts):
        if not is_text(prompt):
            problems.wrong(f"{file.name} entry {index}", "a text", prompt)
    return prompts


def import_compbench(path: Path, *, partial: bool) -> Imported:
    """Read T2I-CompBench's folder of CATEGORY_val.txt, one of 300 prompts a line; see `Importer`.

    An item's id is its category and its line from 0: "color/00017". A part lacks whole categories.
    """
    check_folder(path, COMPBENCH_REMEDY)
    problems = Problems(path, COMPBENCH_REMEDY, "" if partial else "categories")
    files = {category: path / f"{category}_val.txt" for category in CATEGORIES}
    used = {name: file for name, file in files.items() if file.exists() or not partial}
    rows: list[Row] = []
    for name, file in used.items():
        prompts = problems.lines_of(file)
        first: dict[str, int] = {}
        for line, prompt in enumerate(prompts, start=1):
            place = f"{file.name} line {line}"
            if not is_text(prompt):
                problems.wrong(place, "a prompt", prompt)
            elif first.setdefault(prompt, line) != line:
                problems.add(place, f"has the prompt of line {first[prompt]} again")
        if prompts:
            problems.check_count(file.name, "prompts", PROMPTS_PER_CATEGORY, len(prompts))
        rows += _numbered(name, prompts)
    if not used:
        problems.add("folder", f"holds none of {', '.join(file.name for file in files.values())}")
    problems.stop()
    return Imported(rows, list(used.values()), len(CATEGORIES) * PROMPTS_PER_CATEGORY)


def import_geneval(path: Path, *, partial: bool) -> Imported:
    """Read GenEval's evaluation_metadata.jsonl, 553 prompts of six tasks; see `Importer`.

    An item's id is its line from 0, as GenEval names its folders of pictures: "00017". What a
    picture has to hold is checked to be there and not kept: GenEval's own detector scores it.
    Raises ConfigError if `partial`: without all lines the ids would be others.
    """
    _refuse_partial("geneval", partial)
    problems = Problems(file_in(path, GENEVAL_FILE, GENEVAL_REMEDY), GENEVAL_REMEDY)
    return _import_lines(problems, _geneval_source, TAGS)


def _geneval_source(entry: Row, place: str, problems: Problems) -> str:
    problems.check(place, entry, {"tag": TEXT, "include": _LIST})
    return str(entry.get("tag"))


def import_geneval2(path: Path, *, partial: bool) -> Imported:
    """Read GenEval 2's geneval2_data.jsonl, 100 prompts of each number of atoms; see `Importer`.

    An item's id is its line from 0: "00017"; its source is "3" to "10", the number of objects,
    attributes, counts and relations to get right. The questions are checked to be there and not
    kept: Soft-TIFA scores them by a judge's probabilities. The file's licence is CC BY-NC 4.0.
    Raises ConfigError if `partial`: without all lines the ids would be others.
    """
    _refuse_partial("geneval2", partial)
    problems = Problems(file_in(path, GENEVAL2_FILE, GENEVAL2_REMEDY), GENEVAL2_REMEDY)
    return _import_lines(problems, _geneval2_source, GENEVAL2_ATOMS)


def _geneval2_source(entry: Row, place: str, problems: Problems) -> str:
    problems.check(place, entry, {"vqa_list": _LIST, "skills": _LIST})
    return str(entry.get("atom_count"))


def _import_lines(
    problems: Problems,
    source: Callable[[Row, str, Problems], str],
    published: dict[str, int],
) -> Imported:
    """Read a file with a JSON object per line: its prompt, which occurs once, and its source."""
    rows: list[Row] = []
    first: dict[str, int] = {}
    for index, line in enumerate(problems.lines_of(problems.path)):
        place = f"line {index + 1}"
        try:
            entry = parse_json(line)
        except ValueError as error:
            problems.add(place, str(error))
            continue
        if not isinstance(entry, dict):
            problems.wrong(place, "an object", entry)
            continue
        of = source(entry, place, problems)
        if not problems.check(place, entry, {"prompt": TEXT}):
            continue
        row = item(f"{index:05d}", entry["prompt"], of)
        if first.setdefault(row["prompt"], index) != index:
            again = f"the prompt of line {first[row['prompt']] + 1} again"
            problems.add(f"{place}, key prompt", again)
        rows.append(row)
    problems.check_counts("prompts", published, Counter(row["source"] for row in rows))
    problems.stop()
    return Imported(rows, [problems.path], sum(published.values()))


def import_partiprompts(path: Path, *, partial: bool) -> Imported:
    """Read PartiPrompts.tsv, 1,632 prompts of 12 categories and 11 challenges; see `Importer`.

    Cells are never quoted: a quotation mark belongs to the prompt, even at its beginning. An item's
    id is its row from 0, without the header: "00017". Raises ConfigError if `partial`: without all
    rows the ids would be others.
    """
    _refuse_partial("partiprompts", partial)
    problems = Problems(file_in(path, PARTI_FILE, PARTI_REMEDY), PARTI_REMEDY)
    lines = problems.lines_of(problems.path)
    header = lines[0].split("\t") if lines else []
    if header != COLUMNS:
        problems.add("line 1", f"expected the columns {', '.join(COLUMNS)}, got {shown(header)}")
    problems.stop()
    rows = [_parti_row(line, index, problems) for index, line in enumerate(lines[1:])]
    problems.check_count("file", "prompts", PARTI_PROMPTS, len(rows))
    problems.stop()
    return Imported(rows, [problems.path], PARTI_PROMPTS)


def _parti_row(line: str, index: int, problems: Problems) -> Row:
    place, cells = f"line {index + 2}", line.split("\t")
    if len(cells) == len(COLUMNS):
        checks = {
            "Prompt": TEXT,
            "Category": (PARTI_CATEGORIES.__contains__, f"one of {', '.join(PARTI_CATEGORIES)}"),
            "Challenge": (CHALLENGES.__contains__, f"one of {', '.join(CHALLENGES)}"),
        }
        problems.check(place, dict(zip(COLUMNS, cells, strict=True)), checks, kind="column")
    else:
        problems.wrong(place, f"{len(COLUMNS)} cells", len(cells))
    return item(f"{index:05d}", cells[0], "".join(cells[1:2]))


def _refuse_partial(name: str, partial: bool) -> None:
    if partial:
        raise ConfigError(f"--partial: the items of {name} are numbered by line; import all of it")


def _numbered(style: str, prompts: Sequence[str]) -> list[Row]:
    return [item(f"{style}/{i:05d}", prompt, style) for i, prompt in enumerate(prompts)]
