"""What every stage runs in: one-line errors, log lines, signals, exit codes."""

import errno
import logging
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from selma.core import team
from selma.core.errors import SelmaError
from selma.core.secrets import redact
from selma.runtime.journal import experiment, journal, stage_name

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_S = 3.0  # for the library call that runs when a signal comes
# Of what the libraries say a stage says the part that matters itself, in its own lines.
_QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
}  # fmt: skip
_NOISY = ("httpx", "httpx2", "diffusers", "transformers", "peft")
_OUT_OF_MEMORY = (
    "the GPU's memory is full; lower micro_batch_size (training), questions_per_batch (judges) or "
    "batch_size (the rest), and run the same command to go on"
)
_WHAT_TO_DO = {
    errno.ENOSPC: "the disk is full; make room and run the same command to go on",
    errno.EDQUOT: "the disk quota is used up; make room and run the same command to go on",
    errno.EACCES: "permission denied; check who owns the file and its folder",
    errno.EPERM: "not permitted; check who owns the file and its folder",
    errno.EROFS: "the file system is read-only; work in a folder that can be written",
}


class _Interrupted(BaseException):
    """Raised with the signal's number."""


class _LogLine(logging.Formatter):
    """Writes ``images@count: 160 pictures in 12 s``, as a progress bar begins."""

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return redact(f"{stage_name()}: {level}{super().format(record)}")


def run_stage(stage: str, main: Callable[[], None]) -> NoReturn:
    """Run a stage's main function and leave with its exit code.

    A problem that a person can mend is one line on stderr (with a traceback if
    ``SELMA_DEBUG=1``); see `selma.core.errors` for the exit codes. SIGINT, SIGTERM and SIGHUP end
    the stage with 128 + n, at the latest a few seconds later or at the second signal; what was done
    is kept and the same command goes on from there.
    """
    os.environ.setdefault("DVC_STAGE", stage)
    for variable, value in _QUIET.items():
        os.environ.setdefault(variable, value)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LogLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    _heed_signals()
    team.allow()
    name = stage_name()
    journal({"event": "start", "stage": name, "argv": sys.argv[1:], **experiment()})
    status, code = "failed", 1
    try:
        main()
        status, code = "finished", 0
    except _Interrupted as interruption:
        status, code = "interrupted", _say_interrupted(interruption.args[0])
    except team.ShareDoneError:
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 2
    except Exception as error:
        code = report_error(error)
    finally:
        team.stop()
        journal({"event": "end", "stage": name, "status": status})
    if team.rank():  # what the leader has to do at its end is not a helper's
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def report_error(error: Exception) -> int:
    """Write an error to stderr, one line if a person can mend it; returns the exit code."""
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which may not be loaded
        error = SelmaError(_OUT_OF_MEMORY)
    known = isinstance(error, SelmaError | OSError)
    if not known or os.environ.get("SELMA_DEBUG") == "1":
        sys.stderr.write(redact("".join(traceback.format_exception(error))))
    if not known:
        problem = redact(f"{type(error).__name__}: {error}")
        print(f"selma: internal error: {problem}", file=sys.stderr)
        return 1
    text = str(error) if isinstance(error, SelmaError) else _describe(error)
    line = redact(f"selma: error: {' '.join(text.split())}\n")
    sys.stderr.write(line)  # in one piece: processes of a team may write at once
    return getattr(error, "exit_code", SelmaError.exit_code)


def _describe(error: Exception) -> str:
    """Say what the operating system refused, where, and what to do."""
    assert isinstance(error, OSError)
    reason = _WHAT_TO_DO.get(error.errno or 0) or error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def _heed_signals() -> None:
    """Turn signals into exceptions, and end the process where none can be raised in time.

    Python's handlers wait for the library call that runs in the main thread, which may take
    minutes; the byte that the interpreter writes to a pipe does not.
    """
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_insist, args=[reading], daemon=True).start()


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise _Interrupted(number)


def _insist(reading: int) -> None:
    number = 0
    while number not in _SIGNALS:
        number = os.read(reading, 1)[0]
    select.select([reading], [], [], _GRACE_S)
    journal({"event": "end", "stage": stage_name(), "status": "interrupted"})
    team.stop()
    os._exit(_say_interrupted(number))


def _say_interrupted(number: int) -> int:
    print(
        f"selma: interrupted in {stage_name()}; run the same command to resume",
        file=sys.stderr, flush=True,
    )  # fmt: skip
    return 128 + number
