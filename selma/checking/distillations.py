"""What a distillation will compute."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.runtime.params import laid_over
from selma.runtime.sections import LoraParams

if TYPE_CHECKING:
    from selma.checking.plan import Counter, Work


def plan_distillation(
    stage: str, row: Any, experts: Sequence[LoraParams], counter: "Counter", params_path: Path
) -> "Work":
    """Plan a distillation: each prompt is drawn, and predicted by teachers and student at points.

    The student's rank is taken to be the sum of its experts', as of an exact merge.
    """
    lora = laid_over("lora", LoraParams, row.lora, params_path)
    lora = lora.model_copy(update={"rank": sum(expert.rank for expert in experts)})
    costs, way = counter.costs(lora), row.trajectory
    training = counter.training(stage, lora, 0, costs)
    if costs is None:
        return replace(training, what="prompts")
    teachers = len(experts) if row.kind == "composite" else 1
    student = way.guidance_scale if row.match == "guided" else 1.0
    teacher = row.guidance_scale / (1.0 if row.match == "guided" else way.guidance_scale)
    drawn = way.inference_steps * _calls(way.guidance_scale) * costs.predict
    point = teachers * _calls(teacher) * costs.predict + _calls(student) * costs.train
    operations = float((training.number or 0) * (drawn + way.points * point))
    return replace(training, what="prompts", operations=operations)


def _calls(guidance_scale: float) -> int:
    return 2 if guidance_scale > 1 else 1
