"""The list of modules is the code's, and what the documents name is there."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent


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


def test_files_that_the_documents_link_to_are_there():
    for name in ("README.md", "docs/evaluation.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (ROOT / name).parent.joinpath(target).exists(), f"{name} links to {target}"


def test_commands_that_the_documents_show_exist():
    from selma.commands.cli import build_parser

    commands = build_parser()._subparsers._group_actions[0].choices
    for name in ("README.md", "docs/evaluation.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        shown = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))
        named = re.findall(r"^selma ([a-z]+)", shown, re.MULTILINE)
        named += re.findall(r"`selma ([a-z]+)", text)
        assert named and set(named) <= set(commands)
