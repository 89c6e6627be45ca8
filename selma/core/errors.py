"""The errors a person can do something about, and the exit code of each."""


class SelmaError(Exception):
    """A problem that one line explains; `exit_code` is the process's exit status."""

    exit_code = 2


class ConfigError(SelmaError):
    """params.yaml, a preset or a command line is wrong."""


class RecordError(SelmaError):
    """A file does not hold what its contract says; the message names file and place."""


class MissingDataError(SelmaError):
    """A file that should be there is not; the message says what to pull or run."""

    exit_code = 3


class MissingDependencyError(SelmaError):
    """An optional package or a model's weights are not installed."""

    exit_code = 4


class DifferenceError(SelmaError):
    """A check says no: something is not what it is said to be."""

    exit_code = 5


class InconclusiveError(SelmaError):
    """A check can say neither yes nor no, e.g. because what it needs is missing."""

    exit_code = 6


class ReplyError(SelmaError):
    """An LLM's reply could not be read; `reply` keeps the raw text."""

    def __init__(self, message: str, reply: str) -> None:
        super().__init__(message)
        self.reply = reply


class AdapterMismatchError(SelmaError):
    """Adapters that should be merged or loaded do not fit each other or the base model."""


class BackendError(SelmaError):
    """A model or service outside selma failed."""

    exit_code = 4


class BudgetError(BackendError):
    """What may be spent on a service is spent; nothing more can be asked."""


def one_line(error: object) -> str:
    """Write a foreign error for a message of ours: on one line, of a readable length."""
    return " ".join(str(error).split())[:300]
