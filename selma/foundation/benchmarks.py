"""Makes pocket-dsg and pocket-tifa, prompts of all skills with questions, and other splits."""

import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from selma.core.choices import choose
from selma.core.seeds import derive_seed
from selma.pocket.captions import Description, realise
from selma.pocket.question_sets import Question, dsg_questions, tifa_questions
from selma.pocket.skills import DRAW, is_held_out, write_prompt
from selma.prompts.diversity import normalise

MakeQuestions = Callable[[Description, random.Random], list[Question]]
BENCHMARKS: dict[str, MakeQuestions] = {
    "pocket-dsg": lambda description, _rng: dsg_questions(description),
    "pocket-tifa": tifa_questions,
}


def benchmark_rows(name: str, items_per_skill: int, seed: int) -> list[dict[str, Any]]:
    """Make the rows of a benchmark, sorted by item_id ("count_007"); ConfigError if there is none.

    A prompt occurs once in all benchmarks together, without regard to case, and describes a picture
    that exists. Only prompts that `skills.is_held_out` keeps for benchmarks are taken, so that none
    is a caption that a foundation model was trained on.
    """
    choose("benchmark", name, BENCHMARKS)
    taken: set[str] = set()
    for other in BENCHMARKS:
        items = itertools.product(sorted(DRAW), range(items_per_skill))
        rows = [_row(other, skill, index, seed, taken) for skill, index in items]
        if other == name:
            break
    return sorted(rows, key=lambda row: str(row["item_id"]))


def split_rows(
    name: str, split: str, items_per_skill: int, seed: int, taken_prompts: Iterable[str]
) -> list[dict[str, Any]]:
    """Make the rows of another split of a benchmark ("dev"): as `benchmark_rows`, other draws.

    None of its prompts is one of `taken_prompts`, or of its own, after `normalise`.
    """
    choose("benchmark", name, BENCHMARKS)
    taken = set(map(normalise, taken_prompts))
    rows = [
        _row(name, skill, index, seed, taken, draws=f"{split}/{name}", key=normalise)
        for skill, index in itertools.product(sorted(DRAW), range(items_per_skill))
    ]
    return sorted(rows, key=lambda row: str(row["item_id"]))


def draw_item(name: str, skill: str, index: int, attempt: int, seed: int) -> Description:
    """Draw what one item's prompt may say; `attempt` counts on when the prompt cannot be used."""
    return DRAW[skill](random.Random(derive_seed(seed, "benchmark", name, skill, index, attempt)))


def _row(
    name: str, skill: str, index: int, seed: int, taken: set[str], *,
    draws: str = "", key: Callable[[str], str] = str.lower,
) -> dict[str, Any]:  # fmt: skip
    """Draw a prompt whose key is not taken yet; `draws` names another series than the name's."""
    draws = draws or name
    for attempt in itertools.count():
        description = draw_item(draws, skill, index, attempt, seed)
        rng = random.Random(derive_seed(seed, "benchmark-text", draws, skill, index, attempt))
        prompt = write_prompt(skill, description, rng)
        usable = is_held_out(prompt) and key(prompt) not in taken
        if usable and realise(description, rng) is not None:
            break
    taken.add(key(prompt))
    questions = [_question_row(each) for each in BENCHMARKS[name](description, rng)]
    item_id = f"{skill}_{index:03d}"
    return {"item_id": item_id, "prompt": prompt, "source": skill, "questions": questions}


def _question_row(question: Question) -> dict[str, Any]:
    row = asdict(question)
    dependency = ",".join(map(str, row.pop("parents"))) or "0"
    return {**row, "choices": list(question.choices), "dependency": dependency, "element": ""}
