"""What makes a set of pictures unfit to be scored: missing, doubled, alike, black or unreadable."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selma.errors import MissingDataError, RecordError, SelmaError

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


def look_at(names: Mapping[Key, str], read: Callable[[Key], NDArray[np.uint8]]) -> Looked:
    """Look at each picture once.

    Args:
        names: what each picture is called in a message.
        read: gives a picture's pixels; raises OSError, SyntaxError, ValueError or RecordError for
            one that cannot be read.
    """
    by_pixels: dict[str, list[Key]] = {}
    black, unreadable = [], []
    for key in sorted(names):
        try:
            pixels = read(key)
        except (OSError, SyntaxError, ValueError, RecordError) as error:
            unreadable.append(f"{names[key]}: {' '.join(str(error).split())}")
            continue
        if int(pixels.max(initial=0)) <= BLACK_MAX:
            black.append(names[key])
            continue
        mark = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        by_pixels.setdefault(mark, []).append(key)
    groups = list(by_pixels.values())
    alike = [" = ".join(names[key] for key in keys) for keys in groups if len(keys) > 1]
    good = sorted(keys[0] for keys in groups if len(keys) == 1)
    return Looked(tuple(good), tuple(alike), tuple(black), tuple(unreadable))


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
) -> list[dict[str, Any]]:
    """Look at the pictures of a samples table and give those that can be scored.

    Args:
        where: the table's name, for the message.
        samples: rows of a samples table.
        benchmark: rows of the benchmark that was drawn.
        only_asked: items without questions need no picture.
        allow_partial: leave out what is wrong, instead of refusing.

    Raises:
        MissingDataError: pictures are missing, and nothing else is wrong.
        RecordError: pictures are alike, black, unreadable or of no item.
    """
    from selma.evaluation.pixels import decode_png

    rows = {(row["item_id"], row["sample"]): row for row in samples}
    items = {row["item_id"] for row in benchmark}
    known = {key: f"{key[0]}/{key[1]}" for key in rows if key[0] in items}
    looked = look_at(known, lambda key: decode_png(rows[key]["image"]["bytes"]))
    missing, n_wanted = missing_pictures(benchmark, known, only_asked=only_asked)
    findings = Findings(
        missing=tuple(missing),
        unknown=tuple(f"{item_id}/{sample}" for item_id, sample in rows if item_id not in items),
        alike=looked.alike,
        black=looked.black,
        unreadable=looked.unreadable,
    )
    refuse(where, findings, n_wanted, allow_partial)
    return [dict(rows[key]) for key in looked.good]
