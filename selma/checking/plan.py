"""What a run will draw, train and ask, and what that computes, before anything runs."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selma.checking.flops import Costs, count_costs
from selma.diffusion.stable_diffusion import StableDiffusion
from selma.runtime.params import (
    ImagesParams,
    LoraParams,
    Params,
    load_mixture,
    load_skill_section,
)

# What the makers give for bfloat16 without sparsity, in operations a second, and the share of it
# that well-fed training reaches; arithmetic, not a measurement.
DEVICES = {"H100": 989e12, "A100": 312e12, "L40S": 362e12}
SHARE = 0.4
BYTES_PER_PIXEL = 1.5  # of a PNG of a photograph, about half of its 3


@dataclass(frozen=True)
class Work:
    """One stage's work; None: not known, because the model or the benchmark is not there yet."""

    stage: str
    what: str  # plural of what is counted
    number: int | None
    operations: float | None
    disk: float  # bytes of what it writes


class Counter:
    """Counts what a backbone computes, from its configs; `pixels` are of one of its pictures."""

    def __init__(self, folder: Path) -> None:
        """Read the configs; without them, or for a family without a U-Net, nothing is counted."""
        self._parts: list[dict[str, Any]] | None = None
        self.pixels = 0
        with contextlib.suppress(OSError, ValueError):
            self._parts = [
                json.loads((folder / part / "config.json").read_text(encoding="utf-8"))
                for part in ("unet", "vae")
            ]
        if self._parts is not None:
            unet, vae = self._parts
            self.pixels = (unet["sample_size"] * 2 ** (len(vae["block_out_channels"]) - 1)) ** 2
        self._known: dict[object, Costs] = {}

    def costs(self, lora: LoraParams) -> Costs | None:
        """Count with an adapter as the params say."""
        if self._parts is None:
            return None
        targets = tuple(lora.targets or StableDiffusion.targets)
        key = (lora.rank, targets)
        if key not in self._known:
            unet, vae = self._parts
            self._known[key] = count_costs(unet, vae, lora.rank, targets)
        return self._known[key]


def plan_work(root: Path, params_path: Path, params: Params) -> Iterator[Work]:
    """List every stage that draws, trains, asks or scores, in the graph's order."""
    counter = Counter(root / params.backbone.path)

    def drawing(stage: str, number: int | None, settings: ImagesParams) -> Work:
        operations, costs = None, counter.costs(params.lora)
        if costs is not None and number is not None:
            guided = 2 if settings.guidance_scale > 1 else 1
            each = guided * settings.inference_steps * costs.predict + costs.decode
            operations = float(number * each)
        disk = (number or 0) * counter.pixels * BYTES_PER_PIXEL
        return Work(stage, "pictures", number, operations, disk)

    def training(stage: str, settings: LoraParams, pictures: int) -> Work:
        samples = settings.train_steps * settings.batch_size
        operations, costs = None, counter.costs(settings)
        if costs is not None:
            operations = float(samples * costs.train + pictures * costs.encode)
        return Work(stage, "training samples", samples, operations, 0.0)

    pictures = {}
    for skill, row in params.skills.items():
        prompts = {**params.prompts.model_dump(), **row.prompts.model_dump(exclude_unset=True)}  # type: ignore[attr-defined]
        requests = -(-prompts["per_skill"] // prompts["per_request"])
        yield Work(f"prompts@{skill}", "LLM requests at least", requests, None, 0.0)
        settings = load_skill_section("images", ImagesParams, skill, params_path)
        pictures[skill] = prompts["per_skill"] * settings.per_prompt
        yield drawing(f"images@{skill}", pictures[skill], settings)
    for skill in params.skills:
        lora = load_skill_section("lora", LoraParams, skill, params_path)
        yield training(f"lora@{skill}", lora, pictures[skill])
    for name, mixture in params.mixtures.items():
        known = sum(pictures[skill] for skill in mixture.skills)
        yield training(f"mixture@{name}", load_mixture(name, params_path), known)
    items = {name: _items(root, name) for name in params.benchmarks}

    def times(number: int | None) -> int | None:
        return None if number is None else number * params.samples.per_prompt

    for model in params.models:
        for benchmark, (asked, _) in items.items():
            yield drawing(f"samples@{model}-{benchmark}", times(asked), params.samples)
        for name, answers in params.answers.items():
            number = times(items[answers.benchmark][1])
            yield Work(f"answers@{name}-{model}", "questions", number, None, 0.0)
        for name, preference in params.preferences.items():
            number = times(items[preference.benchmark][0])
            yield Work(f"preferences@{name}-{model}", "pictures scored", number, None, 0.0)


def _items(root: Path, benchmark: str) -> tuple[int | None, int | None]:
    """Number of prompts and of questions of a benchmark; None if it is not there yet."""
    from selma.core.tables import read_table

    path = root / "data/benchmarks" / f"{benchmark}.parquet"
    if not path.exists():
        return None, None
    rows = read_table(path, "benchmark")
    return len(rows), sum(len(row["questions"]) for row in rows)


def stages_to_run(root: Path) -> set[str]:
    """Ask DVC which stages have changed, and add all that follow from them."""
    import networkx
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        changed = set(repo.status())
        graph = repo.index.graph  # from a stage to what it needs
        after: set[Any] = set()
        for stage in graph:
            if stage.addressing in changed:
                after |= {stage, *networkx.ancestors(graph, stage)}
    return {stage.addressing for stage in after}
