"""What a run will draw, train and ask, and what that computes, before anything runs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selma.checking.flops import Costs, count_costs
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
    """One stage's work; `operations` None: not counted, because the model is not known."""

    stage: str
    what: str  # plural of what is counted
    number: int
    operations: float | None
    disk: float  # bytes of what it writes


def backbone_costs(folder: Path, rank: int) -> tuple[Costs, int] | None:
    """Count a backbone's costs from its configs, with its pixels a picture; None if it has none."""
    try:
        unet, vae = (
            json.loads((folder / part / "config.json").read_text(encoding="utf-8"))
            for part in ("unet", "vae")
        )
    except (OSError, ValueError):
        return None
    side = unet["sample_size"] * 2 ** (len(vae["block_out_channels"]) - 1)
    return count_costs(unet, vae, rank), side**2


def plan_work(root: Path, params_path: Path, params: Params) -> Iterator[Work]:
    """List every stage that draws, trains, asks or scores, in the graph's order."""
    found = backbone_costs(root / params.backbone.path, params.lora.rank)
    costs, pixels = found or (None, 0)

    def drawing(stage: str, number: int, settings: Any) -> Work:
        guided = 2 if settings.guidance_scale > 1 else 1
        operations = None
        if costs is not None:
            each = guided * settings.inference_steps * costs.predict + costs.decode
            operations = float(number * each)
        return Work(stage, "pictures", number, operations, number * pixels * BYTES_PER_PIXEL)

    def training(stage: str, settings: Any, pictures: int) -> Work:
        samples = settings.train_steps * settings.batch_size
        operations = None
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
    for model in params.models:
        for benchmark, (prompts_asked, _) in items.items():
            number = prompts_asked * params.samples.per_prompt
            yield drawing(f"samples@{model}-{benchmark}", number, params.samples)
        for name, answers in params.answers.items():
            number = items[answers.benchmark][1] * params.samples.per_prompt
            yield Work(f"answers@{name}-{model}", "questions", number, None, 0.0)
        for name, preference in params.preferences.items():
            number = items[preference.benchmark][0] * params.samples.per_prompt
            yield Work(f"preferences@{name}-{model}", "pictures scored", number, None, 0.0)


def _items(root: Path, benchmark: str) -> tuple[int, int]:
    """Number of prompts and of questions of a benchmark; MissingDataError if it is not there."""
    from selma.core.tables import read_table

    rows = read_table(root / "data/benchmarks" / f"{benchmark}.parquet", "benchmark")
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
