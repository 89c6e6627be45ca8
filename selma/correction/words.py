"""English articles, plurals and number words, by the package inflect."""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inflect import engine


@cache
def _engine() -> "engine":
    import inflect

    return inflect.engine()


def with_article(phrase: str) -> str:
    """Put "a" or "an" before a phrase."""
    return str(_engine().a(_word(phrase)))


def plural(noun: str) -> str:
    return str(_engine().plural(_word(noun)))


def number_word(number: int) -> str:
    words: Any = _engine().number_to_words(_word(str(number)))
    return str(words)


def _word(text: str) -> Any:
    return text  # inflect has a type of its own for texts that are not empty
