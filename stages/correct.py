"""Corrects one skill's pictures: an LLM and a detector look at each, an editor repairs it."""

import logging
import shutil
from pathlib import Path
from typing import Any

from selma.core.devices import prepare_device
from selma.core.files import write_json, written_whole
from selma.core.tables import read_table, write_table
from selma.correction.correcting import Tools
from selma.correction.models import load_detector_by, load_editor_by, weights_of
from selma.correction.settings import thresholds_of, way_of, words_of
from selma.correction.summary import summarise
from selma.correction.tables import CorrectedTable, correct_table, passed_through
from selma.diffusion.loading import LIBRARIES
from selma.llm.budget import LEDGER
from selma.llm.generators import FREE, LlmOptions, RecordedLlm, kept_replies, make_answer, usage_of
from selma.llm.transcript import as_rows
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.correct_params import CorrectParams
from selma.runtime.journal import root
from selma.runtime.params import load_section
from selma.runtime.released import released_table
from selma.runtime.sections import LlmParams, Seed
from selma.runtime.session import run_stage
from selma.runtime.workspace import resumable_work

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Correct the pictures; with no rounds the table is passed through byte for byte."""
    args = stage_arguments(
        argv, __doc__, skill=str, images=Path, out=Path, corrections=Path, transcript=Path,
        metrics=Path,
    )  # fmt: skip
    section = load_section("correct", CorrectParams, args.params).model_dump()
    llm = LlmOptions(**load_section("llm", LlmParams, args.params).model_dump())
    seed = load_section("seed", Seed, args.params)
    rows = read_table(args.images, "images")
    to = {name: getattr(args, name) for name in ("corrections", "transcript", "metrics")}
    if section["rounds"] == 0:
        with written_whole(args.out) as part:
            shutil.copyfile(args.images, part)
        write(CorrectedTable([], passed_through(rows), []), **to)
        return
    machine = prepare_machine(args.params)
    models = {name: section[name] for name in ("detector", "segmenter", "editor")}
    answer = make_answer(llm, root() / LEDGER)
    with resumable_work(
        f"correct-{args.skill}", [args.images, *weights_of(**models)],
        {"seed": seed, **machine, **section, "llm": llm.deciding()},
        total=len(rows), what="pictures",
        libraries=LIBRARIES if llm.backend in FREE else None,  # a server's limit is of all requests
    ) as (work, advance):  # fmt: skip
        said = kept_replies(llm, work, root(), args.transcript, released_table)
        device = prepare_device()
        tools = Tools(
            load_detector_by(models["detector"], device=device),
            load_editor_by(models["segmenter"], models["editor"], device=device),
            lambda: RecordedLlm(llm, answer, said),
        )
        done = correct_table(
            rows, tools, way_of(section, "correct", llm.concurrency),
            names=("correct", args.skill), seed=seed,
            thresholds=thresholds_of(models["detector"]), words=words_of(section),
            keep=section["keep"], batch_size=models["detector"]["batch_size"],
            directory=work, advance=advance,
        )  # fmt: skip
        write_table(args.out, "images", done.images)
        write(done, **to)


def write(done: CorrectedTable, *, corrections: Path, transcript: Path, metrics: Path) -> None:
    """Write what was done, and say what it came to."""
    write_table(corrections, "corrections", done.corrections)
    write_table(transcript, "transcript", as_rows(done.exchanges))
    numbers: dict[str, Any] = {**summarise(done.corrections), **usage_of(done.exchanges)}
    write_json(metrics, numbers)
    told = ", ".join(f"{number} {what}" for what, number in numbers["verdicts"].items() if number)
    logger.info("%d pictures: %s", len(done.corrections), told or "none")


if __name__ == "__main__":
    run_stage("correct", main)
