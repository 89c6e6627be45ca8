"""Text generators by backend name; each is loaded only when it is chosen."""

from collections.abc import Callable
from typing import Protocol

from selma.core.choices import choose


class TextGenerator(Protocol):
    """Answers a request with text."""

    def generate(self, request: str, *, seed: int) -> str:
        """Answer a request, the same for the same seed as far as the backend can.

        BackendError if the backend failed for good.
        """


def _pocket(model: str, revision: str, temperature: float) -> TextGenerator:
    from selma.pocket.writer import PocketWriter

    return PocketWriter(model, revision)


def _openai(model: str, revision: str, temperature: float) -> TextGenerator:
    from selma.llm.openai_client import OpenAIGenerator

    return OpenAIGenerator(model, temperature=temperature)


GENERATORS: dict[str, Callable[[str, str, float], TextGenerator]] = {
    "pocket": _pocket,
    "openai": _openai,
}
HOSTED = ("openai",)  # whose tokens are paid for


def make_generator(backend: str, *, model: str, revision: str, temperature: float) -> TextGenerator:
    """Make the generator of a backend.

    ConfigError if there is no such backend, or it does not know the model or has no key;
    MissingDependencyError if its package is not installed.
    """
    return choose("LLM backend", backend, GENERATORS)(model, revision, temperature)
