"""What makes a set of pictures unfit to be scored: missing, doubled, alike, black or unreadable."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selma.core.errors import MissingDataError, RecordError, SelmaError, one_line
from selma.pictures.png import picture_of

Row = Mapping[str, Any]
Key = tuple[str, int]  # item_id, sample
BLACK_MAX = 3  # a picture whose brightest value of 255 is not above this is black
SHOWN = 5


@dataclass(frozen=True)
class Findings:
    """What is wrong with a set of pictures, each a list of names."""

    missing: tuple[str, ...] = ()  # pictures that an item lacks, as ITEM/SAMPLE
    unknown: tuple[str, ...] = ()  # pictures that belong to no item
    doubled: tuple[str, ...] = ()  # files for a picture that another file gives already
    alike: tuple[str, ...] = ()  # pictures of different items or samples with the same pixels
    black: tuple[str, ...] = ()  # pictures without any light
    unreadable: tuple[str, ...] = ()  # no picture, or values that are no colours, and why

    def problems(self) -> list[str]:
        return [
            f"{len(names)} {kind} ({', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''})"
            for kind, names in vars(self).items()
            if names
        ]


@dataclass(frozen=True)
class PictureSet:
    """The usable pictures of a benchmark."""

    rows: list[dict[str, Any]]  # as of a samples table; sorted by item and sample
    n_wanted: int  # how many there should be
    findings: Findings  # what is wrong with the others


def check_pictures(
    where: str,
    benchmark: Sequence[Row],
    names: Mapping[Key, str],
    read: Callable[[Key], NDArray[np.uint8]],
    row: Callable[[Key], dict[str, Any]],
    *,
    unknown: Sequence[str],
    doubled: Mapping[Key, str],
    only_asked: bool,
    allow_partial: bool,
) -> PictureSet:
    """Look at each picture of a benchmark once; `where` they are is for the message.

    Every item should have each sample that any item has; `only_asked` wants none of items without
    questions. Different items may share a picture if they share the prompt: one seed draws it for
    both. `names` are what each picture is called in a message, `unknown` and `doubled` as in
    `Findings`; `read` may raise whatever its decoder raises, `row` makes the rows of those that can
    be scored. `allow_partial` leaves out what is wrong.

    Raises MissingDataError if pictures are missing and nothing else is wrong, RecordError for
    anything else; pictures that belong to no item are refused in any case.
    """
    prompts = {row["item_id"]: row["prompt"] for row in benchmark}
    good, *bad = _look_at(names, prompts, read)
    samples = sorted({sample for _, sample in names}) or [0]
    items = [row["item_id"] for row in benchmark if row["questions"] or not only_asked]
    wanted = [(item_id, sample) for item_id in items for sample in samples]
    missing = ["/".join(map(str, key)) for key in wanted if key not in names]
    findings = Findings(tuple(missing), tuple(unknown), tuple(doubled.values()), *map(tuple, bad))
    problems = "; ".join(findings.problems())
    summary = f"{where}: of {len(wanted)} pictures of the benchmark: {problems}"
    if unknown:
        raise RecordError(f"{summary}; name each picture as its item, or take it out")
    if problems and not allow_partial:
        only_missing = findings == Findings(missing=findings.missing)
        kind: type[SelmaError] = MissingDataError if only_missing else RecordError
        raise kind(f"{summary}; mend them, or allow a partial score, which carries its coverage")
    rows = [row(key) for key in sorted(good) if key not in doubled]
    return PictureSet(rows, len(wanted), findings)


def _look_at(
    names: Mapping[Key, str], prompts: Mapping[str, str], read: Callable[[Key], NDArray[np.uint8]]
) -> tuple[list[Key], list[str], list[str], list[str]]:
    """Find the good pictures, and the names of those that are alike, black or unreadable."""
    by_pixels: dict[str, list[Key]] = {}
    black, unreadable = [], []
    for key in sorted(names):
        try:
            pixels = read(key)
        except Exception as error:  # decoders raise nearly anything for a broken file
            reason = one_line(error).removeprefix(f"{names[key]}: ")
            unreadable.append(f"{names[key]}: {reason}")
            continue
        if int(pixels.max(initial=0)) <= BLACK_MAX:
            black.append(names[key])
            continue
        mark = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        by_pixels.setdefault(mark, []).append(key)
    alike, good = [], []
    for keys in by_pixels.values():
        items = {item_id for item_id, _ in keys}
        if len(items) == len(keys) and len({prompts[item_id] for item_id in items}) == 1:
            good += keys
        else:
            alike.append(" = ".join(names[key] for key in keys))
    return good, alike, black, unreadable


def check_table(
    where: str,
    samples: Sequence[Row],
    benchmark: Sequence[Row],
    *,
    only_asked: bool = False,
    allow_partial: bool = False,
) -> PictureSet:
    """Choose the pictures of a samples table that can be scored; see `check_pictures`.

    A picture that was drawn for other words than its item's is a RecordError.
    """
    rows = {(row["item_id"], row["sample"]): row for row in samples}
    prompts = {row["item_id"]: row["prompt"] for row in benchmark}
    for row in samples:
        if row["prompt"] != prompts.get(row["item_id"], row["prompt"]):
            raise RecordError(
                f"{where}: item {row['item_id']!r} was drawn for {row['prompt']!r}, the "
                f"benchmark's prompt is {prompts[row['item_id']]!r}; samples and benchmark must be "
                "of one version"
            )
    names = {key: f"{key[0]}/{key[1]}" for key in rows}
    return check_pictures(
        where,
        benchmark,
        {key: name for key, name in names.items() if key[0] in prompts},
        lambda key: picture_of(rows[key]),
        lambda key: dict(rows[key]),
        unknown=[name for key, name in names.items() if key[0] not in prompts],
        doubled={},
        only_asked=only_asked,
        allow_partial=allow_partial,
    )
