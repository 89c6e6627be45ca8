"""Several processes at one stage: a leader, and helpers that do their share of its shards.

The leader forks its helpers before the work begins. Each process does the shards that it owns and
keeps them as files; at `join` the helpers leave and the leader goes on with all of them. So the
result is the same for any number of processes. Without `fork` there is one, which owns everything.
"""

import contextlib
import ctypes
import glob
import importlib
import logging
import os
import signal
import socket
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from selma.core.errors import ConfigError, SelmaError

if TYPE_CHECKING:
    import torch

PROCESSES = "SELMA_PROCESSES"  # how many processes work on a stage that can be shared
AT_MOST_BY_ITSELF = 4  # where the variable is not set
_PARENT_DEATH_SIGNAL = 1  # Linux, prctl(2)
_PAUSE_S = 0.05


@dataclass
class _Team:
    """This process's place; `helpers` are the process ids of the leader's."""

    rank: int = 0
    size: int = 1
    port: int = 0
    folder: Path = Path()
    helpers: tuple[int, ...] = ()
    allowed: bool = False


_team = _Team()


class ShareDoneError(BaseException):
    """Ends a helper that has done its share."""


def rank() -> int:
    """Which of the processes this one is: 0 leads."""
    return _team.rank


def size() -> int:
    """How many processes there are."""
    return _team.size


def owns(shard: int) -> bool:
    """Whether a shard is this process's to do."""
    return shard % size() == rank()


def wanted(threads: int) -> int:
    """How many processes a stage gets: SELMA_PROCESSES, or what the processor's cores allow.

    With a GPU it is one unless the variable says more: one for each GPU is best.

    Raises:
        ConfigError: the variable is no whole number from 1.
    """
    text = os.environ.get(PROCESSES)
    if text is None:
        if glob.glob("/dev/nvidia[0-9]*") or os.path.exists("/dev/dxg"):
            return 1
        return max(1, min(len(os.sched_getaffinity(0)) // threads, AT_MOST_BY_ITSELF))
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{PROCESSES}: got {text!r}, expected a whole number of processes from 1")
    return int(text)


def allow() -> None:
    """Let this process have helpers: it belongs to one stage alone, which ends them."""
    _team.allowed = True


def fork(processes: int, libraries: Sequence[str], folder: Path) -> None:
    """Part into a leader and its helpers; both return. Does nothing unless allowed.

    Nothing may have been computed yet, on a GPU or by several threads. The `libraries` that all
    will need are loaded before, once; in `folder`, the stage's own, the processes meet.
    """
    if processes == 1 or not _team.allowed:
        return
    for library in libraries:
        importlib.import_module(library)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        _team.port = free.getsockname()[1]
    _team.size, _team.folder, leader = processes, folder, os.getpid()
    for number in range(1, processes):
        with warnings.catch_warnings(action="ignore"):  # of the thread that waits for signals
            pid = os.fork()
        if not pid:
            _team.rank, _team.helpers = number, ()
            ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
            if os.getppid() != leader:  # it had ended before
                os._exit(1)
            logging.getLogger().setLevel(logging.WARNING)  # the leader tells
            signal.set_wakeup_fd(-1)  # the leader's
            for heeded in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(heeded, signal.SIG_DFL)
            return
        _team.helpers += (pid,)


def wait_until(done: Callable[[], bool]) -> None:
    """Wait for what the other processes make; SelmaError if a helper has ended."""
    while not done():
        _check()
        time.sleep(_PAUSE_S)


def _check() -> None:
    for helper in _team.helpers:
        if os.waitpid(helper, os.WNOHANG)[0]:
            _team.helpers = tuple(other for other in _team.helpers if other != helper)
            raise _ended()


def join() -> None:
    """As a helper, leave; as the leader, wait for all shares; SelmaError if a helper failed."""
    if _team.rank:
        raise ShareDoneError
    while _team.helpers:
        first, *others = _team.helpers
        code = os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
        _team.helpers = tuple(others)
        if code:
            stop()
            raise _ended()


def stop() -> None:
    """End helpers that are still at work."""
    for helper in _team.helpers:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):  # it has ended by itself
            os.kill(helper, signal.SIGKILL)
            os.waitpid(helper, 0)
    _team.helpers = ()


def _ended() -> SelmaError:
    return SelmaError(
        "a process that shared the work has ended, its message is above; "
        f"run the same command to go on, or set {PROCESSES}=1"
    )


def gather(values: "torch.Tensor") -> "list[torch.Tensor]":
    """Exchange vectors of one length; returns every process's, by rank.

    Raises:
        ConfigError: there are more processes than GPUs.
        SelmaError: another process has ended.
    """
    from accelerate.utils import gather as gather_all

    if size() == 1:
        return [values]
    try:
        _meet(values.device.type)
        gathered = list(gather_all(values[None]))
    except RuntimeError as error:
        raise _ended() from error
    if len(gathered) != size():
        raise SelmaError(f"{len(gathered)} of {size()} processes took part in an exchange")
    return gathered


def _meet(device: str) -> None:
    """Connect the processes, once; the leader looks whether all are there before it waits."""
    import torch
    from accelerate import PartialState

    if torch.distributed.is_initialized():
        return
    if device == "cuda" and size() > torch.cuda.device_count():
        raise ConfigError(
            f"{PROCESSES}: {size()} processes cannot train on {torch.cuda.device_count()} GPUs; "
            "expected at most one for each"
        )
    here = _team.folder / f"met-{_team.port}-{rank()}"
    here.touch()
    everyone = [here.with_name(f"met-{_team.port}-{number}") for number in range(size())]
    wait_until(lambda: all(path.exists() for path in everyone))
    os.environ |= {
        "RANK": str(rank()), "LOCAL_RANK": str(rank()), "WORLD_SIZE": str(size()),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_team.port),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),  # or accelerate sets other threads
    }  # fmt: skip
    PartialState(cpu=device == "cpu")
