"""What can be known to be wrong with the rows of `searches` before a run."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from selma.core.choices import choose
from selma.runtime.whole import Params

if TYPE_CHECKING:
    from selma.merging.merge import Settings
    from selma.runtime.search_params import SearchParams


class Problems(Protocol):
    """Where problems are gathered."""

    def add(self, problem: str) -> None: ...

    def attempt(self, action: Callable[..., Any], key: str = "") -> Any: ...


def check_searches(root: Path, params: Params, problems: Problems) -> None:
    """Every choice is there, and so is a dev split that shares no prompt with a benchmark."""
    from selma.judges.templates import TEMPLATES
    from selma.measuring.search_checks import check_search

    for name, row in params.searches.items():
        key = f"searches.{name}"
        template = partial(choose, "judge template", row.template, TEMPLATES)
        problems.attempt(template, f"{key}.template")
        ranges = {name: one.model_dump() for name, one in row.searched().items()}
        merge_of = partial(_merge_of, row, params.seed)
        problems.attempt(partial(check_search, key, ranges, row.plain(), merge_of, row.sampler))
        check_measure(problems, f"{key}.measure", row.measure)
        if not (root / row.measure.path).exists():
            problems.add(f"{key}.measure.path: {row.measure.path}: no such file or folder")
        dev = root / "data/dev" / f"{row.benchmark}.parquet"
        if not dev.is_file():
            problems.add(f"{key}.benchmark: {dev}: no such file; run `dvc pull`, or put it there")
            continue
        problems.attempt(partial(_disjoint, dev, root / "data/benchmarks"), f"{key}.benchmark")


def _merge_of(row: "SearchParams", seed: int, tried: Mapping[str, float]) -> "Settings":
    from selma.merging.merge import Settings

    return Settings(**row.merge(tried), seed=seed)


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
