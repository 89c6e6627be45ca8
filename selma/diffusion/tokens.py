"""Which tokens of a prompt stand for which of its characters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Span:
    """Characters of a prompt, from `start` up to `end`."""

    start: int
    end: int


def tokens_of(tokenizer: Any, text: str, spans: Sequence[Span]) -> list[tuple[int, ...]]:
    """Find the positions of the tokens that lie in each span, as the text encoder sees them.

    Positions count the start token. A span that is cut off, because the prompt is too long, has
    none.
    """
    offsets = _read(tokenizer, text, return_offsets_mapping=True)["offset_mapping"]
    return [
        tuple(
            position
            for position, (start, end) in enumerate(offsets)
            if start < min(end, span.end) and end > span.start
        )
        for span in spans
    ]


def word_tokens(tokenizer: Any, text: str) -> range:
    """Find the positions of all tokens of a prompt but those of its start, end and padding."""
    return range(1, len(_read(tokenizer, text)["input_ids"]) - 1)


def _read(tokenizer: Any, text: str, **options: Any) -> Any:
    return tokenizer(text, truncation=True, max_length=tokenizer.model_max_length, **options)
