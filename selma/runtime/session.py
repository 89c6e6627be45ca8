"""What every stage runs in: one-line errors, signals, exit codes."""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from selma.core.errors import SelmaError
from selma.runtime.journal import journal


class _Interrupted(BaseException):
    def __init__(self, signal_number: int) -> None:
        self.signal_number = signal_number


def run_stage(stage: str, main: Callable[[], None]) -> NoReturn:
    """Run a stage's main function and leave with its exit code.

    A problem that a person can mend is told in one line on stderr (with a traceback if
    ``SELMA_DEBUG=1``); see `selma.errors` for the exit codes. SIGINT, SIGTERM and SIGHUP end the
    stage with 128 + n; what was done is kept and the same command goes on from there.
    """
    logging.basicConfig(
        level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr, force=True
    )
    for noisy in ("httpx", "httpx2", "diffusers", "transformers", "peft"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    name = os.environ.get("DVC_STAGE", stage)
    journal({"event": "start", "stage": name, "argv": sys.argv[1:]})
    status, code = "failed", 1
    try:
        main()
        status, code = "finished", 0
    except _Interrupted as interruption:
        status, code = "interrupted", 128 + interruption.signal_number
        print(f"selma: interrupted in {name}; run the same command to resume", file=sys.stderr)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 2
    except Exception as error:
        code = report_error(error)
    finally:
        journal({"event": "end", "stage": name, "status": status})
    sys.exit(code)


def report_error(error: Exception) -> int:
    """Tell an error on stderr and give the exit code for it."""
    known = isinstance(error, SelmaError)
    if not known or os.environ.get("SELMA_DEBUG") == "1":
        traceback.print_exception(error)
    if isinstance(error, SelmaError):
        print(f"selma: error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    print(f"selma: internal error: {type(error).__name__}: {error}", file=sys.stderr)
    return 1


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise _Interrupted(number)
