"""The list of modules is the code's, and what the documents name is there."""

import json
import re
import runpy
from pathlib import Path

import pytest

from selma.runtime.params import load_params
from selma.runtime.yaml_files import parse_yaml, read_yaml

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md")),
]
ROWS = re.findall(
    r"```yaml\n(.*?)```", (ROOT / "docs/rows.md").read_text(encoding="utf-8"), re.DOTALL
)


def test_the_list_of_modules_is_up_to_date_and_every_module_says_what_it_is():
    made = runpy.run_path(str(ROOT / "docs" / "make_modules.py"))["module_list"]()
    assert made == (ROOT / "docs" / "modules.md").read_text(encoding="utf-8"), (
        "run `python docs/make_modules.py`"
    )
    assert not re.search(r"`: $", made, re.MULTILINE), "a module has no docstring"


def test_every_package_stands_in_the_readmes_tree():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    packages = {path.parent for path in (ROOT / "selma").rglob("*.py")} - {ROOT / "selma"}
    lacking = [p.relative_to(ROOT).as_posix() for p in sorted(packages)]
    assert [name for name in lacking if f"\n{name}/ " not in text] == []


def test_files_and_headings_that_the_documents_link_to_are_there():
    for name in PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
            linked = (ROOT / name).parent / target if target else ROOT / name
            assert linked.exists(), f"{name} links to {target}"
            assert not heading or heading in headings(linked), f"{name}: {target}#{heading}"


def headings(page):
    """List a page's anchors, as GitHub makes them."""
    return set(
        map(anchor, re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE))
    )


def anchor(heading):
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_commands_that_the_documents_show_exist():
    from selma.commands.cli import build_parser

    commands = build_parser()._subparsers._group_actions[0].choices
    found = set()
    for name in PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        shown = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))
        named = re.findall(r"^selma ([a-z]+)", shown, re.MULTILINE)
        named += re.findall(r"`selma ([a-z]+)", text)
        assert set(named) <= set(commands), name
        found |= set(named)
    assert found == set(commands), "a command stands in no document"


@pytest.mark.parametrize("text", ROWS)
def test_rows_to_copy_are_rows_of_the_pocket_params(text, tmp_path):
    params = read_yaml(ROOT / "presets/pocket.yaml")
    for section, rows in parse_yaml(text, "docs/rows.md").items():
        params[section] |= rows
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps(params), encoding="utf-8")  # which is YAML too
    load_params(path)


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_the_readmes_verdicts_are_those_of_the_studies():
    """Each claim of its list, word for word, with verdict, difference and the paper's number."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = re.findall(
        r"^\| \[(.*?)\]\(docs/paper\.md#([\w-]+)\) \| (.*?) \| (.*?) \| (.*?) \|$",
        readme,
        re.MULTILINE,
    )
    page = (ROOT / "docs/paper.md").read_text(encoding="utf-8")
    sections = {}
    for part in page.split("\n## ")[1:]:
        heading = anchor(part.splitlines()[0])
        lines = [cells(line) for line in part.splitlines() if line.startswith("| ")]
        sections[heading] = {(c[0], c[1], c[2], c[4]) for c in lines if len(c) == 10}
    assert len(told) == len(re.findall(r"^\| \[", readme, re.MULTILINE)) > 10
    for claim, heading, *numbers in told:
        assert (claim, *numbers) in sections[heading], claim
