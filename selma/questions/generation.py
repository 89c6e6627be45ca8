"""Has the questions of many prompts written; prompts that stay without them are listed."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from selma.core.choices import choose
from selma.core.errors import ReplyError
from selma.llm.generators import TextGenerator
from selma.questions.dsg import dsg_questions
from selma.questions.interview import BadReply, Interview, Questions
from selma.questions.prompt_files import Prompt
from selma.questions.requests import REQUEST_VERSIONS
from selma.questions.tifa import tifa_questions

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Method:
    """A way to ask about a prompt: `ask` has its questions written by requests of `steps`."""

    ask: Callable[[Interview], Questions]
    steps: tuple[str, ...]
    source: str

    def request_versions(self) -> dict[str, int]:
        return {step: REQUEST_VERSIONS[step] for step in self.steps}


METHODS = {
    "dsg": Method(dsg_questions, ("tuples", "dependencies", "questions"), "arXiv 2310.18235"),
    "tifa": Method(tifa_questions, ("choices",), "arXiv 2303.11897"),
}


@dataclass(frozen=True)
class Failure:
    """A prompt without questions, and the replies that could not be used."""

    item_id: str
    prompt: str
    bad_replies: list[BadReply]


@dataclass
class Counts:
    """What became of the prompts and of the replies."""

    prompts: int = 0
    failed: int = 0  # prompts without questions
    requests: int = 0
    unreadable: int = 0  # replies that could not be used
    questions: int = 0
    dropped: dict[str, int] = field(default_factory=dict)  # what was left out of replies, by defect


@dataclass(frozen=True)
class Written:
    """Rows of a benchmark table in the order of the prompts, failures, counts."""

    rows: list[dict[str, Any]]
    failures: list[Failure]
    counts: Counts


def write_questions(
    method: str,
    prompts: Sequence[Prompt],
    generator: TextGenerator,
    *,
    retries: int,
    seed: int,
    advance: Callable[[int], None],
) -> Written:
    """Have an LLM write the questions of each prompt by a method of `METHODS`.

    What is asked about a prompt depends on its text and the root `seed`, not on the other prompts.
    A step whose reply cannot be used is asked for again `retries` times. `advance` is called with
    the number of prompts done since the last call. ConfigError if there is no such method;
    BackendError if the generator failed.
    """
    chosen = choose("question method", method, METHODS)
    rows: list[dict[str, Any]] = []
    failures: list[Failure] = []
    counts, dropped = Counts(prompts=len(prompts)), Counter[str]()
    for prompt in prompts:
        interview = Interview(generator, prompt.prompt, retries, seed)
        try:
            questions = chosen.ask(interview)
            rows.append({**asdict(prompt), "questions": questions.rows})
            counts.questions += len(questions.rows)
            dropped.update(questions.dropped)
        except ReplyError as error:
            failures.append(Failure(prompt.item_id, prompt.prompt, interview.bad_replies))
            logger.warning("%s: no questions: %s", prompt.item_id, error)
        counts.requests += interview.requests
        counts.unreadable += len(interview.bad_replies)
        advance(1)
    counts.failed = len(failures)
    counts.dropped = dict(sorted((+dropped).items()))
    return Written(rows, failures, counts)
