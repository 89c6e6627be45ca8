"""What a detector is."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from selma.correction.layout import Box

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

LOWEST_SCORE = 0.01  # what is seen less than this is not reported
SCORE_DECIMALS = 4  # a batch changes the last bits of a sum, and so must not show


class RawBox(NamedTuple):
    """A box in which a detector sees what a query asks for."""

    query: int  # place among the picture's queries
    box: Box  # may reach beyond the picture
    score: float  # each detector has its own scale


class Detector(Protocol):
    """Looks for objects in pictures."""

    def detect(
        self, pictures: "Sequence[Image]", queries: Sequence[Sequence[str]]
    ) -> list[list[RawBox]]:
        """Look for what each picture's queries ask for; a result does not depend on the batch.

        Args:
            pictures: RGB, of any size.
            queries: of each picture, as `selma.correction.detections.queries` makes them; without
                queries nothing is seen.

        Returns:
            Of each picture, by falling score, all boxes from `LOWEST_SCORE` on, before thresholds
            and suppression of doubles.
        """
        ...


Asked = tuple["Image", Sequence[str]]  # a picture and its queries, at least one


def detect_in_batches(
    pictures: "Sequence[Image]",
    queries: Sequence[Sequence[str]],
    batch_size: int,
    look: Callable[[Sequence[Asked]], list[list[RawBox]]],
) -> list[list[RawBox]]:
    """Look at up to `batch_size` pictures at a time, and at none that is asked nothing."""
    found: list[list[RawBox]] = [[] for _ in pictures]
    pairs = enumerate(zip(pictures, queries, strict=True))
    asked = [(place, pair) for place, pair in pairs if pair[1]]
    for start in range(0, len(asked), batch_size):
        places, batch = zip(*asked[start : start + batch_size], strict=True)
        for place, seen in zip(places, look(batch), strict=True):
            found[place] = sorted(seen, key=lambda one: (-one.score, one.query, one.box))
    return found


def raw_boxes(
    queries: "torch.Tensor", corners: "torch.Tensor", scores: "torch.Tensor"
) -> list[RawBox]:
    """Report one picture's n boxes that are seen well enough.

    Args:
        queries: place of the query of each box, (n,).
        corners: left, top, right, bottom as fractions of the picture, (n, 4).
        scores: (n,).
    """
    rows = zip(queries.tolist(), corners.double().tolist(), scores.double().tolist(), strict=True)
    return [
        RawBox(query, Box(left, top, right - left, bottom - top), round(score, SCORE_DECIMALS))
        for query, (left, top, right, bottom), score in rows
        if score >= LOWEST_SCORE
    ]
