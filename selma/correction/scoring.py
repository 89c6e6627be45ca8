"""Detection, plan and edit scored apart, so that a failure can be laid to one of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from selma.correction.detections import Detection
from selma.correction.layout import Box, Layout, iou
from selma.correction.plan import Plan
from selma.correction.predicates import Predicate
from selma.correction.scene import Label


@dataclass(frozen=True)
class Matched:
    """How many objects two layouts have, and how many of them are the same."""

    found: int
    true: int
    matched: int

    @property
    def precision(self) -> float | None:
        """None if nothing was found."""
        return self.matched / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """None if there was nothing to find."""
        return self.matched / self.true if self.true else None


def match_layouts(found: Layout, truth: Layout, *, iou_min: float) -> Matched:
    """Score a detection: pair objects of a label whose boxes overlap by an IoU, best first."""
    pairs = sorted(
        (-iou(one.box, other.box), one.sort_key, other.sort_key)
        for one in found
        for other in truth
        if one.label == other.label and iou(one.box, other.box) >= iou_min
    )
    used: set[object] = set()
    matched = 0
    for _, one, other in pairs:
        if ("found", one) not in used and ("truth", other) not in used:
            used |= {("found", one), ("truth", other)}
            matched += 1
    return Matched(len(found), len(truth), matched)


def layout_passes(predicate: Predicate, goal: Layout) -> bool:
    """Score a plan: would a picture with just the goal's objects pass?

    An object with an attribute is one of its bare noun too.
    """
    asked = predicate.labels()
    seen = [
        Detection(label, one.box, 1.0)
        for one in goal
        for label in asked
        if label in (one.label, Label(None, one.label.noun))
    ]
    return predicate.passes(seen)


@dataclass(frozen=True)
class Done:
    """Operations of a kind, and how many of them a detector sees carried out."""

    asked: int
    done: int


def score_edit(plan: Plan, found: Sequence[Detection], *, iou_min: float) -> dict[str, Done]:
    """Score an edit by what is seen in the edited picture, for each kind of operation.

    Args:
        plan: what was to be done.
        found: in the edited picture.
        iou_min: with the goal's box, from which an object is where it shall be; with the old box,
            up to which something of the noun may remain where an object was removed.
    """
    there = _seen_at(found, iou_min)
    new = [one.goal for one in plan.attribute]
    moved = [one.goal for one in plan.move]
    kept = [one.goal for one in plan.preserve]
    # A moved object may be seen without its attribute; a changed or added one may not.
    by_noun = {"preserve": kept, "move": moved}
    by_label = {"add": list(plan.add), "attribute": new}
    done = {
        kind: Done(len(these), sum(there(Label(None, one.label.noun), one.box) for one in these))
        for kind, these in by_noun.items()
    }
    for kind, these in by_label.items():
        done[kind] = Done(len(these), sum(there(one.label, one.box) for one in these))
    goals = [*kept, *moved, *new, *plan.add]
    gone = [
        one
        for one in plan.remove
        # what the goal puts in its place says nothing about it
        if any(
            other.label.noun == one.label.noun and iou(other.box, one.box) >= iou_min
            for other in goals
        )
        or not there(Label(None, one.label.noun), one.box)
    ]
    done["remove"] = Done(len(plan.remove), len(gone))
    return done


def _seen_at(found: Sequence[Detection], iou_min: float) -> Callable[[Label, Box], bool]:
    def seen(label: Label, box: Box) -> bool:
        return any(
            label in (one.label, Label(None, one.label.noun)) and iou(one.box, box) >= iou_min
            for one in found
        )

    return seen


def done_as_json(done: Mapping[str, Done]) -> dict[str, dict[str, int]]:
    """Write the scores of an edit."""
    return {kind: {"asked": one.asked, "done": one.done} for kind, one in sorted(done.items())}
