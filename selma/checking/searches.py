"""What can be known to be wrong with the rows of `searches` before a run."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from selma.core.choices import choose
from selma.runtime.whole import Params


class Problems(Protocol):
    """Where problems are gathered."""

    def add(self, problem: str) -> None: ...

    def attempt(self, action: Callable[..., Any], key: str = "") -> Any: ...


def check_searches(root: Path, params: Params, problems: Problems) -> None:
    """Every choice is there, and so is a dev split that shares no prompt with a benchmark."""
    from selma.judges.templates import TEMPLATES
    from selma.measuring.searching import SAMPLERS
    from selma.merging.merge import Settings, check_settings

    for name, row in params.searches.items():
        key = f"searches.{name}"
        for what, choice, table in (
            ("search sampler", row.sampler, SAMPLERS),
            ("judge template", row.template, TEMPLATES),
        ):
            place = f"{key}.{what.rpartition(' ')[2]}"
            problems.attempt(partial(choose, what, choice, table), place)
        settings = Settings(**row.merge(row.plain()), seed=params.seed)
        problems.attempt(partial(check_settings, settings), key)
        check_measure(problems, f"{key}.measure", row.measure)
        if not (root / row.measure.path).exists():
            problems.add(f"{key}.measure.path: {row.measure.path}: no such file or folder")
        dev = root / "data/dev" / f"{row.benchmark}.parquet"
        if not dev.is_file():
            problems.add(f"{key}.benchmark: {dev}: no such file; run `dvc pull`, or put it there")
            continue
        problems.attempt(partial(_disjoint, dev, root / "data/benchmarks"), f"{key}.benchmark")


def _disjoint(dev: Path, benchmarks: Path) -> None:
    from selma.benchmarks.folder import benchmark_prompts
    from selma.core.tables import read_table
    from selma.prompts.leaks import check_disjoint

    prompts = {row["item_id"]: row["prompt"] for row in read_table(dev, "benchmark")}
    check_disjoint(str(dev), prompts, benchmark_prompts([benchmarks]))


def check_measure(problems: Problems, key: str, row: Any) -> None:
    """The choices of a measure, DSG or TIFA."""
    from selma.metrics.dsg import DSG_MEANS, DSG_POLICIES
    from selma.metrics.tifa import TIFA_MAPPINGS

    if row.kind == "dsg":
        problems.attempt(partial(choose, "dsg policy", row.policy, DSG_POLICIES), f"{key}.policy")
        problems.attempt(partial(choose, "dsg mean", row.mean, DSG_MEANS), f"{key}.mean")
    else:
        mapping = partial(choose, "tifa mapping", row.mapping, TIFA_MAPPINGS)
        problems.attempt(mapping, f"{key}.mapping")
