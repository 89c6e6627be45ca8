"""The requests by which an LLM reads a prompt and corrects a layout; they begin as texts/."""

from importlib.resources import files

from selma.core.choices import choose_name
from selma.correction.layout import Layout

# Raise a request's number when its text changes: replies, and so pictures, change with it.
REQUEST_VERSIONS = {"parse": 1, "correct": 1, "edit": 1}
MODES = ("correct", "edit")  # the picture shall show its prompt, or change as the prompt says


def parse_request(prompt: str, refused: str) -> str:
    """Ask for the objects of a prompt, whose white space becomes single spaces.

    `refused` says why the last reply could not be used; "" if this is the first request.
    """
    return _request("parse", refused, f"User Prompt: {_one_line(prompt)}", "Reasoning:")


def layout_request(mode: str, prompt: str, current: Layout, refused: str) -> str:
    """Ask for the layout that a picture shall have; `mode` is of `MODES`, else as above."""
    step = choose_name("mode", mode, MODES)
    objects = ", ".join(f"({_quoted(one.name)}, {one.box.values()})" for one in current)
    prompt = f"User Prompt: {_one_line(prompt)}"
    return _request(step, refused, prompt, f"Current Objects: [{objects}]", "Reasoning:")


def instructions(step: str) -> str:
    """What a request of a step begins with."""
    return (files(__package__) / "texts" / f"{step}.txt").read_text(encoding="utf-8")


def _request(step: str, refused: str, *end: str) -> str:
    # A model that decodes greedily repeats its reply for any seed, unless the request changes.
    warning = f"An earlier reply could not be used: {_one_line(refused)}.\n\n" if refused else ""
    return f"{instructions(step)}\n{warning}" + "\n".join(end) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
