"""Writes docs/modules.md: every module with the first line of its docstring."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "modules.md"
FOLDERS = ("selma", "stages", "bench")


def module_list() -> str:
    """Give the text of docs/modules.md."""
    lines = ["# The modules", "", "Made by `python docs/make_modules.py`; a test compares it."]
    for folder in FOLDERS:
        packages = sorted({path.parent for path in (ROOT / folder).rglob("*.py")})
        for package in packages:
            lines += ["", f"## {package.relative_to(ROOT)}", ""]
            own = package / "__init__.py"
            if own.exists():
                lines += [first_line(own), ""]
            modules = [path for path in sorted(package.glob("*.py")) if path != own]
            lines += [f"- `{path.name}`: {first_line(path)}" for path in modules]
    return "\n".join(lines) + "\n"


def first_line(path: Path) -> str:
    """Give the first line of a module's docstring, "" if it has none."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.splitlines()[0] if docstring else ""


if __name__ == "__main__":
    OUT.write_text(module_list(), encoding="utf-8")
    print(f"wrote {OUT.relative_to(ROOT)}")
