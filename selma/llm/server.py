"""A model behind a server that speaks OpenAI's interface: OpenAI, vLLM, Ollama, llama.cpp."""

import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from selma.core.errors import BackendError, ConfigError, MissingDependencyError, one_line
from selma.core.secrets import SHORTEST, redact
from selma.core.threads import pause
from selma.llm.budget import Budget
from selma.llm.prices import Price

if TYPE_CHECKING:
    from openai import APIStatusError

logger = logging.getLogger(__name__)
INTERFACES = {  # and what each calls the limit of a reply
    "chat": "max_completion_tokens", "chat_max_tokens": "max_tokens", "completions": "max_tokens",
}  # fmt: skip
_BUSY = (408, 409, 429)  # and 5xx: worth another try
_UNPAID = (409, 429)  # of these; behind the others a model may have worked
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 60.0
_BYTES_AROUND = 64  # what a server may put around the words of a request, in tokens at most
_HINTS = {
    400: "check that the model takes this request: json_schema, temperature, pictures, and "
    "reply_tokens_max beside the prompt",
    401: "check OPENAI_API_KEY",
    403: "check OPENAI_API_KEY",
    404: "check the model's name and the server's address (llm.base_url or OPENAI_BASE_URL)",
    429: "wait, or check your quota, and run again",
    None: "check the server's address (llm.base_url or OPENAI_BASE_URL) and the network",
}


@dataclass(frozen=True)
class Completion:
    """A server's answer; tokens as it counts them, None if it does not say."""

    text: str
    finish_reason: str | None
    refusal: str
    prompt_tokens: int | None
    reply_tokens: int | None
    usd: float | None  # by the price list; None if there is none


class _TransientError(Exception):
    """What another try may mend; with the seconds that the server asks to wait."""

    def __init__(self, reason: str, hint: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.hint, self.wait_s = hint, wait_s


class Server:
    """Sends requests for one model; threads may share it."""

    def __init__(
        self, model: str, *, base_url: str | None, timeout_s: float, retries: int,
        price: Price | None = None, budget: Budget | None = None,
    ) -> None:  # fmt: skip
        """Prepare to ask a server; sends nothing yet.

        Args:
            model: the server's name for it; choose a dated one, so that it stays the same.
            base_url: null: ``OPENAI_BASE_URL``, else OpenAI's own.
            timeout_s: of the server's silence.
            retries: after the first try.
            price: what tokens cost.
            budget: what may be spent; wants a price.

        Raises:
            ConfigError: no key in ``OPENAI_API_KEY``, or the address holds a secret.
            MissingDependencyError: the package openai is not installed.
        """
        try:
            from openai import OpenAI
        except ImportError as error:
            raise MissingDependencyError(
                "a model behind a server needs the package openai: pip install openai"
            ) from error
        self.model, self._retries, self._price, self._budget = model, retries, price, budget
        self._key = _key()
        self.address = _address(base_url, self._key)
        self._client = OpenAI(
            api_key=self._key, base_url=base_url, timeout=timeout_s, max_retries=0
        )
        self.address = self.address or str(self._client.base_url).rstrip("/")

    def complete(self, interface: str, body: Mapping[str, Any], tokens_max: int) -> Completion:
        """Send a request of at most `tokens_max` tokens of reply and wait for its answer.

        Asks again, after growing pauses or as the server's Retry-After says, when the server is
        busy (408, 409, 429, 5xx), does not answer in time, cannot be reached, drops the connection
        or sends what is no completion. Before each try what it can cost at most is reserved.

        Args:
            interface: of `INTERFACES`.
            body: ``messages`` or ``prompt``, and options, in that interface's words.
            tokens_max: of the reply.

        Raises:
            BackendError: the server refused, failed every try, or the budget is spent.
        """
        for attempt in range(self._retries + 1):
            try:
                return self._paid(interface, body, tokens_max)
            except _TransientError as error:
                if attempt == self._retries:
                    raise BackendError(self._words(str(error), error.hint)) from error.__cause__
                wait = error.wait_s
                if wait is None:
                    wait = min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S)
                if wait > _LONGEST_WAIT_S:
                    hint = f"the server wants to be asked again in {wait:.0f} s; run again then"
                    raise BackendError(self._words(str(error), hint)) from error.__cause__
                left = self._retries - attempt
                logger.warning(
                    "%s; asking again in %.3g s, %d more times at most",
                    self._words(str(error)), wait, left,
                )  # fmt: skip
                pause(wait)
        raise AssertionError(f"retries must not be negative, got {self._retries}")

    def _paid(self, interface: str, body: Mapping[str, Any], tokens_max: int) -> Completion:
        """Send a request once; a reply that may have cost something unknown counts in full."""
        if self._budget is None or self._price is None:
            return self._send(interface, body, tokens_max)
        # No token is shorter than a byte.
        longest = len(json.dumps(body).encode()) + _BYTES_AROUND
        reserved = self._budget.reserve(self._price.usd(longest, tokens_max))
        spent = reserved.usd
        try:
            completion = self._send(interface, body, tokens_max)
            spent = spent if completion.usd is None else completion.usd
        except BackendError:
            spent = 0.0  # refused
            raise
        except _TransientError as error:
            if getattr(error.__cause__, "status_code", None) in _UNPAID or _never_sent(error):
                spent = 0.0
            raise
        finally:
            self._budget.settle(reserved, spent)
        return completion

    def _send(self, interface: str, body: Mapping[str, Any], tokens_max: int) -> Completion:
        import openai

        chat = interface != "completions"
        api = self._client.chat.completions if chat else self._client.completions
        options: dict[str, Any] = {"model": self.model, INTERFACES[interface]: tokens_max, **body}
        try:
            answer = api.with_raw_response.create(**options)
            text: str = answer.http_response.text
            if len(self._key) >= SHORTEST:  # some servers echo it
                text = text.replace(self._key, "***")
        except openai.APIStatusError as error:
            raise self._refused(error) from error
        except (openai.OpenAIError, OSError) as error:
            reason = f"{type(error).__name__}: {error} {error.__cause__ or ''}"
            raise _TransientError(reason, _HINTS[None]) from error
        try:
            return self._read(json.loads(text), chat)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            hint = "check the server's address, which often ends in /v1"
            begins = one_line(text[:80]) or "nothing"
            raise _TransientError(f"no completion but {begins!r}", hint) from error

    def _refused(self, error: "APIStatusError") -> Exception:
        status, reason = error.status_code, f"{type(error).__name__}: {error}"
        hint = _HINTS.get(status, "run again")
        final = getattr(error, "code", None) == "insufficient_quota"
        if not final and (status in _BUSY or status >= 500):
            return _TransientError(reason, hint, _retry_after_s(error.response.headers))
        return BackendError(self._words(reason, hint))

    def _read(self, data: Any, chat: bool) -> Completion:
        choice = data["choices"][0]
        message = choice["message"] if chat else choice
        content = message["content" if chat else "text"]
        if isinstance(content, list):  # parts, as some servers send them
            content = "".join(part["text"] for part in content if part.get("type") == "text")
        if not isinstance(content, str | None):
            raise TypeError("content is no text")
        content = (content or "").encode("utf-8", "replace").decode()  # halves of surrogate pairs
        usage = data.get("usage") or {}
        counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        prompt, reply = (n if isinstance(n, int) and n >= 0 else None for n in counts)
        usd = None
        if self._price is not None and prompt is not None and reply is not None:
            usd = self._price.usd(prompt, reply)
        refusal = one_line(message.get("refusal") or "")
        reason = choice.get("finish_reason")
        return Completion(content, reason and str(reason), refusal, prompt, reply, usd)

    def _words(self, reason: str, hint: str = "") -> str:
        """Say in one line what went wrong; never with the key."""
        line = one_line(redact(f"{self.address}: {self.model}: {reason}"))
        return f"{line}; {hint}" if hint else line


def _key() -> str:
    key = os.environ.get("OPENAI_API_KEY", "")
    if not key:
        raise ConfigError(
            "OPENAI_API_KEY is not set; export your key (any word for a server without keys), or "
            "choose another backend or judge"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(
            "OPENAI_API_KEY holds a character that no key has (a blank, a line end, a letter with "
            "an accent); export it again"
        )
    return key


def _address(base_url: str | None, key: str) -> str:
    """Check an address, which is written beside what was answered; "" is OpenAI's own."""
    address = (base_url or os.environ.get("OPENAI_BASE_URL", "")).rstrip("/")
    parts = urlsplit(address)
    if "@" in address or parts.query or key in parts.path:
        raise ConfigError(
            f"the address of {parts.hostname} holds a user, a password, a query or the key; give "
            "the address alone, and the key in OPENAI_API_KEY"
        )
    try:
        known = not address or (parts.scheme in ("http", "https") and parts.hostname)
        _ = parts.port
    except ValueError:
        known = False
    if not known:
        raise ConfigError(
            f"{address!r} is no address of a server (llm.base_url or OPENAI_BASE_URL); expected "
            "https://host/v1 or http://host:port/v1"
        )
    return address


def _never_sent(error: BaseException) -> bool:
    """Whether no connection came about, so that nothing can have cost anything."""
    chain = [error, error.__cause__, error.__cause__ and error.__cause__.__cause__]
    return any(type(one).__name__ in ("ConnectError", "ConnectTimeout") for one in chain)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read how long a server asks to wait: seconds, or a date; None if it does not say."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        return max(0.0, float(headers["retry-after"]))
    except KeyError:
        return None
    except ValueError:
        try:
            return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
        except (KeyError, ValueError):
            return None
