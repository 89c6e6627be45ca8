"""Asks an LLM for a skill's prompts, and again where a reply cannot be read."""

import itertools
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from selma.core.errors import BackendError, ReplyError
from selma.core.seeds import derive_seed
from selma.llm.generators import RecordedLlm
from selma.llm.prices import tokens_of
from selma.llm.transcript import Exchange
from selma.prompts.replies import SCHEMA, Parsed, parse_reply
from selma.prompts.skills import SkillSpec

logger = logging.getLogger(__name__)
REQUEST_VERSION = 1  # raise it when a request's text changes: replies, and so prompts, change too
UNREADABLE_IN_A_ROW = 10  # then something is wrong with the model or the server


class _UnreadableError(BackendError):
    """Too many replies in a row hold no prompts; another failure leaves what was answered."""


@dataclass
class Interviewer:
    """Asks for prompts, a round of requests at a time; twice where a reply cannot be read."""

    llm: RecordedLlm
    spec: SkillSpec
    per_request: int
    examples_per_request: int
    json: bool
    seed: int
    requests: int = 0  # without those sent again
    unreadable: int = 0  # replies
    bad: list[Exchange] = field(default_factory=list)  # the last replies, all unreadable

    def ask(self, kept: Sequence[str], number: int) -> list[Parsed | None]:
        """Send the next requests, whose examples are of the seed prompts and those kept."""
        round_of = range(self.requests, self.requests + number)
        self.requests += number
        prompts = [*self.spec.seed_prompts, *kept]
        shown = min(self.examples_per_request, len(prompts))
        examples = [random.Random(self._seed(one)).sample(prompts, shown) for one in round_of]
        schema = SCHEMA if self.json else None
        asked = [
            (self._text(some), self._seed(one))
            for one, some in zip(round_of, examples, strict=True)
        ]
        exchanges = self.llm.ask_all(asked, schema)
        parsed: list[Parsed | None] = []
        try:
            for request, some, exchange in zip(round_of, examples, exchanges, strict=True):
                found, problem = self._read(exchange, request)
                if found is None:
                    once_more = [(self._text(some, problem), self._seed(request, 1))]
                    (again,) = self.llm.ask_all(once_more, schema)
                    found, _ = self._read(again, request)
                parsed.append(found)
        except _UnreadableError:
            # Nor is the round's end kept, which nobody has read.
            self.llm.forget([*self.bad, *exchanges[len(parsed) :]])
            raise
        return parsed

    def _text(self, examples: Sequence[str], refused: str = "") -> str:
        return build_request(
            self.spec.instructions, examples, self.per_request, json=self.json, refused=refused
        )

    def _seed(self, request: int, attempt: int = 0) -> int:
        again = [attempt] if attempt else []
        return derive_seed(self.seed, "prompts", self.spec.skill, request, *again)

    def _read(self, exchange: Exchange, request: int) -> tuple[Parsed | None, str]:
        """Read a reply, or say what is wrong with it; stops after too many bad ones in a row."""
        try:
            parsed = parse_reply(exchange[1].text, self.per_request)
        except ReplyError as error:
            self.unreadable += 1
            self.bad.append(exchange)
            logger.warning("request %d: %s", request, error)
            if len(self.bad) == UNREADABLE_IN_A_ROW:
                raise _UnreadableError(
                    f"skill {self.spec.skill!r}: {len(self.bad)} replies in a row hold no list of "
                    f"prompts; the last: {exchange[1].text[:200]!r}; check llm.model and its "
                    "server, and run again: these are then asked for anew"
                ) from error
            return None, str(error)
        self.bad.clear()
        return parsed, ""


def build_request(
    instructions: str, examples: Sequence[str], number: int, *, json: bool, refused: str
) -> str:
    """Ask for `number` new prompts like the examples, as a numbered list or as JSON.

    `refused` says why the last reply could not be used; "" if this is the first request.
    """
    listed = "\n".join(f"{place}. {prompt}" for place, prompt in enumerate(examples, start=1))
    form = "as a numbered list, one prompt on each line"
    if json:
        form = 'as JSON: {"prompts": [one prompt, …]}'
    text = (
        f"{instructions.strip()}\n\n"
        f"Examples:\n{listed}\n\n"
        f"Write {number} new prompts {form}. "
        "Each must differ from the examples and from each other. "
        "Write nothing but the list.\n"
    )
    if refused:
        text += f"\nAn earlier reply could not be used: {' '.join(refused.split())}.\n"
    return text


def foreseen_tokens(
    spec: SkillSpec, *, per_skill: int, per_request: int, examples_per_request: int, json: bool
) -> tuple[int, int]:
    """Estimate the tokens of all requests, and of their replies, if every prompt is kept.

    Examples and prompts are taken to be as long as the hand-written ones.
    """
    requests = -(-per_skill // per_request)
    examples = list(itertools.islice(itertools.cycle(spec.seed_prompts), examples_per_request))
    request = build_request(spec.instructions, examples, per_request, json=json, refused="")
    lines = [len(f"1. {prompt}\n") for prompt in spec.seed_prompts]
    written = requests * per_request * sum(lines) / len(lines)
    return tokens_of(requests * len(request)), tokens_of(written)
