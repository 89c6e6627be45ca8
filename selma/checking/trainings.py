"""What trainings will draw, compute and keep, before anything runs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.runtime.params import laid_over
from selma.runtime.sections import LoraParams

if TYPE_CHECKING:
    from selma.checking.plan import Counter, Work
    from selma.runtime.sections import ImagesParams
    from selma.runtime.whole import Params

FLOAT32 = 4  # bytes


def plan_pairs(
    stage: str, params: "Params", prompts: int, images: "ImagesParams", counter: "Counter"
) -> "Work":
    """Plan the pictures of which pairs are chosen; what rates them is not counted."""
    rated = params.objectives[params.lora.objective].pairs
    own = images
    if rated is not None:
        own = images.model_copy(update=rated.images.model_dump(exclude_unset=True))
    number = 0 if rated is None else prompts * own.per_prompt
    return counter.drawing(stage, number, own, counter.costs(params.lora))


def plan_training(
    stage: str, params: "Params", lora: LoraParams, pictures: int, counter: "Counter"
) -> "Work":
    """Plan a training by the run's objective; of a reward, what rates is not counted.

    A pair is two pictures, which the reference sees too. A picture that is rewarded is drawn, and
    each step of its drawing is trained on.
    """
    objective, costs = params.objectives[params.lora.objective], counter.costs(lora)
    work = counter.training(stage, lora, pictures, costs)
    samples = lora.train_steps * lora.batch_size
    if objective.kind == "dpo":
        work = replace(work, number=2 * samples)
    if costs is None or objective.kind == "denoise":
        return work
    if objective.kind == "dpo":
        each = 2 * samples * (costs.train + costs.predict) + pictures * costs.encode
        return replace(work, operations=float(each))
    own = params.images.model_copy(update=objective.images.model_dump(exclude_unset=True))
    guided = 2 if own.guidance_scale > 1 else 1
    each = guided * own.inference_steps * (costs.predict + costs.train) + costs.decode
    return replace(work, operations=float(samples * each))


def plan_fit(
    stage: str, fit: Any, experts: Mapping[str, LoraParams], pictures: int, counter: "Counter",
    params_path: Path,
) -> "Work":  # fmt: skip
    """Plan a fit; where it is trained, all experts' factors are computed as one adapter's."""
    merging = counter.merging(stage, list(experts.values()))
    if fit.kind != "cat":
        return merging
    lora = laid_over("lora", LoraParams, fit.lora, params_path)
    ranks = sum(expert.rank for expert in experts.values())
    costs = counter.costs(lora.model_copy(update={"rank": ranks}))
    training = counter.training(stage, lora, pictures, costs)
    scratch = float(FLOAT32 * pictures * counter.latent * 2 * (2 if lora.flip else 1))
    return replace(training, disk=merging.disk, scratch=scratch)
