"""The act of searching: settings are proposed by a sampler, measured, and the best are kept."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.choices import choose
from selma.core.errors import RecordError, SelmaError
from selma.core.seeds import derive_seed

if TYPE_CHECKING:
    import optuna

Settings = dict[str, float]
Range = Mapping[str, float]  # low, high and step


@dataclass(frozen=True)
class Trial:
    """Settings that were tried, by name, and what they scored."""

    number: int
    settings: Settings
    score: float


def search(
    objective: Callable[[int, Settings], float],
    ranges: Mapping[str, Range],
    *,
    sampler: str,
    evaluations: int,
    seed: int,
    first: Settings,
    log: Path,
    on_trial: Callable[[Trial], None],
) -> list[Trial]:
    """Maximise an objective over numbers by one of optuna's samplers, one trial after the other.

    `log` keeps each score. A search that was killed is replayed from it: the sampler proposes again
    from its seed and is told the scores that are known, so it goes on as if it had never stopped.
    (A study loaded from one of optuna's storages goes on with a new random state, and so with other
    trials.) Settings that come up again are not measured again, and count as a trial.

    Args:
        objective: (trial's number, settings) → score, the more the better.
        ranges: what is searched, by name; a score depends on these settings alone.
        sampler: a key of SAMPLERS.
        evaluations: number of trials.
        seed: of the sampler.
        first: the settings of the first trial.
        log: a file of JSON lines, of this search alone.
        on_trial: called after each trial, also after one that the log knew.

    Returns:
        All trials, in their order.

    Raises:
        ConfigError: there is no such sampler.
        SelmaError: a score is not finite.
        RecordError: the log is damaged or of another search.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    make_sampler = choose("search sampler", sampler, SAMPLERS)
    study = optuna.create_study(
        direction="maximize", sampler=make_sampler(derive_seed(seed, "search", sampler) % 2**32)
    )
    study.enqueue_trial({name: first[name] for name in sorted(ranges)})
    space: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(one["low"], one["high"], step=one["step"])
        for name, one in sorted(ranges.items())
    }
    kept = TrialLog(log)
    known: dict[tuple[float, ...], float] = {}
    trials = []
    for number in range(evaluations):
        asked = study.ask(space)
        settings = {name: round(asked.params[name], 9) for name in sorted(space)}
        place = tuple(settings.values())
        score = kept.find(number, settings)
        if score is None:
            score = known[place] if place in known else objective(number, settings)
            if not math.isfinite(score):
                raise SelmaError(
                    f"trial {number}: the score is {score} at {in_words(settings)}; expected a "
                    "finite number; narrow the ranges"
                )
            kept.add(Trial(number, settings, score))
        known[place] = score
        study.tell(asked, score)
        trials.append(Trial(number, settings, score))
        on_trial(trials[-1])
    return trials


def best(trials: list[Trial]) -> Trial:
    """Find the trial of the highest score; of equal ones the first."""
    return max(trials, key=lambda trial: (trial.score, -trial.number))


def as_facts(trials: list[Trial]) -> dict[str, Any]:
    """Bring a search into JSON's types.

    The best score is the greatest of many on the prompts that it was chosen on, and so too high:
    what the merge is worth, a benchmark says.
    """
    found = best(trials)
    return {
        "evaluations": len(trials),
        "first": asdict(trials[0]),
        "best": asdict(found),
        "gain_on_dev": found.score - trials[0].score,
        "trials": [asdict(trial) for trial in trials],
    }


def in_words(settings: Settings) -> str:
    """Write settings for a message."""
    return ", ".join(f"{name} {value:g}" for name, value in settings.items())


class TrialLog:
    """JSON lines, a trial each; a line that a kill cut short is dropped."""

    def __init__(self, path: Path) -> None:
        """Open or begin a log; RecordError if it is damaged."""
        self._path, self._trials = path, list[Trial]()
        if not path.exists():
            return
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            path.write_bytes(whole)
        try:
            self._trials = [Trial(**json.loads(line)) for line in whole.splitlines()]
        except (ValueError, TypeError) as error:
            raise RecordError(
                f"{path}: not a log of trials ({error}); SELMA_FRESH=1 starts the search anew"
            ) from error

    def find(self, number: int, settings: Settings) -> float | None:
        """Look a trial's score up; None if it is new; RecordError if it had other settings."""
        if number >= len(self._trials):
            return None
        trial = self._trials[number]
        if (trial.number, trial.settings) != (number, settings):
            raise RecordError(
                f"{self._path}: trial {number} was {in_words(trial.settings)}, now it is "
                f"{in_words(settings)}; SELMA_FRESH=1 starts the search anew"
            )
        return trial.score

    def add(self, trial: Trial) -> None:
        """Keep a trial; a kill after this loses nothing of it."""
        self._trials.append(trial)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(trial), sort_keys=True) + "\n")


def tpe(seed: int) -> "optuna.samplers.BaseSampler":
    """Model good and bad trials by kernel densities; NeurIPS 2011 (Bergstra et al.), section 4."""
    import optuna

    return optuna.samplers.TPESampler(seed=seed)


def cmaes(seed: int) -> "optuna.samplers.BaseSampler":
    """Adapt a normal distribution, CMA-ES; arXiv 1604.00772. Needs two ranges, and many trials."""
    import optuna

    return optuna.samplers.CmaEsSampler(seed=seed)


def uniform(seed: int) -> "optuna.samplers.BaseSampler":
    """Draw all settings by chance, what the others are to be better than."""
    import optuna

    return optuna.samplers.RandomSampler(seed=seed)


SAMPLERS: dict[str, Callable[[int], Any]] = {"tpe": tpe, "cmaes": cmaes, "uniform": uniform}
