"""`selma correct` and `selma edit` as a test calls them, and what they leave in a folder."""

import json

from PIL import Image

from selma.commands.cli import main

SCENE = {"objects": [["cat", ["red"]]], "bg_prompt": "a yard", "neg_prompt": None}
LAYOUT = [["red cat #1", [0.0, 0.0, 0.5, 0.5]]]
GIVEN = {"llm_parsed_prompt": SCENE, "llm_layout_suggestions": LAYOUT}
# Files of an entry, whatever its verdict, if anything is seen or suggested.
WHOLE = {"initial_image.png", "det_result_obj.png", "trace.json"}


def entry(name, out, prompt="a red cat", **changes):
    return {"input_fname": name, "output_dir": out, "prompt": prompt, **GIVEN, **changes}


def run(capsys, *arguments):
    code = main(list(arguments))
    said = capsys.readouterr()
    assert "Traceback" not in said.err, said.err
    errors = [line for line in said.err.splitlines() if line.startswith("selma: error")]
    return code, said.out.splitlines(), errors


def correct(capsys, entries, *arguments, command="correct"):
    with open("data.json", "w", encoding="utf-8") as file:
        json.dump(entries, file)
    given = ("--json-file", "data.json", "--input-dir", "in", "--out", "out")
    return run(capsys, command, *given, *arguments)


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


def look(path):
    """A picture as it lies there, its file closed."""
    with Image.open(path) as picture:
        return picture.copy()


def trace(folder):
    return json.loads((folder / "trace.json").read_text(encoding="utf-8"))
