"""The pocket LLM for questions: answers requests about pocket captions, defects included."""

import hashlib
import random
import re
from collections.abc import Callable, Mapping

from selma.core.choices import choose
from selma.core.errors import ConfigError
from selma.core.seeds import derive_seed
from selma.pocket.caption_reading import read_caption
from selma.pocket.captions import Description, Group, plural
from selma.pocket.question_sets import Question, dsg_questions, tifa_questions

MODEL = "pocket-questions"
REVISION = "1"  # raise it when the same request and seed are answered in other words
_LAST_CAPTION = re.compile(r".*^(?:Prompt|Caption): (?P<caption>[^\n]*)\n(?P<rest>.*)", re.S | re.M)
_TUPLE = re.compile(r"^(\d+) \| (.+)$", re.MULTILINE)
_REFUSAL = "I am sorry, I can only write about flat shapes. What would you like to know?"
_OPENINGS = ("Sure! Here is what you asked for:", "Here you are:", "Of course.")
_CLOSINGS = ("Let me know if you need more!", "I hope this helps.")
_BROKEN_SHARE = 0.08  # of replies that are cut off, name a wrong id or forget a line


class PocketQuestionWriter:
    """Answers the requests of `selma.questions` about captions of the pocket world."""

    def __init__(self, model: str, revision: str) -> None:
        """Check that this is the model that is asked for.

        Raises:
            ConfigError: another model or revision is asked for.
        """
        choose("pocket LLM", model, {MODEL: None})
        if revision != REVISION:
            raise ConfigError(
                f"--revision: the pocket LLM here is revision {REVISION!r}, got {revision!r}"
            )

    def generate(self, request: str, *, seed: int) -> str:
        """Answer a request; the same request and seed give the same text.

        What it is asked for is told by the request's last line. A caption or a tuple that is not of
        the pocket world is declined in words, as LLMs do.
        """
        rng = random.Random(derive_seed(seed, hashlib.sha256(request.encode()).hexdigest()))
        asked = _LAST_CAPTION.fullmatch(request)
        description = read_caption(asked["caption"]) if asked else None
        if asked is None or description is None:
            return _REFUSAL
        if not asked["rest"]:
            return _quiz(description, rng)
        answer = _ANSWERS.get(asked["rest"].rstrip().rsplit("\n", 1)[-1])
        graph = {
            tuple_text(description, question): question for question in dsg_questions(description)
        }
        given = {text: int(number) for number, text in _TUPLE.findall(asked["rest"])}
        if answer is None or not set(given) <= set(graph):
            return _REFUSAL
        return _put_down(answer(graph, given), rng)


def tuple_text(description: Description, question: Question) -> str:
    """Write the tuple of a question, as "attribute - color (star, red)"."""
    groups = description.groups
    detail = {
        "entity - whole": lambda group: _name(group),
        "attribute - color": lambda group: f"{_name(group)}, {group.colour}",
        "attribute - size": lambda group: f"{_name(group)}, {group.size}",
        "other - count": lambda group: f"{_name(group)}, =={group.count}",
    }
    if question.category == "global":
        return f"global - background ({description.background})"
    if question.category == "relation - spatial":
        link = next(
            link
            for link in description.links
            if (link.first + 1, link.second + 1) == question.parents
        )
        names = f"{groups[link.first].shape}, {groups[link.second].shape}"
        return f"relation - spatial ({names}, {link.relation})"
    group = groups[(question.parents or (question.question_id,))[0] - 1]
    return f"{question.category} ({detail[question.category](group)})"


def _name(group: Group) -> str:
    return plural(group.shape) if group.count > 1 else group.shape


def _tuples(graph: Mapping[str, Question], given: Mapping[str, int]) -> list[str]:
    return list(graph)


def _dependencies(graph: Mapping[str, Question], given: Mapping[str, int]) -> list[str]:
    id_of = {graph[text].question_id: number for text, number in given.items()}
    return [", ".join(str(id_of[p]) for p in graph[text].parents) or "0" for text in given]


def _questions(graph: Mapping[str, Question], given: Mapping[str, int]) -> list[str]:
    return [graph[text].question for text in given]


_ANSWERS: dict[str, Callable[[Mapping[str, Question], Mapping[str, int]], list[str]]] = {
    "Tuples:": _tuples,
    "Dependencies:": _dependencies,
    "Questions:": _questions,
}


def _quiz(description: Description, rng: random.Random) -> str:
    """Write the multiple-choice questions; now and then one with an answer that is no choice."""
    blocks = []
    for question in tifa_questions(description, rng):
        wrong = rng.random() < _BROKEN_SHARE
        lines = (
            f"Element: {_element(question)}",
            f"Type: {question.category}",
            f"Question: {question.question}",
            f"Choices: {', '.join(question.choices)}",
            f"Answer: {'none of them' if wrong else question.answer}",
        )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _element(question: Question) -> str:
    if question.answer == "yes":
        return question.question.removeprefix("Is there ").removesuffix("?")
    return question.answer


def _put_down(texts: list[str], rng: random.Random) -> str:
    """Write numbered lines in one of the styles LLMs use, or spoil them."""
    style = _style(rng)
    lines = [style(number, text) for number, text in enumerate(texts, start=1)]
    if rng.random() < _BROKEN_SHARE:
        del lines[rng.randrange(len(lines))]
        lines.append(style(len(texts) + 1, "and so on"))
    if rng.random() < 0.3:
        lines.insert(0, rng.choice(_OPENINGS) + "\n")
    if rng.random() < 0.2:
        lines.append("\n" + rng.choice(_CLOSINGS))
    return "\n".join(lines)


def _style(rng: random.Random) -> Callable[[int, str], str]:
    styles: tuple[Callable[[int, str], str], ...] = (
        lambda number, text: f"{number} | {text}",
        lambda number, text: f"{number}. {text}",
        lambda number, text: f"{number}) {text}",
        lambda number, text: f"**{number}** | {text}",
        lambda number, text: f"| {number} | {text} |",
    )
    return rng.choices(styles, weights=(12, 3, 2, 1, 1))[0]
