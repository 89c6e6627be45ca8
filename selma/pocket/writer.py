"""The pocket LLM: answers requests by grammar, with the defects of a real one."""

import random
import re

from selma.pocket.picture_replies import answer_about_picture
from selma.pocket.question_writer import answer_about_questions
from selma.pocket.replies import PocketLLM, add_talk, draw_style
from selma.pocket.skills import DRAW, write_prompt

MODEL = "pocket-grammar"
REVISION = "1"  # raise it when the same request and seed are answered in other words
_CUES = {
    "paragraph": ("paragraph", "sentences", "walk through"),
    "count": ("counting", "how many", "number of things"),
    "attributes": ("attributes", "style", "commas"),
    "counterfactual": ("counterfactual", "unusual", "hardly ever"),
    "common": ("common", "everyday", "photo"),
    "spatial": ("spatial", "relation", "position"),
}
_NUMBER_ASKED = re.compile(r"\bwrite (\d+)\b", re.IGNORECASE)
_EXAMPLE = re.compile(r"^\d+[.)]\s+(.+)$", re.MULTILINE)
_REFUSAL = "I am sorry, I can only write about flat shapes. What would you like to see?"
_STYLES = ("{}. {}", "{}) {}", '{}. "{}"', "**{}.** {}", "{}. **{}**\n")
_OPENINGS = ("Sure! Here are {} new prompts:", "Here is the list:", "Of course.")
_CLOSINGS = ("Let me know if you need more!", "I hope these prompts help.")


class PocketWriter(PocketLLM):
    """Writes prompts for the skill a request tells of, questions, and what pictures show."""

    model, revision, option = MODEL, REVISION, "llm.revision"

    def answer(self, request: str, rng: random.Random) -> str:
        for answer_other in (answer_about_picture, answer_about_questions):
            answer = answer_other(request, rng)
            if answer is not None:
                return answer
        skill = guess_skill(request)
        asked = _NUMBER_ASKED.search(request)
        if skill is None or asked is None:
            return _REFUSAL
        prompts = [write_prompt(skill, DRAW[skill](rng), rng) for _ in range(int(asked[1]))]
        _repeat(prompts, _EXAMPLE.findall(request), rng)
        return _put_down(prompts, rng)


def guess_skill(request: str) -> str | None:
    """Tell the skill by the cue words that a request holds; None if it holds none."""
    text = request.lower()
    found = {skill: sum(cue in text for cue in cues) for skill, cues in _CUES.items()}
    skill = max(found, key=lambda name: found[name])
    return skill if found[skill] else None


def _repeat(prompts: list[str], examples: list[str], rng: random.Random) -> None:
    """Now and then say a prompt twice, or copy an example with one word put before it."""
    if len(prompts) > 1 and rng.random() < 0.25:
        first, second = sorted(rng.sample(range(len(prompts)), 2))
        prompts[second] = prompts[first]
    if prompts and examples and rng.random() < 0.25:
        prompts[rng.randrange(len(prompts))] = "just " + rng.choice(examples)


def _put_down(prompts: list[str], rng: random.Random) -> str:
    """Write the list in one of the styles LLMs use, now and then with a number forgotten."""
    style = draw_style(_STYLES, rng)
    lines = [style.format(number, prompt) for number, prompt in enumerate(prompts, start=1)]
    if len(lines) > 2 and rng.random() < 0.2:
        forgotten = rng.randrange(1, len(lines) - 1)
        lines[forgotten] = prompts[forgotten]
    return add_talk(lines, [opening.format(len(prompts)) for opening in _OPENINGS], _CLOSINGS, rng)
