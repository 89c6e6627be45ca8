"""What a detector sees in a picture becomes a layout whose names fit the prompt's objects."""

from collections import Counter
from collections.abc import Iterable, Sequence

from selma.correction.detections import Detection, without_duplicates
from selma.correction.layout import Box, Layout, Named
from selma.correction.scene import Label, Scene


def name_layout(scene: Scene, found: Sequence[Detection], *, duplicate_iou: float) -> Layout:
    """Name the objects of a picture.

    For each noun of the scene the best detections with an attribute take the slots of that
    attribute, each box one slot. All else that is seen of the noun, also objects with an attribute
    beyond those wanted, is named by the bare noun, the best first: so an object whose attribute
    was not recognised, or that is too much, stays visible. Departs from the published code, which
    loses or doubles boxes here.

    Args:
        scene: what the prompt asks for.
        found: by labels of the scene with and without attributes, in any order.
        duplicate_iou: boxes of a noun that overlap by more are one object.
    """
    places: list[tuple[Label, Box]] = []
    for noun in scene.nouns:
        seen = [one for one in found if one.label.noun == noun]
        places += _places(noun, scene.slots(noun), seen, duplicate_iou)
    return _numbered(places)


def _places(
    noun: str, slots: dict[Label, int], seen: Iterable[Detection], duplicate_iou: float
) -> list[tuple[Label, Box]]:
    ranked = sorted(seen, key=lambda one: one.rank_key)
    attributed = [one for one in ranked if one.label.attribute]
    assigned, surplus = _assign(slots, attributed, duplicate_iou)
    taken = [one.box for one in assigned]
    # a bare detection before one with an attribute, whose scores have another scale
    others = [one for one in ranked if not one.label.attribute] + surplus
    bare = Label(None, noun)
    left = without_duplicates(others, taken, duplicate_iou)
    by_label = [(label, one.box) for label in slots for one in assigned if one.label == label]
    return [*by_label, *((bare, one.box) for one in left)]


def _assign(
    slots: dict[Label, int], attributed: Iterable[Detection], duplicate_iou: float
) -> tuple[list[Detection], list[Detection]]:
    """Give the slots to the best detections; those given one, and the others."""
    free = Counter(slots)
    assigned: list[Detection] = []
    surplus: list[Detection] = []
    for one in attributed:
        taken = [other.box for other in assigned]
        if not without_duplicates([one], taken, duplicate_iou):
            continue  # the same object by a less certain attribute
        if free[one.label] > 0:
            free[one.label] -= 1
            assigned.append(one)
        else:
            surplus.append(one)
    return assigned, surplus


def _numbered(places: Iterable[tuple[Label, Box]]) -> Layout:
    numbers: Counter[str] = Counter()  # by text: a hot dog may be one or the other
    named = []
    for label, box in places:
        numbers[label.text] += 1
        named.append(Named(label, numbers[label.text], box))
    return tuple(named)
