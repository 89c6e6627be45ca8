"""Work that waits for others, done by several threads."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_threads(act: Callable[[T], R], items: Iterable[T], number: int) -> list[R]:
    """Do something with each item, `number` at once; returns the results in the items' order.

    A failure, or a signal, lets what is under way finish and begins no more; the first failure is
    raised.
    """
    failed = threading.Event()

    def attempt(item: T) -> R | None:
        if failed.is_set():
            return None
        try:
            return act(item)
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
