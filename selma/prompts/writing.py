"""The self-instruct loop: ask for prompts, keep the new ones, until there are enough."""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from selma.core.errors import BackendError, ReplyError, SelmaError
from selma.core.seeds import derive_seed
from selma.llm.generators import RecordedLlm
from selma.llm.transcript import Exchange
from selma.prompts.diversity import BenchmarkGate, PromptIndex, normalise
from selma.prompts.replies import SCHEMA, Parsed, parse_reply
from selma.prompts.skills import SkillSpec

logger = logging.getLogger(__name__)
REQUEST_VERSION = 1  # raise it when a request's text changes: replies, and so prompts, change too
UNREADABLE_IN_A_ROW = 10  # then something is wrong with the model or the server


@dataclass
class Counts:
    """What became of all lines: the sum of kept to surplus."""

    requests: int = 0  # without those sent again
    unreadable: int = 0  # replies without any prompt; their lines are not counted
    lines: int = 0
    kept: int = 0
    duplicate: int = 0  # equal to an earlier one but for case, punctuation and articles
    near: int = 0  # ROUGE-L above the limit
    leaked: int = 0  # in a benchmark
    wrong_length: int = 0  # outside the skill's word limits
    rejected: int = 0  # no prompt: talk around the list, no words, too long
    surplus: int = 0  # came after the last one needed, not judged


@dataclass(frozen=True)
class Written:
    """The rows of the prompts table, in the order of keeping, and the counts."""

    rows: list[dict[str, Any]]
    counts: Counts


@dataclass
class _Notebook:
    """What was kept so far, and what a candidate is compared with."""

    spec: SkillSpec
    gate: BenchmarkGate
    per_skill: int
    rouge_l_max: float
    counts: Counts = field(default_factory=Counts)
    rows: list[dict[str, Any]] = field(default_factory=list)
    index: PromptIndex = field(default_factory=PromptIndex)
    known: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for number, prompt in enumerate(self.spec.seed_prompts):
            self.index.add(f"{self.spec.skill}_seed_{number}", prompt)
            self.known.add(normalise(prompt))

    def full(self) -> bool:
        return len(self.rows) == self.per_skill

    def take(self, parsed: Parsed, request_id: int) -> None:
        """Keep or discard the prompts of one reply."""
        self.counts.lines += len(parsed.prompts) + len(parsed.rejected)
        repeated = sum(rejected.reason.startswith("repeated") for rejected in parsed.rejected)
        self.counts.duplicate += repeated
        self.counts.rejected += len(parsed.rejected) - repeated
        for prompt in parsed.prompts:
            verdict = "surplus" if self.full() else self._judge(prompt, request_id)
            setattr(self.counts, verdict, getattr(self.counts, verdict) + 1)

    def _judge(self, prompt: str, request_id: int) -> str:
        """Keep the prompt if it is new; returns the count it belongs to."""
        if not self.spec.words.allow(prompt):
            return "wrong_length"
        if normalise(prompt) in self.known:
            return "duplicate"
        if self.gate.leaked(prompt) is not None:
            return "leaked"
        near = self.index.nearest(prompt)
        if near.rouge_l > self.rouge_l_max:
            return "near"
        benchmark = self.gate.nearest(prompt)
        index = len(self.rows)
        prompt_id = f"{self.spec.skill}_{index:0{max(4, len(str(self.per_skill - 1)))}d}"
        self.index.add(prompt_id, prompt)
        self.known.add(normalise(prompt))
        self.rows.append(
            {
                "prompt_id": prompt_id,
                "skill": self.spec.skill,
                "prompt": prompt,
                "index": index,
                "request_id": request_id,
                "nearest_prompt_id": near.prompt_id,
                "rouge_l": near.rouge_l,
                "nearest_benchmark_id": benchmark.prompt_id,
                "benchmark_rouge_l": benchmark.rouge_l,
            }
        )
        return "kept"


@dataclass
class _Interviewer:
    """Asks for prompts, a round of requests at a time; twice where a reply cannot be read."""

    llm: RecordedLlm
    spec: SkillSpec
    per_request: int
    examples_per_request: int
    json: bool
    seed: int
    counts: Counts
    bad: list[Exchange] = field(default_factory=list)  # the last replies, all unreadable

    def ask(self, kept: Sequence[str], number: int) -> list[Parsed | None]:
        """Send the next requests, whose examples are of the seed prompts and those kept."""
        round_of = range(self.counts.requests, self.counts.requests + number)
        self.counts.requests += number
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
        for request, some, exchange in zip(round_of, examples, exchanges, strict=True):
            found, problem = self._read(exchange, request)
            if found is None:
                once_more = [(self._text(some, problem), self._seed(request, 1))]
                (again,) = self.llm.ask_all(once_more, schema)
                found, _ = self._read(again, request)
            parsed.append(found)
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
            self.counts.unreadable += 1
            self.bad.append(exchange)
            logger.warning("request %d: %s", request, error)
            if len(self.bad) == UNREADABLE_IN_A_ROW:
                self.llm.forget(self.bad)
                raise BackendError(
                    f"skill {self.spec.skill!r}: {len(self.bad)} replies in a row hold no list of "
                    f"prompts; the last: {exchange[1].text[:200]!r}; check llm.model and its "
                    "server, and run again: these are then asked for anew"
                ) from error
            return None, str(error)
        self.bad.clear()
        return parsed, ""


def write_prompts(
    spec: SkillSpec,
    llm: RecordedLlm,
    *,
    per_skill: int,
    per_request: int,
    requests_per_round: int,
    examples_per_request: int,
    rouge_l_max: float,
    max_requests: int,
    json: bool,
    seed: int,
    benchmark_prompts: Mapping[str, str],
    on_kept: Callable[[int, str], None],
) -> Written:
    """Have prompts for one skill written, `per_request` at once, until `per_skill` are kept.

    Each request shows examples drawn from the seed prompts and the prompts kept before its round of
    `requests_per_round`, which are sent side by side; its seed follows from the root `seed`, the
    skill and the request's number. Replies are JSON if so asked, else a numbered list. A reply that
    cannot be read is asked for once more. A prompt with a ROUGE-L F above `rouge_l_max` to any
    earlier one or to a seed prompt is not kept, nor is one of `benchmark_prompts` (by item id), nor
    one outside the skill's word limits. `on_kept` is called after each round with the number of
    prompts kept from it and a word on what was asked and spent. SelmaError if `max_requests` were
    not enough; BackendError after `UNREADABLE_IN_A_ROW` replies that cannot be read, which are then
    not kept as answers.

    Source: Self-Instruct (arXiv 2212.10560), as used by SELMA (arXiv 2403.06952), section 3.1.
    """
    book = _Notebook(spec, BenchmarkGate(benchmark_prompts), per_skill, rouge_l_max)
    counts = book.counts
    asker = _Interviewer(llm, spec, per_request, examples_per_request, json, seed, counts)
    while not book.full():
        first, before = counts.requests, len(book.rows)
        if first == max_requests:
            raise SelmaError(_gave_up(book, max_requests))
        enough = -(-(per_skill - before) // per_request)
        number = min(requests_per_round, enough, max_requests - first)
        for place, parsed in enumerate(asker.ask([row["prompt"] for row in book.rows], number)):
            if parsed is not None:
                book.take(parsed, first + place)
        spent = llm.usage()["llm_usd"]
        on_kept(len(book.rows) - before, f"{counts.requests} requests, ${spent:.4f}")
    logger.info("kept %d of %d lines, %d requests", counts.kept, counts.lines, counts.requests)
    return Written(book.rows, counts)


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


def _gave_up(book: _Notebook, max_requests: int) -> str:
    counts = book.counts
    return (
        f"skill {book.spec.skill!r}: {counts.kept} of {book.per_skill} prompts after "
        f"{max_requests} requests (prompts.max_requests); discarded: {counts.duplicate} duplicate, "
        f"{counts.near} with ROUGE-L above {book.rouge_l_max}, {counts.leaked} in a benchmark, "
        f"{counts.wrong_length} outside the skill's word limits, "
        f"{counts.rejected} lines without a prompt, {counts.unreadable} replies unreadable; raise "
        "prompts.max_requests or prompts.rouge_l_max, lower prompts.per_skill, or widen the "
        "skill's instructions"
    )
