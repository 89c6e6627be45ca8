"""Text generators by backend name; each is loaded only when it is chosen."""

from collections.abc import Callable
from typing import Protocol

from selma.core.choices import choose

# Limits that do not change what is written, only when a broken run stops.
REPLY_TOKENS_MAX = 4096
TOKEN_BUDGET = 5_000_000
TIMEOUT_S = 120.0
RETRIES = 6


class TextGenerator(Protocol):
    """Answers a request with text."""

    def generate(self, request: str, *, seed: int) -> str:
        """Answer a request; with the same seed, as far as the backend can, the same answer.

        Raises:
            BackendError: the backend failed for good.
        """
        ...


def _pocket(model: str, revision: str, temperature: float) -> TextGenerator:
    from selma.pocket.writer import PocketWriter

    return PocketWriter(model, revision)


def _openai(model: str, revision: str, temperature: float) -> TextGenerator:
    from selma.llm.openai_client import OpenAIGenerator

    return OpenAIGenerator(
        model,
        temperature=temperature,
        reply_tokens_max=REPLY_TOKENS_MAX,
        token_budget=TOKEN_BUDGET,
        timeout_s=TIMEOUT_S,
        retries=RETRIES,
    )


GENERATORS: dict[str, Callable[[str, str, float], TextGenerator]] = {
    "pocket": _pocket,
    "openai": _openai,
}


def make_generator(backend: str, *, model: str, revision: str, temperature: float) -> TextGenerator:
    """Make the generator of a backend.

    Raises:
        ConfigError: no such backend, or it does not know the model or has no key.
        MissingDependencyError: the backend's package is not installed.
    """
    return choose("LLM backend", backend, GENERATORS)(model, revision, temperature)
