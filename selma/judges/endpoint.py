"""A judge behind a server (OpenAI, vLLM, Ollama, …) that speaks OpenAI's chat completions.

Asked one question a request, at temperature 0 with a fixed seed; whether a server then gives the
same reply twice is up to the server, so replies can be kept.
"""

import base64
import hashlib
import logging
import threading
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from selma.core.choices import choose
from selma.core.errors import BackendError, ConfigError
from selma.core.threads import in_threads
from selma.judges.answer_log import AnswerLog
from selma.judges.protocol import JudgeSettings, Pictures, Questions
from selma.judges.templates import TEMPLATES
from selma.judges.weights import check_numbers, library_versions
from selma.llm.server import Completion, Server
from selma.pictures.png import encode_png

logger = logging.getLogger(__name__)
_SEED = 0
_MESSAGE_MAX_CHARACTERS = 200


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

    def __init__(self, server: Server, settings: JudgeSettings, *, replies: Path | None) -> None:
        self._server = server
        self._model = settings.path
        self._parallel = settings.questions_per_batch
        self._template = choose("template", settings.template, TEMPLATES)
        self._decoding: dict[str, Any] = {
            "max_completion_tokens": settings.max_new_tokens,
            "seed": _SEED,
            "temperature": 0,
        }
        self.about: Mapping[str, Any] = {
            "class": "endpoint",
            "address": server.address,
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
            in_threads(lambda asked: self._ask(asked, urls[asked]), urls, self._parallel)
            words = "%s: %d requests so far, %d tokens read and %d written"
            logger.info(words, self._model, *astuple(self.usage))
        return [[self._replies[one].strip() for one in row] for row in rows]

    def _known(self, asked: _Asked) -> str | None:
        kept = None if self._log is None else self._log.get(asked)
        return self._replies.setdefault(asked, kept[0]) if kept else self._replies.get(asked)

    def _ask(self, asked: _Asked, url: str) -> None:
        """Send one request and keep its reply; runs in a thread of its own."""
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": asked.text},
        ]
        options = dict(self._decoding)
        body = {"messages": [{"role": "user", "content": content}]}
        most = options.pop("max_completion_tokens")
        done = self._server.complete("chat", {**body, **options}, most)
        with self._lock:
            self.usage.requests += 1
            self.usage.prompt_tokens += done.prompt_tokens or 0
            self.usage.reply_tokens += done.reply_tokens or 0
        reply = self._checked(done, asked.text)
        with self._lock:
            self._replies[asked] = reply
            if self._log is not None:
                self._log.put(asked, [reply])

    def _checked(self, done: Completion, text: str) -> str:
        """Take a reply that is an answer."""
        if done.finish_reason == "length":
            raise BackendError(
                f"{self._model}: the reply to {text!r} was cut off at "
                f"{self._decoding['max_completion_tokens']} tokens: "
                f"{done.text[:_MESSAGE_MAX_CHARACTERS]!r}; raise max_new_tokens"
            )
        if not done.text.strip() or done.finish_reason == "content_filter":
            raise BackendError(
                f"{self._model}: no reply to {text!r} (finish_reason {done.finish_reason!r}"
                f"{', ' + done.refusal[:_MESSAGE_MAX_CHARACTERS] if done.refusal else ''}); a "
                "missing answer is not scored, take another judge"
            )
        return done.text


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
    if not settings.path:
        raise ConfigError("the judge endpoint wants the server's name of a model as its path")
    if settings.beams != 1:
        raise ConfigError(
            f"beams is {settings.beams}, but a server cannot be asked for a beam search; the judge "
            "endpoint wants beams 1"
        )
    check_numbers(settings, "questions_per_batch", "max_new_tokens")
    server = Server(settings.path, base_url=base_url, timeout_s=timeout_s, retries=retries)
    return EndpointJudge(server, settings, replies=replies)
