"""Writes a rater's row with the content of what it names: weights, judge, how the LLM is asked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from selma.core.files import read_json, write_json
from selma.core.fingerprints import content_sha256
from selma.llm.generators import LlmOptions
from selma.runtime.arguments import stage_arguments
from selma.runtime.params import load_row, load_section
from selma.runtime.rater_params import RaterParams
from selma.runtime.sections import LlmParams
from selma.runtime.session import run_stage


def main(argv: list[str] | None = None) -> None:
    """Write {row, files}; of a rater by questions also its judge's row, and what the LLM's say."""
    args = stage_arguments(argv, __doc__, rater=str, judges=Path, out=Path)
    row = load_row("raters", args.rater, RaterParams, args.params)
    content: dict[str, Any] = {
        "row": row.model_dump(), "files": {row.path: content_sha256(Path(row.path))}
    }  # fmt: skip
    if hasattr(row, "judge"):
        llm = LlmOptions(**load_section("llm", LlmParams, args.params).model_dump())
        content["judge"] = read_json(args.judges / f"{row.judge}.json")
        content["llm"] = replace(llm, temperature=row.temperature).deciding()
    write_json(args.out, content)


if __name__ == "__main__":
    run_stage("rater_row", main)
