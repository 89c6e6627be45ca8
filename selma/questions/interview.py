"""Asks an LLM about one prompt, and again when a reply cannot be read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from selma.core.seeds import derive_seed
from selma.llm.generators import TextGenerator
from selma.llm.repair import ask_until_read

T = TypeVar("T")


@dataclass(frozen=True)
class Questions:
    """What was asked for: questions of a benchmark row, and how many were dropped for what."""

    rows: list[dict[str, Any]]
    dropped: Mapping[str, int]


@dataclass(frozen=True)
class BadReply:
    """A reply that could not be used: to which step, why, and its raw text."""

    step: str
    reason: str
    reply: str


@dataclass
class Interview:
    """The requests about one prompt and what came of them."""

    generator: TextGenerator
    prompt: str
    retries: int  # further tries for a step after its first
    seed: int  # of the run; each request's follows from it, the prompt, the step and the try
    requests: int = 0  # how many were sent
    bad_replies: list[BadReply] = field(default_factory=list)

    def ask(self, step: str, build_request: Callable[[str], str], parse: Callable[[str], T]) -> T:
        """Ask for a step until `parse` can read a reply, with another seed each time.

        `build_request` makes the text from why the last reply was refused, "" at first. ReplyError,
        the last one's, if no reply could be read; BackendError if the generator failed.
        """

        def heard(seed: int, request: str, reply: str, refused: str) -> None:
            self.requests += 1
            if refused:
                self.bad_replies.append(BadReply(step, refused, reply))

        return ask_until_read(
            self.generator, build_request, parse,
            retries=self.retries,
            seed_at=lambda n: derive_seed(self.seed, "questions", step, self.prompt, n),
            heard=heard,
        )  # fmt: skip
