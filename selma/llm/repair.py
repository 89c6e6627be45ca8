"""Asks an LLM again, with what was wrong, when its reply cannot be read."""

from collections.abc import Callable
from typing import TypeVar

from selma.core.errors import ReplyError
from selma.llm.generators import TextGenerator

T = TypeVar("T")


def ask_until_read(
    generator: TextGenerator,
    build_request: Callable[[str], str],
    parse: Callable[[str], T],
    *,
    retries: int,
    seed_at: Callable[[int], int],
    heard: Callable[[int, str, str, str], None],
) -> T:
    """Ask until `parse` can read a reply.

    Args:
        generator: who is asked.
        build_request: makes the text from why the last reply was refused, "" at first.
        parse: reads a reply; ReplyError if it cannot.
        retries: further tries after the first.
        seed_at: each try's seed, from its number.
        heard: told of each try its seed, request, reply, and why it was refused, "" if it was not.

    Raises:
        ReplyError: the last one's, if no reply could be read.
        BackendError: the generator failed.
    """
    refused = ""
    for attempt in range(retries + 1):
        seed, request = seed_at(attempt), build_request(refused)
        reply = generator.generate(request, seed=seed)
        try:
            parsed = parse(reply)
        except ReplyError as error:
            refused = str(error)
            heard(seed, request, reply, refused)
            if attempt == retries:
                raise
        else:
            heard(seed, request, reply, "")
            return parsed
    raise AssertionError(f"retries must not be negative, got {retries}")
