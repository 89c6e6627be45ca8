"""English articles, plurals and number words, by the package inflect."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inflect import engine


@cache
def _engine() -> "engine":
    import inflect

    return inflect.engine()


def with_article(phrase: str) -> str:
    """Put "a" or "an" before a phrase."""
    return str(_engine().a(phrase))


def plural(noun: str) -> str:
    return str(_engine().plural(noun))


def number_word(number: int) -> str:
    return str(_engine().number_to_words(str(number)))
