"""Text from a server that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama and others."""

import logging
import os
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from selma.core.errors import BackendError, ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from openai import OpenAIError
    from openai.types.chat import ChatCompletion

logger = logging.getLogger(__name__)
_SEED_BITS = 31  # what servers take as a seed
_MESSAGE_MAX_CHARACTERS = 200
_HINTS = {
    None: "check OPENAI_BASE_URL and the network",
    401: "check OPENAI_API_KEY",
    403: "check OPENAI_API_KEY",
    404: "check prompts.model and OPENAI_BASE_URL",
    429: "wait, or check your quota, and run again",
}


@dataclass
class OpenAIGenerator:
    """Asks a server; the key is ``OPENAI_API_KEY``, another address ``OPENAI_BASE_URL``.

    Waits and asks again, with growing pauses or as the server's Retry-After says, when the server
    is busy (408, 409, 429, 5xx), does not answer in time or cannot be reached. ConfigError if there
    is no key; MissingDependencyError if the package openai is not installed.
    """

    model: str  # the server's name for it; choose a dated one, so that it stays the same
    _: KW_ONLY
    temperature: float  # 0 to 2
    # Limits that do not change what is written, only when a broken run stops.
    reply_tokens_max: int = 4096  # a longer reply loses its last, unfinished line
    token_budget: int = 5_000_000  # stop before a request once this many tokens were paid for
    timeout_s: float = 120.0  # of one answer
    retries: int = 6  # after the first try
    tokens_used: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        try:
            from openai import OpenAI
        except ImportError as error:
            raise MissingDependencyError(
                "prompts.backend openai needs the package openai: pip install openai"
            ) from error
        self._key = os.environ.get("OPENAI_API_KEY", "")
        if not self._key:
            raise ConfigError(
                "OPENAI_API_KEY is not set; export your key (any word for a server without keys), "
                "or choose another prompts.backend"
            )
        self._client = OpenAI(api_key=self._key, timeout=self.timeout_s, max_retries=self.retries)

    def generate(self, request: str, *, seed: int) -> str:
        """Ask the server; an empty answer comes back as an empty text.

        BackendError if the server refused, failed every try or the token budget is spent.
        """
        from openai import OpenAIError

        if self.tokens_used >= self.token_budget:
            raise BackendError(
                f"{self.model}: {self.tokens_used} tokens used, the budget is "
                f"{self.token_budget}; run again to go on from the stored replies"
            )
        try:
            completion = self._client.chat.completions.create(
                model=self.model,
                messages=[{"role": "user", "content": request}],
                temperature=self.temperature,
                seed=seed % (1 << _SEED_BITS),
                max_completion_tokens=self.reply_tokens_max,
            )
        except OpenAIError as error:
            raise BackendError(self._describe(error)) from error
        return self._text(completion)

    def _text(self, completion: "ChatCompletion") -> str:
        if completion.usage is not None:
            self.tokens_used += completion.usage.total_tokens
        if not completion.choices:
            raise BackendError(f"{self._address()}: {self.model} answered with no choices")
        choice = completion.choices[0]
        text = choice.message.content or ""
        if choice.finish_reason == "length":
            logger.warning("%s: reply cut off at %d tokens", self.model, self.reply_tokens_max)
            text = text[: text.rfind("\n") + 1]
        return text

    def _address(self) -> str:
        return str(self._client.base_url).split("?")[0]

    def _describe(self, error: "OpenAIError") -> str:
        """Describe an error in one line that never holds the key."""
        status: Any = getattr(error, "status_code", None)
        hint = _HINTS.get(status, "run again")
        reason = " ".join(str(error).replace(self._key, "***").split())[:_MESSAGE_MAX_CHARACTERS]
        return f"{self._address()}: {self.model}: {type(error).__name__}: {reason}; {hint}"
