"""The self-instruct loop: ask for prompts, keep the new ones, until there are enough."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from selma.core.errors import SelmaError
from selma.llm.generators import RecordedLlm
from selma.prompts.asking import Interviewer
from selma.prompts.diversity import PromptIndex, normalise
from selma.prompts.leaks import KINDS, BenchmarkGate
from selma.prompts.replies import Parsed
from selma.prompts.skills import SkillSpec

logger = logging.getLogger(__name__)
FRUITLESS_IN_A_ROW = 50  # requests: more of them would only cost


@dataclass
class Counts:
    """What became of all lines: the sum of kept to surplus."""

    requests: int = 0  # without those sent again
    unreadable: int = 0  # replies without any prompt; their lines are not counted
    lines: int = 0
    kept: int = 0
    duplicate: int = 0  # equal to an earlier one but for case, punctuation and articles
    near: int = 0  # ROUGE-L above the limit
    leaked: int = 0  # in a benchmark, or almost
    leaked_by_kind: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
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
        likeness = self.gate.compare(prompt)
        if likeness.kind and likeness.leaked:
            self.counts.leaked_by_kind[likeness.kind] += 1
            return "leaked"
        near = self.index.nearest(prompt)
        if near.rouge_l > self.rouge_l_max:
            return "near"
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
                "nearest_benchmark_id": likeness.near.prompt_id,
                "benchmark_rouge_l": likeness.near.rouge_l,
                "benchmark_kind": likeness.kind,
            }
        )
        return "kept"


def write_prompts(
    spec: SkillSpec,
    llm: RecordedLlm,
    *,
    per_skill: int,
    per_request: int,
    requests_per_round: int,
    examples_per_request: int,
    rouge_l_max: float,
    leak_word_edits_max: int,
    leak_words_per_edit: int,
    leak_rouge_l_max: float | None,
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
    earlier one or to a seed prompt is not kept, nor is what `BenchmarkGate` refuses because of
    `benchmark_prompts` (by item id), nor one outside the skill's word limits. `on_kept` is called
    after each round with the number of prompts kept from it and a word on what was asked and spent.
    SelmaError if `max_requests` were not enough, or `FRUITLESS_IN_A_ROW` gave nothing; BackendError
    after ten replies in a row that cannot be read, which are then not kept as answers.

    Source: Self-Instruct (arXiv 2212.10560), as used by SELMA (arXiv 2403.06952), section 3.1.
    """
    gate = BenchmarkGate(
        benchmark_prompts, word_edits_max=leak_word_edits_max,
        words_per_edit=leak_words_per_edit, rouge_l_max=leak_rouge_l_max,
    )  # fmt: skip
    book = _Notebook(spec, gate, per_skill, rouge_l_max)
    asker = Interviewer(llm, spec, per_request, examples_per_request, json, seed)
    counts, fruitless = book.counts, 0
    while not book.full():
        first, before = asker.requests, len(book.rows)
        if first == max_requests:
            raise SelmaError(_gave_up(book, "prompts.max_requests"))
        if fruitless >= FRUITLESS_IN_A_ROW:
            raise SelmaError(_gave_up(book, f"the last {fruitless} gave none"))
        enough = -(-(per_skill - before) // per_request)
        number = min(requests_per_round, enough, max_requests - first)
        for place, parsed in enumerate(asker.ask([row["prompt"] for row in book.rows], number)):
            if parsed is not None:
                book.take(parsed, first + place)
        counts.requests, counts.unreadable = asker.requests, asker.unreadable
        fruitless = 0 if len(book.rows) > before else fruitless + number
        usage = llm.usage()
        unknown = usage["llm_replies_without_price"]
        spent = "price unknown" if unknown else f"${usage['llm_usd']:.4f}"
        on_kept(len(book.rows) - before, f"{counts.requests} requests, {spent}")
    logger.info("kept %d of %d lines, %d requests", counts.kept, counts.lines, counts.requests)
    return Written(book.rows, counts)


def _gave_up(book: _Notebook, why: str) -> str:
    counts = book.counts
    remedies = {
        "raise prompts.rouge_l_max, lower prompts.per_skill, or widen the skill's instructions": (
            counts.near + counts.duplicate
        ),
        "lead the skill's instructions away from the benchmarks": counts.leaked,
        "say the limits in the skill's instructions, or widen its words": counts.wrong_length,
        "take another llm.model": counts.rejected + counts.unreadable,
    }
    remedy = max(remedies, key=lambda one: remedies[one])
    return (
        f"skill {book.spec.skill!r}: {counts.kept} of {book.per_skill} prompts after "
        f"{counts.requests} requests ({why}); discarded: {counts.duplicate} duplicate, "
        f"{counts.near} with ROUGE-L above {book.rouge_l_max}, {counts.leaked} in a benchmark, "
        f"{counts.wrong_length} outside the skill's word limits, "
        f"{counts.rejected} lines without a prompt, {counts.unreadable} replies unreadable; "
        f"{remedy}, or raise prompts.max_requests"
    )
