"""The requests by which an LLM writes questions about a prompt's picture; they begin as texts/."""

from collections.abc import Sequence
from importlib.resources import files

# Raise a request's number when its text changes: replies, and so questions, change with it.
REQUEST_VERSIONS = {"tuples": 1, "dependencies": 1, "questions": 1, "choices": 1}


def tuples_request(prompt: str, refused: str) -> str:
    """Ask for the statements of a prompt, whose white space becomes single spaces.

    `refused` says why the last reply could not be used; "" if this is the first request.
    """
    return _request("tuples", refused, f"Prompt: {_one_line(prompt)}", "Tuples:")


def dependencies_request(prompt: str, tuples: Sequence[str], refused: str) -> str:
    """Ask which of the statements, numbered from 1, need which; else as `tuples_request`."""
    return _request("dependencies", refused, *_statements(prompt, tuples), "Dependencies:")


def questions_request(prompt: str, tuples: Sequence[str], refused: str) -> str:
    """Ask for one question for each statement, numbered from 1; else as `tuples_request`."""
    return _request("questions", refused, *_statements(prompt, tuples), "Questions:")


def choices_request(prompt: str, refused: str) -> str:
    """Ask for questions with choices about a caption; else as `tuples_request`."""
    return _request("choices", refused, f"Caption: {_one_line(prompt)}")


def _statements(prompt: str, tuples: Sequence[str]) -> list[str]:
    numbered = [f"{number} | {text}" for number, text in enumerate(tuples, start=1)]
    return [f"Prompt: {_one_line(prompt)}", "Tuples:", *numbered]


def _request(step: str, refused: str, *end: str) -> str:
    instructions = (files(__package__) / "texts" / f"{step}.txt").read_text(encoding="utf-8")
    # A model that decodes greedily repeats its reply for any seed, unless the request changes.
    warning = f"An earlier reply could not be used: {_one_line(refused)}.\n\n" if refused else ""
    return f"{instructions}\n{warning}" + "\n".join(end) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())
