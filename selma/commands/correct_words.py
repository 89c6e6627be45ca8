"""The words in which `selma correct` tells what became of a picture."""

from collections.abc import Iterator, Mapping
from typing import Any

Trace = Mapping[str, Any]  # as trace.json holds it


def plan_words(plan: Mapping[str, Any]) -> str:
    """Write a plan's operations: "add car #2, move dog #1"."""
    words = [f"remove {name}" for name in plan["remove"]]
    words += [f"add {name}" for name in plan["add"]]
    words += [f"move {goal}" for _, goal in plan["move"]]
    words += [f"change {old} into {new}" for old, new in plan["attribute"]]
    return ", ".join(words) or "nothing to do"


def trace_lines(trace: Trace) -> Iterator[str]:
    """Tell what was seen and done, a line for each round, and why it failed."""
    if trace["before"]:
        yield f"seen: {_boxes(trace['before']['layout'])}"
    for number, one in enumerate(trace["rounds"], start=1):
        done = f"; done: {_done(one['edit'])}" if one["edit"] else ""
        yield f"round {number}, suggested: {_boxes(one['suggestion'])}"
        yield f"round {number}: {plan_words(one['plan'])}{done}"
        if one["clamped"]:
            yield f"boxes cut off at the picture's edge: {', '.join(sorted(one['clamped']))}"
    if trace["failure"]:
        yield f"failed: {trace['failure']}"


def _boxes(layout: Any) -> str:
    words = [f"{name} {' '.join(f'{value:g}' for value in box)}" for name, box in layout]
    return "; ".join(words) or "nothing"


def _done(edit: Mapping[str, Any]) -> str:
    words = [f"{kind} {one['done']}/{one['asked']}" for kind, one in edit.items() if one["asked"]]
    return ", ".join(words) or "nothing"


def verdict_line(name: str, trace: Trace) -> str:
    """Tell in one line what became of a picture."""
    made = [f"{number} {kind}" for kind, number in trace["operations"].items() if number]
    plans = [plan_words(one["plan"]) for one in trace["rounds"]]
    what = plans[0] if trace["verdict"] == "planned" else ", ".join(made)
    reason = f" ({trace['failure']})" if trace["failure"] else ""
    return f"{name}: {trace['verdict']}{f': {what}' if what else ''}{reason}"
