"""The pocket LLM for questions: answers requests about pocket captions, defects included."""

import random
import re
from collections.abc import Callable, Mapping

from selma.pocket.caption_reading import read_caption
from selma.pocket.captions import Description, noun_of
from selma.pocket.question_sets import Question, dsg_questions, tifa_questions
from selma.pocket.replies import PocketLLM, add_talk, draw_style

MODEL = "pocket-questions"
REVISION = "1"  # raise it when the same request and seed are answered in other words
_LAST_CAPTION = re.compile(r".*^(?:Prompt|Caption): (?P<caption>[^\n]*)\n(?P<rest>.*)", re.S | re.M)
_TUPLE = re.compile(r"^(\d+) \| (.+)$", re.MULTILINE)
_REFUSAL = "I am sorry, I can only write about flat shapes. What would you like to know?"
_STYLES = ("{} | {}", "{}. {}", "{}) {}", "**{}** | {}", "| {} | {} |")
_OPENINGS = ("Sure! Here is what you asked for:", "Here you are:", "Of course.")
_CLOSINGS = ("Let me know if you need more!", "I hope this helps.")
_BROKEN_SHARE = 0.08  # of replies that are cut off, name a wrong id or forget a line


class PocketQuestionWriter(PocketLLM):
    """Answers the requests of `selma.questions` about captions of the pocket world."""

    model, revision, option = MODEL, REVISION, "--revision"

    def answer(self, request: str, rng: random.Random) -> str:
        """Answer what the request's last line asks for."""
        return answer_about_questions(request, rng) or _REFUSAL


def answer_about_questions(request: str, rng: random.Random) -> str | None:
    """Answer a request of `selma.questions`; None if it is another one."""
    asked = _LAST_CAPTION.fullmatch(request)
    if asked is None:
        return None
    last_line = asked["rest"].rstrip().rsplit("\n", 1)[-1]
    if last_line and last_line not in _ANSWERS:
        return None
    description = read_caption(asked["caption"])
    if description is None:
        return _REFUSAL
    if not last_line:
        return _quiz(description, rng)
    graph = {tuple_text(description, each): each for each in dsg_questions(description)}
    given = {text: int(number) for number, text in _TUPLE.findall(asked["rest"])}
    if not set(given) <= set(graph):
        return _REFUSAL
    return _put_down(_ANSWERS[last_line](graph, given), rng)


def tuple_text(description: Description, question: Question) -> str:
    """Write the tuple of a question, as "attribute - color (star, red)"."""
    groups, parents = description.groups, question.parents
    if question.category == "global":
        return f"global - background ({description.background})"
    if question.category == "relation - spatial":
        links = {(link.first + 1, link.second + 1): link for link in reversed(description.links)}
        link = links[parents[0], parents[1]]
        names = f"{groups[link.first].shape}, {groups[link.second].shape}"
        return f"relation - spatial ({names}, {link.relation})"
    group = groups[(parents or (question.question_id,))[0] - 1]
    detail = {
        "entity - whole": "",
        "attribute - color": f", {group.colour}",
        "attribute - size": f", {group.size}",
        "other - count": f", =={group.count}",
    }[question.category]
    return f"{question.category} ({noun_of(group)}{detail})"


Graph = Mapping[str, Question]  # by tuple
Given = Mapping[str, int]  # tuple → its number in the request


def _dependencies(graph: Graph, given: Given) -> list[str]:
    id_of = {graph[text].question_id: number for text, number in given.items()}
    return [", ".join(str(id_of[p]) for p in graph[text].parents) or "0" for text in given]


_ANSWERS: dict[str, Callable[[Graph, Given], list[str]]] = {
    "Tuples:": lambda graph, _: list(graph),
    "Dependencies:": _dependencies,
    "Questions:": lambda graph, given: [graph[text].question for text in given],
}


def _quiz(description: Description, rng: random.Random) -> str:
    """Write the multiple-choice questions; now and then one with an answer that is no choice."""
    blocks = []
    for question in tifa_questions(description, rng):
        text, answer = question.question, question.answer
        there = text.removeprefix("Is there ").removesuffix("?")
        wrong = rng.random() < _BROKEN_SHARE
        blocks.append(
            f"Element: {there if answer == 'yes' else answer}\n"
            f"Type: {question.category}\n"
            f"Question: {text}\n"
            f"Choices: {', '.join(question.choices)}\n"
            f"Answer: {'none of them' if wrong else answer}\n"
        )
    return "\n".join(blocks)


def _put_down(texts: list[str], rng: random.Random) -> str:
    """Write numbered lines in one of the styles LLMs use, or spoil them."""
    style = draw_style(_STYLES, rng)
    lines = [style.format(number, text) for number, text in enumerate(texts, start=1)]
    if rng.random() < _BROKEN_SHARE:
        del lines[rng.randrange(len(lines))]
        lines.append(style.format(len(texts) + 1, "and so on"))
    return add_talk(lines, _OPENINGS, _CLOSINGS, rng)
