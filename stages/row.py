"""Writes a row of params.yaml with the content of what it names.

A stage that runs over many rows depends on its own row's file alone: DVC's templates can look up
neither a row by a name in another row nor a path in a row of a matrix.
"""

from pathlib import Path
from typing import Any

from selma.core.files import read_json, write_json
from selma.core.fingerprints import content_sha256
from selma.runtime.arguments import stage_arguments
from selma.runtime.model_params import ModelParams
from selma.runtime.params import load_row, load_rows
from selma.runtime.session import run_stage
from selma.runtime.whole import ROWS

TABLES = ("corrected", "pairs", "prompts")  # folders with a table for each skill


def main(argv: list[str] | None = None) -> None:
    """Write {row, files}; of a folder of skills' files only those of the row's own skills count.

    A row about pictures, which names a benchmark, becomes a folder with a file for each model that
    also holds the hash of the model's pictures; their folder is the last input.
    """
    args = stage_arguments(argv, __doc__, section=str, row=str, inputs=[Path], out=Path)
    row = load_row(args.section, args.row, ROWS[args.section], args.params)
    samples = args.inputs.pop() if hasattr(row, "benchmark") else None
    files: dict[str, Any] = {}
    skills = sorted({*getattr(row, "skills", ()), *getattr(row, "experts", ())})
    for path in args.inputs:
        if skills:
            suffix = ".parquet" if path.name in TABLES else ".safetensors"
            own = (path / f"{skill}{suffix}" for skill in skills)
            files |= {str(file): content_sha256(file) for file in own}
        elif path.suffix == ".json" and path.parent.parent == args.out.parent.parent:
            files[path.stem] = read_json(path)
        else:
            files[str(path)] = content_sha256(path)
    content = {"row": row.model_dump(), "files": files}
    if samples is None:
        write_json(args.out, content)
        return
    for model in load_rows("models", ModelParams, args.params):
        drawn = content_sha256(samples / model / f"{row.benchmark}.parquet")
        write_json(args.out / f"{model}.json", {**content, "samples": drawn})


if __name__ == "__main__":
    run_stage("row", main)
