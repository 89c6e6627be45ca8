"""Rounds of looking, asking, planning and editing, until a picture passes; never a worse one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from selma.core.errors import BackendError, BudgetError, ReplyError
from selma.core.seeds import derive_seed
from selma.correction.detections import Detection
from selma.correction.layout import Checked, Layout
from selma.correction.naming import name_layout
from selma.correction.plan import Plan, plan
from selma.correction.scene import Scene
from selma.correction.scoring import score_edit
from selma.correction.trace import Look, Round, Trace

Picture = TypeVar("Picture")

VERDICTS = {
    "skipped": "no rounds were asked for",
    "pass_before": "passed as it came",
    "fixed": "passes after an edit; where no rule is known, all of the last one was seen done, or "
    "nothing more was suggested after it",
    "edited": "was edited and does not pass, or no rule is known and not all was seen done",
    "unchanged": "did not pass, but nothing was suggested",
    "planned": "was not to be edited; what would be done stands in its trace",
    "worse": "passed as it came and no longer after an edit, which was thrown away",
    "failed": "an LLM's replies could not be used, or a model failed; stays as it was by then",
}
# What becomes of a picture with a verdict: "result", "original" or None, which drops it.
KEEP: dict[str, Callable[[str], str | None]] = {
    "all": lambda verdict: "result",
    "passing": lambda verdict: "result" if verdict in ("pass_before", "fixed") else None,
    "fixed_or_original": lambda verdict: "result" if verdict == "fixed" else "original",
}


@dataclass(frozen=True)
class Job:
    """What an editor has to do."""

    scene: Scene
    current: Layout
    goal: Layout
    plan: Plan
    seed: int


@dataclass(frozen=True)
class Steps(Generic[Picture]):
    """What the rounds are made of; ReplyError or BackendError if one fails for good.

    `edit` is None where plans alone are wanted. `passes` judges what is seen in a picture,
    `goal_passes` a suggested layout; None if no rule is known for the prompt.
    """

    read: Callable[[], Scene]
    detect: Callable[[Picture, Scene], Sequence[Detection]]
    suggest: Callable[[Scene, Layout, int], Checked]  # with the number of the round, from 1
    edit: Callable[[Picture, Job], Picture] | None
    passes: Callable[[Picture, Sequence[Detection]], bool] | None
    goal_passes: Callable[[Layout], bool] | None


@dataclass(frozen=True)
class Options:
    """How the rounds go."""

    rounds: int  # 0: the picture is not looked at
    stop_on_pass: bool  # False only to see what further rounds would do
    duplicate_iou: float  # see `name_layout`
    edit_iou: float  # see `score_edit`


def correct(picture: Picture, steps: Steps[Picture], options: Options, trace: Trace) -> Picture:
    """Correct a picture; the result, with all that happened in `trace`.

    A round names what is seen, has a layout suggested, compares the two and has the difference
    edited. The rounds end when the picture passes, when nothing is left to do, or when all are
    used. The result is the last picture that passes, or else the last one.

    Args:
        picture: as it came; not changed.
        steps: the parts.
        options: how the rounds go.
        trace: of this picture, still empty; filled.

    Raises:
        BudgetError: nothing more can be asked, of other pictures neither.
    """
    if options.rounds == 0:
        trace.verdict = "skipped"
        return picture
    pictures = [picture]
    try:
        trace.scene = scene = steps.read()
        trace.before = before = _look(picture, scene, steps, options)
        ended = _rounds(pictures, before, scene, steps, options, trace)
        trace.chosen_round, trace.verdict = _verdict(before, trace, ended)
    except BudgetError:
        raise
    except (ReplyError, BackendError) as error:
        trace.failure, trace.verdict = str(error), "failed"
        trace.chosen_round = best_round(trace.looks)
    return pictures[trace.chosen_round]


def best_round(looks: Sequence[Look | None]) -> int:
    """Choose whose picture is the result: the last one that passes, else the last one looked at.

    Args:
        looks: at the picture as it came, then after each round, as `Trace.looks`.

    Returns:
        The round's number; 0 is the picture as it came.
    """
    seen = [(number, look.passes) for number, look in enumerate(looks) if look is not None]
    passing = [number for number, passes in seen if passes]
    return (passing or [number for number, _ in seen] or [0])[-1]


def _rounds(
    pictures: list[Picture], look: Look, scene: Scene, steps: Steps[Picture], options: Options,
    trace: Trace,
) -> bool:  # fmt: skip
    """Go through the rounds and collect the pictures; whether an empty plan ended them."""
    for number in range(1, options.rounds + 1):
        if look.passes and options.stop_on_pass:
            return False
        suggestion = steps.suggest(scene, look.layout, number)
        todo = plan(look.layout, suggestion.layout)
        seed = derive_seed(trace.seed, "correction", "edit", number)
        goal_passes = steps.goal_passes and steps.goal_passes(suggestion.layout)
        if todo.is_empty or steps.edit is None:
            trace.rounds.append(Round(suggestion, todo, goal_passes, seed, None, {}))
            return todo.is_empty
        job = Job(scene, look.layout, suggestion.layout, todo, seed)
        try:
            edited = steps.edit(pictures[-1], job)
            look = _look(edited, scene, steps, options)
        except BackendError:
            trace.rounds.append(Round(suggestion, todo, goal_passes, seed, None, {}))
            raise
        pictures.append(edited)
        done = score_edit(todo, look.found, iou_min=options.edit_iou)
        trace.rounds.append(Round(suggestion, todo, goal_passes, seed, look, done))
    return False


def _look(picture: Picture, scene: Scene, steps: Steps[Picture], options: Options) -> Look:
    found = steps.detect(picture, scene)
    layout = name_layout(scene, found, duplicate_iou=options.duplicate_iou)
    return Look(found, layout, None if steps.passes is None else steps.passes(picture, found))


def _all_done(last: Round) -> bool:
    return all(one.done == one.asked for one in last.edit.values())


def _verdict(before: Look, trace: Trace, nothing_left: bool) -> tuple[int, str]:
    chosen = best_round(trace.looks)
    best = trace.looks[chosen]
    passes = None if best is None else best.passes
    edited = any(one.after is not None for one in trace.rounds)
    if chosen == 0 and before.passes:
        return 0, "worse" if edited else "pass_before"
    if not edited:
        planned = any(not one.plan.is_empty for one in trace.rounds)
        return 0, "planned" if planned else "unchanged"
    if passes is None:
        return chosen, "fixed" if nothing_left or _all_done(trace.rounds[-1]) else "edited"
    if before.passes:
        return chosen, "pass_before"
    return chosen, "fixed" if passes else "edited"
