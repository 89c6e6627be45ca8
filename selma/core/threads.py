"""Work that waits for others, done by several threads."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

_here = threading.local()  # `failed`: the event of the work that this thread belongs to
T = TypeVar("T")
R = TypeVar("R")


class StoppedError(Exception):
    """Raised by `pause` where another item of the same work has failed."""


def pause(seconds: float) -> None:
    """Wait within an item of `in_threads`, or elsewhere; StoppedError if the work is to end."""
    if getattr(_here, "failed", threading.Event()).wait(seconds):
        raise StoppedError


def in_threads(act: Callable[[T], R], items: Iterable[T], number: int) -> list[R]:
    """Do something with each item, `number` at once; returns the results in the items' order.

    A failure, or a signal, lets what is under way finish and begins no more; the first failure is
    raised.
    """
    failed = threading.Event()

    def attempt(item: T) -> R | None:
        if failed.is_set():
            return None
        _here.failed = failed
        try:
            return act(item)
        except StoppedError:
            return None
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(max_workers=number) as pool:
        futures = [pool.submit(attempt, item) for item in items]
        try:
            for future in as_completed(futures):
                future.result()
        finally:
            failed.set()  # a signal ends the waiting without a failure of an item
    return [future.result() for future in futures]  # type: ignore[misc]
