"""LLMs by backend name, each loaded only when it is chosen, and what keeps their replies."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from selma.core.choices import choose
from selma.core.errors import MissingDataError
from selma.core.threads import in_threads
from selma.llm.transcript import TRANSCRIPT, Exchange, Reply, Request, Transcript, from_rows

Schema = Mapping[str, Any]  # a JSON schema
Answer = Callable[[Request, Schema | None], Reply]
Read = Callable[[Path, str], list[dict[str, Any]]]  # a table's rows, by its path and kind


@dataclass(frozen=True)
class LlmOptions:
    """Which LLM is asked, and how; what is not said of a field stands in `Server`."""

    backend: str  # of `BACKENDS`
    model: str
    revision: str  # raise it to ask anew
    base_url: str | None
    interface: str  # of `selma.llm.server.INTERFACES`
    reply_format: str  # "list": in words; "json_schema": held to by the server
    temperature: float | None  # null: the server's own
    reply_tokens_max: int
    timeout_s: float
    retries: int
    concurrency: int  # requests under way at once; no reply depends on it
    budget_usd: float | None  # null: no limit
    price: Mapping[str, float] | None  # USD for a million tokens; null: as genai-prices says

    def parameters(self, schema: Schema | None) -> str:
        """What decides a reply beside model, request and seed; JSON."""
        own: dict[str, Any] = {"revision": self.revision, "interface": self.interface}
        own |= {"temperature": self.temperature, "reply_tokens_max": self.reply_tokens_max}
        return json.dumps({**own, "schema": schema}, sort_keys=True)

    def deciding(self) -> dict[str, Any]:
        """All that decides replies, so without patience, concurrency and money."""
        own = {"backend": self.backend, "model": self.model, "base_url": self.base_url}
        return {**own, "parameters": self.parameters(None)}


class TextGenerator(Protocol):
    """Answers a request with text."""

    def generate(self, request: str, *, seed: int) -> str:
        """Answer a request, the same for the same seed as far as the backend can.

        BackendError if the backend failed for good.
        """


class RecordedLlm:
    """An LLM that looks into a transcript before it is asked, and keeps what it answers.

    `used` are the exchanges so far, in the order of asking.
    """

    def __init__(self, options: LlmOptions, answer: Answer, transcript: Transcript) -> None:
        self._options, self._answer, self._transcript = options, answer, transcript
        self.used: list[Exchange] = []

    def generate(self, request: str, *, seed: int) -> str:
        """Answer one request."""
        return self.ask_all([(request, seed)])[0][1].text

    def ask_all(
        self, asked: Sequence[tuple[str, int]], schema: Schema | None = None
    ) -> list[Exchange]:
        """Answer requests with their seeds, several at once; the exchanges in their order."""
        options = self._options
        parameters = options.parameters(schema)
        requests = [Request(options.model, parameters, text, seed) for text, seed in asked]

        def answered(request: Request) -> Exchange:
            reply = self._transcript.get(request)
            if reply is None:
                reply = self._answer(request, schema)
                self._transcript.put(request, reply)
            return request, reply

        exchanges = in_threads(answered, requests, options.concurrency)
        self.used += exchanges
        return exchanges

    def forget(self, exchanges: Iterable[Exchange]) -> None:
        """Let requests be asked again whose replies were no answers."""
        self._transcript.forget(request for request, _ in exchanges)

    def usage(self) -> dict[str, float]:
        """Sum what the replies used so far took; see `usage_of`."""
        return usage_of(self.used)


def usage_of(exchanges: Iterable[Exchange]) -> dict[str, float]:
    """Sum what replies took when they were asked for, where it is known."""
    replies = [reply for _, reply in exchanges]
    return {
        "llm_prompt_tokens": sum(reply.prompt_tokens or 0 for reply in replies),
        "llm_reply_tokens": sum(reply.reply_tokens or 0 for reply in replies),
        "llm_usd": sum(reply.usd or 0 for reply in replies),
        "llm_replies_without_price": sum(reply.usd is None for reply in replies),
    }


def make_answer(options: LlmOptions, ledger: Path) -> Answer:
    """Make what answers the requests of a backend; `ledger` is where a `Budget` is kept.

    ConfigError if there is no such backend, it does not know the model, has no key or a budget
    without a price; MissingDependencyError if its package is not installed.
    """
    return choose("LLM backend", options.backend, BACKENDS)(options, ledger)


def kept_replies(
    options: LlmOptions, work: Path, root: Path, table: Path | None = None, read: Read | None = None
) -> Transcript:
    """Open what was asked before: in a stage's `work` if it is free, else in the working copy.

    What was paid for so outlives the stage. `read` gives the rows of the transcript `table` that
    DVC has; they do not count for what our own code answers.
    """

    def released() -> list[Exchange]:
        return from_rows(read(table, "transcript"), str(table)) if table and read else []

    path = work / TRANSCRIPT.name if options.backend in FREE else root / TRANSCRIPT
    return Transcript(path, list if options.backend in COMPUTED else released)


def free_answer(generator: TextGenerator) -> Answer:
    """Let what answers here, and costs nothing, answer requests."""
    return lambda request, schema: Reply(
        generator.generate(request.text, seed=request.seed), None, 0, 0, 0.0
    )


def _pocket(options: LlmOptions, ledger: Path) -> Answer:
    from selma.pocket.writer import PocketWriter

    return free_answer(PocketWriter(options.model, options.revision))


def _openai(options: LlmOptions, ledger: Path) -> Answer:
    from selma.llm.hosted import hosted_answer

    return hosted_answer(options, ledger)


def _replay(options: LlmOptions, ledger: Path) -> Answer:
    def refuse(request: Request, schema: Schema | None) -> Reply:
        raise MissingDataError(
            f"llm.backend replay: the transcript has no reply of {request.model} to the request "
            f"{' '.join(request.text.split())[-80:]!r} with seed {request.seed} and "
            f"{request.parameters}; it was made with other params or instructions, or its end is "
            "missing; set llm.backend to ask"
        )

    return refuse


BACKENDS: dict[str, Callable[[LlmOptions, Path], Answer]] = {
    "pocket": _pocket,
    "openai": _openai,
    "replay": _replay,
}
FREE = ("pocket", "replay")  # nothing is paid for
COMPUTED = ("pocket",)  # by code of ours, with which the replies change
