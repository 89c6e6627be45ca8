"""Has an LLM write a prompt's DSG questions in three steps: tuples, dependencies, questions.

Source: Davidsonian Scene Graph, arXiv 2310.18235, section 3. Where we differ from the paper:

1. The requests are our own, with fewer examples, and each shows only what its step needs.
2. A graph that breaks its own rules (ids that do not exist, a tuple that needs itself, cycles) is
   a reply that cannot be used, and is asked for again; the released graphs hold such defects.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Any

from selma.core.errors import ReplyError
from selma.questions.interview import Interview, Questions
from selma.questions.replies import joined_lines, numbered_texts, without_repeats
from selma.questions.requests import dependencies_request, questions_request, tuples_request

BROAD_TYPES = ("entity", "attribute", "relation", "other", "global")
_SPELLINGS = {"colour": "color", "": "-"}
_TUPLE = re.compile(
    r"(?P<broad>[A-Za-z]+)(?:\s*[-–—:/]\s*(?P<detailed>[A-Za-z][A-Za-z -]*|-)?)?\s*"
    r"\((?P<arguments>.*\S.*)\)[.,;]?"
)
_REMARK = re.compile(r"\([^)]*\)")
_NO_PARENT = ("0", "none", "-", "n/a")
_PARENT_WORDS = re.compile(r"\b(?:depends on|needs|and|ids?|tuples?)\b|[&#\[\];,.:]")
_OPEN_QUESTION = re.compile(r"(?:what|which|who|whose|where|when|why|how)\b", re.IGNORECASE)
_YES = re.compile(
    r"(?P<question>.*\?)[\s\-–—(\[]*(?:answer\s*:?\s*)?(?:yes)?[.)\]]*", re.IGNORECASE
)


def dsg_questions(interview: Interview) -> Questions:
    """Ask for the question graph of one prompt; ReplyError if a step had no usable reply.

    "yes" is always right. The category is the detailed type, but "-" for whatever is global, as in
    DSG-1k; the element is the tuple. Repeated tuples are dropped.
    """
    prompt, ask = interview.prompt, interview.ask
    tuples, repeated = ask("tuples", partial(tuples_request, prompt), parse_tuples)
    request, parse = dependencies_request, partial(parse_dependencies, count=len(tuples))
    parents = ask("dependencies", partial(request, prompt, tuples), parse)
    read = partial(parse_questions, tuples=tuples)
    texts = ask("questions", partial(questions_request, prompt, tuples), read)
    rows = [
        _question(number, text, texts[number], parents[number])
        for number, text in enumerate(tuples, start=1)
    ]
    return Questions(rows, {"repeated tuple": repeated})


def parse_tuples(reply: str) -> tuple[list[str], int]:
    """Read a reply's tuples, each once, and the number of repeats; their order decides their ids.

    A tuple is written as in DSG-1k, "attribute - color (cube, purple)". ReplyError if there is
    none, or a numbered line is none.
    """
    found: list[str] = []
    lines = joined_lines(reply)
    bars = any(line.bar for line in lines)
    for line in lines:
        text = _normal_tuple(line.text)
        if text:
            found.append(text)
        elif line.bar or (line.number is not None and not bars):
            wanted = f"type (arguments), the type beginning with one of {', '.join(BROAD_TYPES)}"
            raise ReplyError(f"the line {line.text[:80]!r} is not {wanted}", reply)
    if not found:
        raise ReplyError("it has no line with type (arguments)", reply)
    tuples = without_repeats(found)
    return tuples, len(found) - len(tuples)


def parse_dependencies(reply: str, count: int) -> dict[int, tuple[int, ...]]:
    """Read which ids each of the ids 1 to `count` needs, in the order of the reply; () is none.

    A 0 beside other ids, repeats and remarks in brackets mean nothing and are left out. ReplyError
    if an id is missing or does not exist, needs itself, or some need each other in a circle.
    """
    cells = numbered_texts(reply, count)
    parents = {number: _parents(number, cell, count, reply) for number, cell in cells.items()}
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        ids = ", ".join(map(str, sorted(set(error.args[1]))))
        raise ReplyError(f"the ids {ids} need each other in a circle", reply) from error
    return parents


def parse_questions(reply: str, tuples: Sequence[str]) -> dict[int, str]:
    """Read one yes/no question for each tuple, by id.

    Left out are the tuple, where it is repeated before the question, and a "yes" after it. Where no
    line has a number, as many questions as there are tuples are taken in their order. ReplyError if
    an id is missing or does not exist, or a text is no yes/no question.
    """
    lines = joined_lines(reply)
    asked = [line.text for line in lines if line.text.endswith("?")]
    if not any(line.number is not None for line in lines) and len(asked) == len(tuples):
        texts: Mapping[int, str] = dict(enumerate(asked, start=1))
    else:
        texts = numbered_texts(reply, len(tuples))
    return {
        number: _yes_no_question(number, texts[number], text, reply)
        for number, text in enumerate(tuples, start=1)
    }


def _normal_tuple(text: str) -> str:
    """Write a tuple as DSG-1k does; "" if the text is none."""
    match = _TUPLE.fullmatch(text)
    if match is None or match["broad"].lower() not in BROAD_TYPES:
        return ""
    detailed = " ".join((match["detailed"] or "").lower().split())
    arguments = " ".join(match["arguments"].split())
    return f"{match['broad'].lower()} - {_SPELLINGS.get(detailed, detailed)} ({arguments})"


def _parents(number: int, cell: str, count: int, reply: str) -> tuple[int, ...]:
    last = _REMARK.sub(" ", cell.rsplit("|", 1)[-1].lower()).strip()
    if last in _NO_PARENT:
        return ()
    tokens = _PARENT_WORDS.sub(" ", last).split()
    if not tokens or not all(token.isdecimal() for token in tokens):
        raise ReplyError(f"id {number} needs {cell!r}, expected ids or 0", reply)
    ids = tuple(dict.fromkeys(int(token) for token in tokens if int(token) != 0))
    if number in ids:
        raise ReplyError(f"id {number} needs itself", reply)
    if any(needed > count for needed in ids):
        raise ReplyError(f"id {number} needs id {max(ids)}, ids are 1 to {count}", reply)
    return ids


def _yes_no_question(number: int, text: str, tuple_text: str, reply: str) -> str:
    before, bar, after = text.rpartition("|")
    if bar and _normal_tuple(before.strip()) == tuple_text:
        text = after.strip()
    match = _YES.fullmatch(text)
    if match is None or _OPEN_QUESTION.match(text):
        raise ReplyError(f"id {number}: {text[:80]!r} is not a yes/no question", reply)
    return match["question"]


def _question(number: int, element: str, text: str, parents: Sequence[int]) -> dict[str, Any]:
    broad, detailed = element.split(" (", 1)[0].split(" - ", 1)
    asked = {"question_id": number, "question": text, "choices": [], "answer": "yes"}
    category = "-" if broad == "global" else detailed
    dependency = ",".join(map(str, parents)) or "0"
    return asked | {"dependency": dependency, "category": category, "element": element}
