"""One way to show work on stderr: a bar while it goes on, one line when it is done."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from selma.core import team
from selma.runtime.journal import stage_name

logger = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 60.0  # where stderr is a file, a bar is a new line each time


class Advance(Protocol):
    """Moves a bar on."""

    def __call__(self, number: int, note: str = "") -> None: ...


@contextlib.contextmanager
def progress(total: int, what: str) -> Iterator["Advance"]:
    """Show a bar while `total` items are worked off, then log "160 pictures in 12 s".

    `what` is the items' plural. Yields ``advance(number, note="")``; the bar shows the last note.
    """
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    started, pause = time.monotonic(), 1.0 if sys.stderr.isatty() else _SECONDS_BETWEEN_LINES
    label = f"{stage_name()}: {what}".removeprefix(": ")
    looks: dict[str, Any] = {"mininterval": pause, "delay": pause, "dynamic_ncols": True}
    looks["disable"] = bool(team.rank())  # the leader's tells
    with tqdm(total=total, desc=label, leave=False, **looks) as bar, logging_redirect_tqdm():

        def advance(number: int, note: str = "") -> None:
            if note:
                bar.set_postfix_str(note, refresh=False)
            bar.update(number)

        yield advance
    logger.info("%d %s in %s", bar.n, what, duration(time.monotonic() - started))


@contextlib.contextmanager
def training_progress(total: int, what: str) -> Iterator[Callable[[int, float], None]]:
    """Show a bar for a training; yields `on_step(steps_done, loss)`, right after a resume too."""
    done = 0
    with progress(total, what) as advance:

        def on_step(step: int, loss: float) -> None:
            nonlocal done
            advance(step - done)
            done = step

        yield on_step


def duration(seconds: float) -> str:
    """Write a time as people say it: "0.4 s", "12 s", "3 min 5 s", "2 h 10 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def in_words(counts: Mapping[str, object]) -> str:
    """Write counts for a log line: ``{"black_images": 2}`` is "2 black images"."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
