"""Runs a study's experiments, and says what has been run; a run that was killed goes on.

Each experiment has a clone, a lock, a log and a record of its time in `.selma/studies/NAME`. The
lock is handed to DVC's process: it is held as long as DVC works, also after a kill of `selma`.
"""

import contextlib
import fcntl
import json
import logging
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from selma.core.errors import BackendError, ConfigError, SelmaError, one_line
from selma.core.files import write_json
from selma.studies.experiments import Experiment, Plan
from selma.studies.git import bring_home, changed, experiments, shortened
from selma.studies.workplace import (
    SHARED,
    dvc_environment,
    has_remote,
    make_workplace,
    remove_workplace,
)

logger = logging.getLogger(__name__)
DONE, RUNNING, FAILED, INTERRUPTED, MISSING = "done", "running", "failed", "interrupted", "missing"
START = "selma: a start\n"  # in a log, which has all of an experiment's
_STAGE = re.compile(r"^Running stage '([^']+)'", re.MULTILINE)
_ERROR = re.compile(r"^(?:selma: error|ERROR): (.*)$", re.MULTILINE)
_LOG_TAIL_BYTES = 100_000

Report = Callable[[Experiment, str], None]  # what became of an experiment, in words


@dataclass(frozen=True)
class State:
    """Where an experiment stands; `seconds` of work so far, None if that is not known."""

    experiment: Experiment
    state: str
    revision: str  # of the experiment's commit; "" if it is not done
    seconds: float | None
    note: str  # the running stage, or what went wrong


class Runner:
    """Runs experiments of a plan, each in a clone of its own."""

    def __init__(self, root: Path, study: str, targets: Sequence[str], report: Report) -> None:
        """Take the repository; `report` is called, from any thread, as one starts or ends."""
        self.root, self.targets, self.report = root, list(targets), report
        self.home = home_of(root, study)
        self._shares: queue.SimpleQueue[set[int]] = queue.SimpleQueue()  # cores that are free
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._stopping = threading.Event()

    def run(self, plan: Plan, jobs: int) -> list[str]:
        """Run what is not done yet, `jobs` at once; returns a line for each that failed.

        Raises:
            ConfigError: what decides the results has changes that are not committed.
        """
        check_committed(self.root, plan)
        self.home.mkdir(parents=True, exist_ok=True)
        cores = sorted(os.sched_getaffinity(0))
        for number in range(jobs):
            self._shares.put({*cores[number::jobs]} or {cores[number % len(cores)]})
        done = experiments(self.root, {one.name for one in plan.experiments})
        for name in done:  # what a kill left behind
            if not _is_locked(self.home / f"{name}.lock"):
                remove_workplace(self.home / name)
        waiting = [one for one in plan.experiments if one.name not in done]
        failed = []
        with ThreadPoolExecutor(jobs) as pool:
            try:
                started = [pool.submit(self._run_one, plan.commit, one) for one in waiting]
                failed = [line for one in as_completed(started) if (line := one.result())]
            except BaseException:
                self._stop()
                pool.shutdown(cancel_futures=True)
                raise
        return failed

    def _run_one(self, commit: str, experiment: Experiment) -> str:
        """Run one; returns what went wrong, or "". What goes wrong with it stops no other."""
        if self._stopping.is_set():
            return ""
        with self._locked(experiment) as lock:
            if self._stopping.is_set() or experiments(self.root, {experiment.name}):
                return ""
            try:
                problem = self._run_in_clone(commit, experiment, lock)
            except (SelmaError, OSError) as error:
                problem = one_line(error)
                spent = seconds_spent(self.home, experiment)
                facts = {"seconds": spent, "state": FAILED, "problem": problem}
                write_json(record_of(self.home, experiment), {"started": time.time(), **facts})
        if problem:
            self.report(experiment, f"failed: {problem}")
            return f"{experiment.label}: {problem}"
        if not self._stopping.is_set():
            self.report(experiment, DONE)
        return ""

    def _run_in_clone(self, commit: str, experiment: Experiment, lock: IO[str]) -> str:
        """Take an experiment from the clone of an earlier start, or make a clone and run it there.

        Returns what its log says went wrong, or "". Raises as `make_workplace` and `bring_home`.
        """
        folder = self.home / experiment.name
        if not (folder / ".git").exists() or not bring_home(folder, self.root, experiment.name):
            by_hand = make_workplace(self.root, folder, commit, experiment)
            also = f", with {shortened(by_hand)} as they lie here" if by_hand else ""
            self.report(experiment, f"started{also}")
            code = self._dvc(folder, experiment, lock)
            if self._stopping.is_set():
                return ""
            if code or not bring_home(folder, self.root, experiment.name):
                return read_log(log_of(self.home, experiment))[1]
        remove_workplace(folder)
        return ""

    def _dvc(self, folder: Path, experiment: Experiment, lock: IO[str]) -> int:
        """Run `dvc exp run` in a clone, in a session of its own, so that only we interrupt it."""
        command = [sys.executable, "-m", "dvc", "exp", "run", "--name", experiment.name]
        command += ["--pull"] if has_remote(folder) else []  # with its run-cache
        for setting in experiment.settings:
            command += ["--set-param", setting]
        record = record_of(self.home, experiment)
        spent, start = seconds_spent(self.home, experiment), time.time()
        write_json(record, {"started": start, "seconds": spent, "state": RUNNING})
        with self._some_cores() as cores, log_of(self.home, experiment).open("ab") as log:
            log.write(START.encode())
            log.flush()
            process = subprocess.Popen(
                [*command, *self.targets], cwd=folder, env=dvc_environment(), stdout=log,
                stderr=log, stdin=subprocess.DEVNULL, pass_fds=[lock.fileno()],
                start_new_session=True,
            )  # fmt: skip
            self._processes.add(process)
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(process.pid, cores)  # its stages inherit it
            if self._stopping.is_set():
                self._stop()
            code = process.wait()
            self._processes.discard(process)
        state = INTERRUPTED if self._stopping.is_set() else FAILED if code else DONE
        seconds = spent + time.time() - start
        write_json(record, {"started": start, "seconds": round(seconds, 1), "state": state})
        return code

    @contextlib.contextmanager
    def _some_cores(self) -> Iterator[set[int]]:
        """Take one of the shares of the cores: trainings that meet on a core crawl."""
        cores = self._shares.get()
        try:
            yield cores
        finally:
            self._shares.put(cores)

    @contextlib.contextmanager
    def _locked(self, experiment: Experiment) -> Iterator[IO[str]]:
        """Hold an experiment's lock; wait for the process of an earlier start that still works."""
        with (self.home / f"{experiment.name}.lock").open("a") as lock:
            if not _taken(lock):
                self.report(experiment, "is being run by an earlier start; waiting for it")
                while not _taken(lock) and not self._stopping.wait(0.5):
                    pass
            yield lock

    def _stop(self) -> None:
        """Interrupt what runs, as Ctrl-C in its terminal would: stages keep what they have done."""
        self._stopping.set()
        for process in list(self._processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)


def home_of(root: Path, study: str) -> Path:
    return root / SHARED / "studies" / study


def log_of(home: Path, experiment: Experiment) -> Path:
    return home / f"{experiment.name}.log"


def record_of(home: Path, experiment: Experiment) -> Path:
    return home / f"{experiment.name}.json"


def check_committed(root: Path, plan: Plan) -> None:
    """Refuse changes that a run would not see: it runs what is committed. ConfigError lists them.

    Changes of other files, such as results, documents and the study's own file, do not matter.
    """
    if mine := sorted(set(changed(root)) & set(plan.deciding)):
        raise ConfigError(
            f"{shortened(mine)}: changed and not committed; a study runs what is committed "
            f"({plan.commit[:7]}): commit the changes, or put them aside with `git stash`"
        )


def states(root: Path, study: str, plan: Plan) -> list[State]:
    """Say where each run of a study stands, in their order."""
    home = home_of(root, study)
    done = experiments(root, {one.name for one in plan.experiments})
    return [_state(home, one, done.get(one.name, "")) for one in plan.experiments]


def seconds_spent(home: Path, experiment: Experiment) -> float:
    """How long an experiment has been worked on; of a killed start, until its log's last line."""
    record, log = read_record(record_of(home, experiment)), log_of(home, experiment)
    seconds = float(record.get("seconds", 0.0))
    if record.get("state") == RUNNING and log.exists():
        seconds += max(0.0, log.stat().st_mtime - record["started"])
    return round(seconds, 1)


def _state(home: Path, experiment: Experiment, revision: str) -> State:
    record = read_record(record_of(home, experiment))
    seconds = seconds_spent(home, experiment) if record else None
    if revision:
        return State(experiment, DONE, revision, seconds, "")
    if not record:
        return State(experiment, MISSING, "", None, "")
    stage, problem = read_log(log_of(home, experiment))
    if _is_locked(home / f"{experiment.name}.lock"):
        seconds = record["seconds"] + time.time() - record["started"]
        return State(experiment, RUNNING, "", seconds, stage)
    if record["state"] == FAILED:
        return State(experiment, FAILED, "", seconds, record.get("problem", problem))
    return State(experiment, INTERRUPTED, "", seconds, f"in {stage}" if stage else "")


def read_record(path: Path) -> dict[str, Any]:
    """Read how long an experiment has taken; {} where it was not run here."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def read_log(path: Path) -> tuple[str, str]:
    """Find the last stage that the last start ran, and the first error after it."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _LOG_TAIL_BYTES))
            text = log.read().decode(errors="replace").rpartition(START)[2]
    except OSError:
        return "", "no log"
    stages = list(_STAGE.finditer(text))
    stage, rest = (stages[-1][1], text[stages[-1].end() :]) if stages else ("", text)
    error = _ERROR.search(rest)
    said = error[1] if error else "DVC failed"
    where = f"in {stage}: " if stage else ""
    return stage, f"{where}{said} (log: {path})"


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_locked(path: Path) -> bool:
    """Tell whether a process holds a lock; whoever wants it at this moment tries again."""
    if not path.exists():
        return False
    with path.open("a") as lock:
        return not _taken(lock)


def ensure_done(states: Sequence[State]) -> None:
    """Refuse to compare a study that is not whole: BackendError says what is missing."""
    lacking = [state.experiment.label for state in states if state.state != DONE]
    if lacking:
        raise BackendError(
            f"{len(lacking)} of {len(states)} runs are not done ({shortened(lacking)}); "
            "`selma study run` goes on with them"
        )
