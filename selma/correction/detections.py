"""Raw boxes of a detector become detections: threshold, clipping, suppression of doubles."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selma.correction.layout import Box, clamp, iou
from selma.correction.scene import Label, Scene
from selma.correction.words import with_article

DECIMALS = 3  # of a box's fractions
QUERY_PREFIX = "image of "


def queries(scene: Scene) -> dict[Label, str]:
    """What a detector is asked for: each label with an attribute, then each noun without."""
    labels = [*scene.attributed, *(Label(None, noun) for noun in scene.nouns)]
    return {label: query_of(label) for label in labels}


def query_of(label: Label) -> str:
    return QUERY_PREFIX + with_article(label.text)


@dataclass(frozen=True)
class Detection:
    """A box in which a detector sees an object of a label."""

    label: Label
    box: Box
    score: float

    @property
    def rank_key(self) -> tuple[float, tuple[str, str], Box]:
        """Sorts the best first, equal ones by what and where they are."""
        return -self.score, self.label.sort_key, self.box


@dataclass(frozen=True)
class Thresholds:
    """What counts as seen; each detector has its own scale of scores."""

    attribute: float  # lowest score of a label with an attribute
    primitive: float  # lowest score of a bare noun
    nms_iou: float  # boxes of a label that overlap as much are one object

    def lowest(self, label: Label) -> float:
        return self.attribute if label.attribute else self.primitive


def postprocess(raw: Iterable[Detection], thresholds: Thresholds) -> list[Detection]:
    """Keep what is seen well enough, inside the picture, once for each object.

    Boxes are clipped to the picture and rounded to `DECIMALS`. Sorted by label in the order in
    which labels first come, then by falling score; equal scores by box.
    """
    kept: dict[Label, list[Detection]] = {}
    for one in raw:
        box = _rounded(one.box)
        seen = kept.setdefault(one.label, [])
        if box is not None and one.score >= thresholds.lowest(one.label):
            seen.append(Detection(one.label, box, one.score))
    found = []
    for seen in kept.values():
        seen.sort(key=lambda one: one.rank_key)
        corners = np.array([[d.box.x, d.box.y, d.box.right, d.box.bottom] for d in seen])
        found += [seen[n] for n in nms(corners.reshape(-1, 4), thresholds.nms_iou)]
    return found


def nms(corners: NDArray[np.float64], nms_iou: float) -> list[int]:
    """Suppress boxes that overlap a better one by IoU ≥ `nms_iou`; the indices that stay.

    Args:
        corners: left, top, right, bottom of each box, the best first, (n, 4).
        nms_iou: as in `Thresholds`.
    """
    areas = (corners[:, 2:] - corners[:, :2]).clip(0).prod(axis=1)  # (n,)
    kept: list[int] = []
    waiting = np.arange(len(corners))
    while len(waiting):
        best, waiting = int(waiting[0]), waiting[1:]
        kept.append(best)
        low = np.maximum(corners[best, :2], corners[waiting, :2])  # (m, 2)
        high = np.minimum(corners[best, 2:], corners[waiting, 2:])
        shared = (high - low).clip(0).prod(axis=1)
        union = areas[best] + areas[waiting] - shared
        overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        waiting = waiting[overlap < nms_iou]
    return kept


def without_duplicates(
    candidates: Iterable[Detection], taken: Sequence[Box], duplicate_iou: float
) -> list[Detection]:
    """Leave out, in order, what overlaps a taken box or an earlier one by more than an IoU."""
    taken, kept = list(taken), []
    for one in candidates:
        if all(iou(one.box, box) <= duplicate_iou for box in taken):
            taken.append(one.box)
            kept.append(one)
    return kept


def _rounded(box: Box) -> Box | None:
    inside = clamp(box)
    if inside is None:
        return None
    left, top = round(inside.x, DECIMALS), round(inside.y, DECIMALS)
    width, height = round(inside.width, DECIMALS), round(inside.height, DECIMALS)
    return Box(left, top, width, height) if min(width, height) > 0 else None
