"""A judge behind a server (OpenAI, vLLM, Ollama, …) that speaks OpenAI's chat completions.

Asked one question a request, at temperature 0 with a fixed seed; whether a server then gives the
same reply twice is up to the server, so replies can be kept.
"""

import base64
import hashlib
import logging
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from selma.core.choices import choose
from selma.core.errors import BackendError, ConfigError, MissingDependencyError
from selma.judges.answer_log import AnswerLog
from selma.judges.protocol import JudgeSettings, Pictures, Questions
from selma.judges.templates import TEMPLATES
from selma.judges.weights import check_numbers, library_versions
from selma.pictures.png import encode_png

if TYPE_CHECKING:
    from openai import OpenAI, OpenAIError

logger = logging.getLogger(__name__)
_SEED = 0
_MESSAGE_MAX_CHARACTERS = 200
_HINTS = {
    400: "check that the model takes pictures, temperature 0 and max_completion_tokens",
    401: "check OPENAI_API_KEY",
    403: "check OPENAI_API_KEY",
    404: "check the judge's path, which is the server's name of a model, and OPENAI_BASE_URL",
    429: "wait, or check your quota, and run again",
    None: "check OPENAI_BASE_URL and the network",
}


@dataclass
class Usage:
    """What was answered, and tokens read and written as the server counts them; kept ones apart."""

    requests: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0


class _Asked(NamedTuple):
    """A question about a picture; `sha256` is of its size and pixels."""

    sha256: str
    text: str


class EndpointJudge:
    """Asks a server; `usage` is what was asked so far. See `load_endpoint`."""

    def __init__(
        self, client: "OpenAI", settings: JudgeSettings, *, key: str, replies: Path | None
    ) -> None:
        self._client = client
        self._key = key
        self._model = settings.path
        self._parallel = settings.questions_per_batch
        self._template = choose("template", settings.template, TEMPLATES)
        self._address = str(client.base_url).rstrip("/")
        self._decoding: dict[str, Any] = {
            "max_completion_tokens": settings.max_new_tokens,
            "seed": _SEED,
            "temperature": 0,
        }
        self.about: Mapping[str, Any] = {
            "class": "endpoint",
            "address": self._address,
            "path": settings.path,
            "revision": settings.revision,
            "template": settings.template,
            "decoding": self._decoding,
            "preprocessing": {"encoding": "png", "order": "picture, text"},
            "libraries": library_versions(["openai", "pillow"]),
        }
        self.usage = Usage()
        self._lock = threading.Lock()
        self._replies: dict[_Asked, str] = {}
        self._log = None if replies is None else AnswerLog(replies, self.about)

    def __call__(self, pictures: Pictures, questions: Questions) -> list[list[str]]:
        """Ask each question about each picture; the same one of the same picture only once.

        Requests go out in parallel. A failure lets those under way finish and sends no more; each
        reply is kept as soon as it is there. BackendError: the server refused or failed every try;
        or a reply is empty, filtered or cut off, none of which is an answer.
        """
        rows: list[list[_Asked]] = []
        urls: dict[_Asked, str] = {}
        for picture, asked in zip(pictures, questions, strict=True):
            sha256 = hashlib.sha256(str(picture.shape).encode() + picture.tobytes()).hexdigest()
            row = [_Asked(sha256, self._template(question)) for question in asked]
            unknown = [one for one in row if self._known(one) is None]
            if unknown:
                data = base64.b64encode(encode_png(picture)).decode("ascii")
                urls |= dict.fromkeys(unknown, f"data:image/png;base64,{data}")
            rows.append(row)
        if urls:
            self._ask_all(urls)
            words = "%s: %d requests so far, %d tokens read and %d written"
            logger.info(words, self._model, *astuple(self.usage))
        return [[self._replies[one].strip() for one in row] for row in rows]

    def _known(self, asked: _Asked) -> str | None:
        kept = None if self._log is None else self._log.get(asked)
        return self._replies.setdefault(asked, kept[0]) if kept else self._replies.get(asked)

    def _ask_all(self, urls: Mapping[_Asked, str]) -> None:
        failed = threading.Event()

        def ask(asked: _Asked) -> None:
            if failed.is_set():
                return
            try:
                self._ask(asked, urls[asked])
            except BaseException:
                failed.set()
                raise

        with ThreadPoolExecutor(max_workers=self._parallel) as pool:
            futures = [pool.submit(ask, asked) for asked in urls]
            try:
                for future in as_completed(futures):
                    future.result()
            finally:
                failed.set()  # a signal ends the waiting without an error of a request

    def _ask(self, asked: _Asked, url: str) -> None:
        """Send one request and keep its reply; runs in a thread of its own."""
        from openai import OpenAIError

        content: list[Any] = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": asked.text},
        ]
        try:
            completion = self._client.chat.completions.create(
                model=self._model, messages=[{"role": "user", "content": content}], **self._decoding
            )
        except (OpenAIError, ValueError) as error:  # ValueError: JSON that is none
            raise BackendError(self._describe(error)) from error
        usage = getattr(completion, "usage", None)
        with self._lock:
            self.usage.requests += 1
            self.usage.prompt_tokens += getattr(usage, "prompt_tokens", None) or 0
            self.usage.reply_tokens += getattr(usage, "completion_tokens", None) or 0
        reply = self._read(completion, asked.text)
        with self._lock:
            self._replies[asked] = reply
            if self._log is not None:
                self._log.put(asked, [reply])

    def _read(self, completion: Any, text: str) -> str:
        """Take the reply out of a completion, which the client does not check."""
        choices = getattr(completion, "choices", None) or [None]
        message = getattr(choices[0], "message", None)
        if message is None:
            raise BackendError(
                f"{self._address}: {self._model} gave no chat completion; check OPENAI_BASE_URL, "
                "which often ends in /v1"
            )
        reply = message.content if isinstance(message.content, str) else ""
        reason = choices[0].finish_reason
        if reason == "length":
            most = self._decoding["max_completion_tokens"]
            raise BackendError(
                f"{self._model}: the reply to {text!r} was cut off at {most} tokens: "
                f"{reply[:_MESSAGE_MAX_CHARACTERS]!r}; raise max_new_tokens"
            )
        if not reply.strip() or reason == "content_filter":
            refusal = " ".join(str(getattr(message, "refusal", None) or "").split())
            raise BackendError(
                f"{self._model}: no reply to {text!r} (finish_reason {reason!r}"
                f"{', ' + refusal[:_MESSAGE_MAX_CHARACTERS] if refusal else ''}); a missing answer "
                "is not scored, take another judge"
            )
        return reply

    def _describe(self, error: "OpenAIError | ValueError") -> str:
        """Tell an error in one line that never holds the key."""
        hint = _HINTS.get(getattr(error, "status_code", None), "run again")
        reason = " ".join(str(error).replace(self._key, "***").split())[:_MESSAGE_MAX_CHARACTERS]
        return f"{self._address}: {self._model}: {type(error).__name__}: {reason}; {hint}"


def load_endpoint(
    settings: JudgeSettings,
    *,
    base_url: str | None = None,
    replies: Path | None = None,
    timeout_s: float = 120.0,
    retries: int = 5,
) -> EndpointJudge:
    """Make a judge of a server's model; sends nothing yet.

    The key is ``OPENAI_API_KEY``. The client waits and asks again, up to `retries` times, with
    growing pauses or as the server's Retry-After says, when the server is busy, does not answer
    within `timeout_s` or is out of reach.

    Of the settings, `path` is the server's name of the model (choose a dated one, so that it stays
    the same) and `questions_per_batch` the number of requests under way at a time; dtype and device
    do not matter. Without a `base_url` it is ``OPENAI_BASE_URL``'s, else OpenAI's own. `replies` is
    a file of JSON lines that keeps what was paid for, so that a restart asks nothing twice; one
    process at a time.

    Raises ConfigError if there is no key in the environment, the address holds a secret, or a
    setting is wrong: a beam search cannot be asked for; MissingDependencyError without the package
    openai; RecordError if `replies` holds those of another judge or setting.
    """
    try:
        from openai import OpenAI
    except ImportError as error:
        raise MissingDependencyError(
            "the judge endpoint needs the package openai: pip install openai"
        ) from error
    if not settings.path:
        raise ConfigError("the judge endpoint wants the server's name of a model as its path")
    if settings.beams != 1:
        raise ConfigError(
            f"beams is {settings.beams}, but a server cannot be asked for a beam search; the judge "
            "endpoint wants beams 1"
        )
    check_numbers(settings, "questions_per_batch", "max_new_tokens")
    key = os.environ.get("OPENAI_API_KEY", "")
    if not key:
        raise ConfigError(
            "OPENAI_API_KEY is not set; export your key (any word for a server without keys), or "
            "take another judge"
        )
    parts = urlsplit(base_url or os.environ.get("OPENAI_BASE_URL", ""))
    if "@" in parts.netloc or parts.query or key in parts.path:
        raise ConfigError(
            f"the address of {parts.hostname} holds a user, a password, a query or the key, which "
            "would be written beside the answers; give the address alone, the key in OPENAI_API_KEY"
        )
    client = OpenAI(api_key=key, base_url=base_url, timeout=timeout_s, max_retries=retries)
    return EndpointJudge(client, settings, key=key, replies=replies)
