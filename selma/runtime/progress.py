"""A progress bar on stderr."""

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress(total: int, label: str) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr while items are worked off; yields `advance(number)`."""
    from tqdm import tqdm

    with tqdm(total=total, desc=label, mininterval=1.0, dynamic_ncols=True) as bar:

        def advance(number: int) -> None:
            bar.update(number)

        yield advance


@contextlib.contextmanager
def training_progress(total: int, label: str) -> Iterator[Callable[[int, float], None]]:
    """Show a bar for a training; yields `on_step(steps_done, loss)`, right after a resume too."""
    done = 0
    with progress(total, label) as advance:

        def on_step(step: int, loss: float) -> None:
            nonlocal done
            advance(step - done)
            done = step

        yield on_step
