"""What makes a set of pictures unfit to be scored: missing, doubled, alike, black or unreadable."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selma.core.errors import MissingDataError, RecordError, SelmaError

Row = Mapping[str, Any]
Key = tuple[str, int]  # item_id, sample
BLACK_MAX = 3  # a picture whose brightest value of 255 is not above this is black
SHOWN = 5


@dataclass(frozen=True)
class Findings:
    """What is wrong with a set of pictures, each a list of names.

    Attributes:
        missing: pictures that an item lacks, as ITEM/SAMPLE.
        unknown: pictures that belong to no item.
        doubled: files for a picture that another file gives already.
        alike: pictures of different items or samples with the same pixels.
        black: pictures without any light.
        unreadable: what is no picture, or has values that are no colours, and why.
    """

    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()
    black: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    def problems(self) -> list[str]:
        """Say each kind of finding in a phrase that counts and names."""
        return [
            f"{len(names)} {kind} ({', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''})"
            for kind, names in vars(self).items()
            if names
        ]


@dataclass(frozen=True)
class Looked:
    """What the pixels of pictures showed.

    Attributes:
        good: the pictures that can be scored.
        alike: names of pictures with the same pixels, joined; none of them is good.
        black: names.
        unreadable: names, each with the reason.
    """

    good: tuple[Key, ...]
    alike: tuple[str, ...]
    black: tuple[str, ...]
    unreadable: tuple[str, ...]


@dataclass(frozen=True)
class PictureSet:
    """The usable pictures of a benchmark.

    Attributes:
        rows: as of a samples table; sorted by item and sample.
        n_wanted: how many there should be.
        findings: what is wrong with the others.
    """

    rows: list[dict[str, Any]]
    n_wanted: int
    findings: Findings


def look_at(
    names: Mapping[Key, str],
    prompts: Mapping[str, str],
    read: Callable[[Key], NDArray[np.uint8]],
) -> Looked:
    """Look at each picture once.

    Different items may share a picture if they share the prompt: one seed draws it for both.

    Args:
        names: what each picture is called in a message.
        prompts: of each item.
        read: gives a picture's pixels, or raises whatever its decoder raises.
    """
    by_pixels: dict[str, list[Key]] = {}
    black, unreadable = [], []
    for key in sorted(names):
        try:
            pixels = read(key)
        except Exception as error:  # decoders raise nearly anything for a broken file
            unreadable.append(f"{names[key]}: {' '.join(str(error).split())}")
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
    return Looked(tuple(sorted(good)), tuple(alike), tuple(black), tuple(unreadable))


def missing_pictures(
    benchmark: Sequence[Row], given: Mapping[Key, Any], *, only_asked: bool
) -> tuple[list[str], int]:
    """Name the pictures that items lack, and give how many there should be.

    Every item should have each sample that any item has; with `only_asked`, every item with
    questions.
    """
    samples = sorted({sample for _, sample in given}) or [0]
    items = [row["item_id"] for row in benchmark if row["questions"] or not only_asked]
    wanted = [(item_id, sample) for item_id in items for sample in samples]
    missing = [
        f"{item_id}/{sample}" for item_id, sample in wanted if (item_id, sample) not in given
    ]
    return missing, len(wanted)


def refuse(where: str, findings: Findings, n_wanted: int, allow_partial: bool) -> None:
    """Stop if something is wrong, unless a partial score is allowed.

    Raises:
        MissingDataError: pictures are missing, and nothing else is wrong.
        RecordError: anything else; pictures that belong to no item are refused in any case.
    """
    told = f"{where}: of {n_wanted} pictures of the benchmark: {'; '.join(findings.problems())}"
    if findings.unknown:
        raise RecordError(f"{told}; name each picture as its item, or take it out")
    if findings.problems() and not allow_partial:
        only_missing = findings == Findings(missing=findings.missing)
        kind: type[SelmaError] = MissingDataError if only_missing else RecordError
        raise kind(f"{told}; mend them, or allow a partial score, which carries its coverage")


def check_table(
    where: str,
    samples: Sequence[Row],
    benchmark: Sequence[Row],
    *,
    only_asked: bool = False,
    allow_partial: bool = False,
) -> PictureSet:
    """Look at the pictures of a samples table and give those that can be scored.

    Args:
        where: the table's name, for the message.
        samples: rows of a samples table.
        benchmark: rows of the benchmark that was drawn.
        only_asked: items without questions need no picture.
        allow_partial: leave out what is wrong, instead of refusing.

    Raises:
        MissingDataError: pictures are missing, and nothing else is wrong.
        RecordError: pictures are alike, black, unreadable or of no item, or drawn for other words.
    """
    from selma.pictures.pixels import decode_png

    rows = {(row["item_id"], row["sample"]): row for row in samples}
    prompts = {row["item_id"]: row["prompt"] for row in benchmark}
    for row in samples:
        if row["prompt"] != prompts.get(row["item_id"], row["prompt"]):
            raise RecordError(
                f"{where}: item {row['item_id']!r} was drawn for {row['prompt']!r}, the "
                f"benchmark's prompt is {prompts[row['item_id']]!r}; samples and benchmark must be "
                "of one version"
            )
    known = {key: f"{key[0]}/{key[1]}" for key in rows if key[0] in prompts}
    looked = look_at(known, prompts, lambda key: decode_png(rows[key]["image"]["bytes"]))
    missing, n_wanted = missing_pictures(benchmark, known, only_asked=only_asked)
    findings = Findings(
        missing=tuple(missing),
        unknown=tuple(f"{item_id}/{sample}" for item_id, sample in rows if item_id not in prompts),
        alike=looked.alike,
        black=looked.black,
        unreadable=looked.unreadable,
    )
    refuse(where, findings, n_wanted, allow_partial)
    return PictureSet([dict(rows[key]) for key in looked.good], n_wanted, findings)
