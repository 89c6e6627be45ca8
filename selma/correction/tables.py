"""Corrects an images table: each shard is kept when done, so it resumes there."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selma.core.choices import choose
from selma.core.errors import MissingDataError, RecordError
from selma.core.files import read_json, write_json
from selma.core.seeds import derive_seed
from selma.core.shards import work_off
from selma.core.tables import read_table, write_table
from selma.correction.correcting import (
    Corrected,
    LlmWatch,
    Task,
    Tools,
    Way,
    correct_batch,
    known_rule,
)
from selma.correction.detections import Thresholds
from selma.correction.lmd import Vocabulary
from selma.correction.loop import KEEP
from selma.correction.plan import KINDS
from selma.llm.transcript import Exchange, as_rows, from_rows
from selma.pictures.png import decode_png, encode_png

Row = Mapping[str, Any]


@dataclass(frozen=True)
class CorrectedTable:
    """Rows of an images table and of a corrections table, and what an LLM was asked for them."""

    images: list[dict[str, Any]]
    corrections: list[dict[str, Any]]
    exchanges: list[Exchange]


def correct_table(
    rows: Sequence[Row],
    tools: Tools,
    way: Way,
    *,
    names: tuple[str, ...],
    seed: int,
    thresholds: Thresholds,
    words: Vocabulary,
    keep: str,
    batch_size: int,
    directory: Path,
    advance: Callable[[int], None],
) -> CorrectedTable:
    """Correct the pictures of an images table, sorted by key.

    Args:
        rows: of the table.
        tools: who looks, answers and edits.
        way: how each picture is corrected.
        names: what the prompts belong to, a part of each seed, e.g. ``("correct", skill)``.
        seed: of all pictures; each one's follows from it and its key.
        thresholds: of the detector.
        words: of the LMD benchmark's prompts, which have pass rules.
        keep: of `loop.KEEP`.
        batch_size: pictures of a shard, looked at together; changes no result.
        directory: keeps finished shards; those of an earlier run are taken up.
        advance: called with the number of pictures after each shard.

    Raises:
        BackendError: the LLM answers nothing at all.
        RecordError: no picture is left to train on.
    """
    choose("correct.keep", keep, KEEP)
    watch = LlmWatch()

    def make(number: int, shard: Sequence[Row]) -> CorrectedTable:
        tasks = [_task(row, names, seed, thresholds, words) for row in shard]
        done = correct_batch(tasks, tools, way)
        for one in done:
            watch.look(one.trace.failure if one.unanswered else "", len(one.recorded))
        made = _table(shard, done, keep)
        _write_shard(directory, number, made)
        return made

    def kept(number: int, shard: Sequence[Row]) -> CorrectedTable | None:
        found = _read_shard(directory, number, shard)
        if found is not None:
            watch.look("", len(found.exchanges))
        return found

    shards = work_off(rows, batch_size, kept=kept, make=make, advance=advance)
    whole = CorrectedTable(
        [row for one in shards for row in one.images],
        [row for one in shards for row in one.corrections],
        [exchange for one in shards for exchange in one.exchanges],
    )
    if rows and not whole.images:
        raise RecordError(
            f"correct.keep {keep!r} keeps none of {len(rows)} pictures of {'/'.join(names)}; "
            "choose 'fixed_or_original' or 'all'"
        )
    return whole


def passed_through(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Make the corrections table of pictures that stay as they are because there are no rounds."""
    nothing = dict.fromkeys(
        ("rounds", "chosen_round", *KINDS, "llm_requests", "llm_refused"), 0
    ) | {"passes_before": None, "passes_after": None, "failure": "", "trace": ""}  # fmt: skip
    return [
        {
            **_key(row), "verdict": "skipped", "kept": "original", **nothing,
            "sha256_before": row["sha256"], "sha256_after": row["sha256"],
        }
        for row in rows
    ]  # fmt: skip


def _key(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("prompt_id", "sample", "prompt", "seed")}


def _task(
    row: Row, names: tuple[str, ...], seed: int, thresholds: Thresholds, words: Vocabulary
) -> Task:
    from PIL import Image

    name = f"{row['prompt_id']}/{row['sample']}"
    picture = Image.fromarray(decode_png(row["image"]["bytes"], name))
    own = derive_seed(seed, *names, row["prompt_id"], row["sample"])
    rule = known_rule(row["prompt"], words)
    return Task(picture, row["prompt"], own, thresholds, None, None, rule)


def _table(rows: Sequence[Row], done: Sequence[Corrected], keep: str) -> CorrectedTable:
    images, corrections = [], []
    for row, one in zip(rows, done, strict=True):
        what = KEEP[keep](one.trace.verdict)
        result = _result(row, one) if what == "result" else dict(row)
        if what is not None:
            images.append(result)
        corrections.append(_correction(row, one, what, result["sha256"]))
    return CorrectedTable(images, corrections, [e for one in done for e in one.recorded])


def _result(row: Row, one: Corrected) -> dict[str, Any]:
    """The row of the picture that was chosen; the same row if that is the picture as it came."""
    if one.trace.chosen_round == 0:
        return dict(row)
    data = encode_png(np.asarray(one.picture))
    return {
        **row, "image": {"bytes": data, "path": None}, "width": one.picture.width,
        "height": one.picture.height, "sha256": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip


def _correction(row: Row, one: Corrected, kept: str | None, sha256: str) -> dict[str, Any]:
    trace, before = one.trace, one.trace.before
    passes = (None if before is None else before.passes, one.passes_after)
    return {
        **_key(row), "verdict": trace.verdict, "kept": kept, "rounds": len(trace.rounds),
        "chosen_round": trace.chosen_round, **trace.operations(),
        "passes_before": None if passes[0] is None else int(passes[0]),
        "passes_after": None if passes[1] is None else int(passes[1]),
        "llm_requests": len(one.said), "llm_refused": sum(bool(said.refused) for said in one.said),
        "failure": trace.failure, "sha256_before": row["sha256"],
        "sha256_after": "" if kept is None else sha256,
        "trace": json.dumps(trace.as_json(one.said), sort_keys=True, ensure_ascii=False),
    }  # fmt: skip


def _places(directory: Path, number: int) -> tuple[Path, Path]:
    return directory / f"shard-{number:06d}.parquet", directory / f"shard-{number:06d}.json"


def _write_shard(directory: Path, number: int, made: CorrectedTable) -> None:
    """Keep a shard; its JSON file, written last, says that it is whole."""
    pictures, words = _places(directory, number)
    write_table(pictures, "images", made.images)
    asked = as_rows(made.exchanges)
    write_json(words, {"corrections": made.corrections, "exchanges": asked})


def _read_shard(directory: Path, number: int, shard: Sequence[Row]) -> CorrectedTable | None:
    """Read a finished shard; None if it is not there, damaged or of other pictures."""
    pictures, words = _places(directory, number)
    try:
        found = read_json(words)
        images = read_table(pictures, "images")
    except (MissingDataError, RecordError):
        return None
    corrections = found["corrections"]
    own = [{**_key(row), "sha256_before": row["sha256"]} for row in shard]
    if own != [{**_key(row), "sha256_before": row["sha256_before"]} for row in corrections]:
        return None
    return CorrectedTable(images, corrections, from_rows(found["exchanges"], str(words)))
