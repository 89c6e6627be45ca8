"""The act of distilling: an adapter learns from experts along the way of its own pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.adapters.factors import Adapter
from selma.core.choices import choose
from selma.core.seeds import derive_seed
from selma.diffusion.backbone import Backbone, Conditions
from selma.diffusion.combining import mean_prediction
from selma.diffusion.sampling import denoise, guided_prediction
from selma.diffusion.steps import Step, take_step
from selma.training.experts import checkpointing
from selma.training.objective import squared_errors, stratified
from selma.training.steps import item_order
from selma.training.trainer import Trained, train_parts

if TYPE_CHECKING:
    import torch

    from selma.training.teachers import Lesson, Teachers


@dataclass(frozen=True)
class Item:
    """A prompt to draw."""

    skill: str
    prompt_id: str
    prompt: str


@dataclass(frozen=True)
class Guidance:
    """Scales of classifier-free guidance: of the student's drawing, and of what is compared.

    ``guided`` compares the student's guided prediction with the teacher's. ``conditional`` compares
    the student's conditional prediction with one that makes its guided prediction the teacher's,
    where both predict alike without a text: of scale teacher ÷ student.
    """

    drawing: float
    student: float
    teacher: float

    @classmethod
    def of(cls, match: str, drawing: float, teacher: float) -> "Guidance":
        """Find the scales of a way to match; `teacher` is not below `drawing`."""
        return choose("way to match", match, MATCHES)(drawing, teacher)


MATCHES: dict[str, Callable[[float, float], Guidance]] = {
    "guided": lambda drawing, teacher: Guidance(drawing, drawing, teacher),
    "conditional": lambda drawing, teacher: Guidance(drawing, 1.0, teacher / drawing),
}


def own_latents(
    backbone: Backbone, prompts: Sequence[str], conditions: Conditions, seeds: Sequence[int], *,
    guidance_scale: float, inference_steps: int, numbers: Sequence[int],
) -> "dict[int, torch.Tensor]":  # fmt: skip
    """Draw as `denoise` does and look at the latents, (N, C, h, w), before steps of some numbers.

    They are the ones of a picture with these seeds; no gradient leads back to the weights.
    """
    found: dict[int, torch.Tensor] = {}

    def look(step: Step) -> "torch.Tensor":
        if step.number in numbers:
            found[step.number] = step.latents
        return take_step(step)

    denoise(
        prompts, conditions, seeds, backbone, guidance_scale=guidance_scale,
        inference_steps=inference_steps, take_step=look,
    )  # fmt: skip
    return found


@dataclass(frozen=True)
class Distillation:
    """What is lost in a step, and all that is drawn for it, from the step's number alone."""

    backbone: Backbone  # with the student's adapter, trainable
    teachers: "Teachers"
    lessons: "Callable[[Sequence[str]], list[Lesson]]"  # of a batch's skills
    items: Sequence[Item]
    conditions: Conditions  # of each item, on the CPU
    guidance: Guidance
    name: str
    seed: int
    inference_steps: int
    points: int  # of a trajectory at which is compared

    def parts(
        self, step: int, batch_size: int, part_size: int
    ) -> list[Callable[[], "torch.Tensor"]]:
        """The summands of a step's loss, each of `part_size` prompts at most.

        The loss is the mean over prompts and points of the squared error of the prediction. Each
        epoch visits every prompt once, with new noise; the points are the same for the whole step,
        spread evenly over the trajectory, one in each of as many equal stretches.
        """
        import torch

        number = len(self.items)
        places = range(step * batch_size, (step + 1) * batch_size)
        rows = [item_order(self.seed, self.name, p // number, number)[p % number] for p in places]
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "points", self.name, step))
        uniform = torch.rand(self.points, generator=generator, dtype=torch.float64)
        points = (stratified(uniform) * self.inference_steps).long().tolist()
        seeds = [
            derive_seed(self.seed, "distil", self.name, place, self.items[row].prompt_id)
            for place, row in zip(places, rows, strict=True)
        ]
        return [
            partial(self._loss, rows[cut], seeds[cut], points, batch_size)
            for cut in (slice(at, at + part_size) for at in range(0, batch_size, part_size))
        ]

    def _loss(
        self, rows: Sequence[int], seeds: Sequence[int], points: Sequence[int], batch_size: int
    ) -> "torch.Tensor":
        import torch

        backbone, steps = self.backbone, self.inference_steps
        where = backbone.device, backbone.denoiser.dtype
        told = {name: values[list(rows)].to(*where) for name, values in self.conditions.items()}
        prompts = [self.items[row].prompt for row in rows]
        latents = own_latents(
            backbone, prompts, told, seeds, guidance_scale=self.guidance.drawing,
            inference_steps=steps, numbers=points,
        )  # fmt: skip
        student = guided_prediction(backbone, told, self.guidance.student)
        taught = [
            (own, shares, guided_prediction(
                backbone, {name: values[own] for name, values in told.items()},
                self.guidance.teacher,
            ))
            for own, shares in self.lessons([self.items[row].skill for row in rows])
        ]  # fmt: skip
        losses = []
        for point in points:
            trajectory = backbone.trajectory(steps)  # anew: some schedulers count their steps
            timestep, seen = trajectory.timesteps[point], latents[point]
            target = torch.empty_like(seen)
            with torch.no_grad():
                for own, shares, predict in taught:
                    shown = seen[own].contiguous(memory_format=torch.channels_last)
                    target[own] = mean_prediction(
                        self.teachers, shares, partial(predict, trajectory, timestep, shown)
                    )
            self.teachers.leave()
            losses.append(squared_errors(student(trajectory, timestep, seen), target).sum())
        return torch.stack(losses).sum() / (batch_size * len(points))


def distil(
    student: Adapter,
    experts: Mapping[str, Adapter],
    prompts: Mapping[str, Mapping[str, str]],
    backbone: Backbone,
    directory: Path,
    *,
    name: str,
    seed: int,
    kind: str,
    weights: Mapping[str, float],
    guidance_scale: float,
    match: str,
    trajectory: Mapping[str, Any],
    batch_size: int,
    micro_batch_size: int,
    checkpoint_every_steps: int,
    source: str,
    sources: Mapping[str, str],
    **settings: Any,
) -> Trained:
    """Train an adapter on the trajectories that it takes itself; mutates the denoiser.

    In each step the student draws, from noise and with its own guidance, without a gradient; at
    points of the way its prediction is brought nearer to its teachers' for the same latents, by the
    mean squared error. On-policy distillation, as Flow-OPD (arXiv 2605.08063) does it, but:

    1. The teachers are LoRA experts trained on pictures, the student is a merge of them.
    2. All experts together can teach every prompt, not only each its own skill's.
    3. The drawing is deterministic, and the error itself is made less; theirs is a reward for a
       policy gradient along a stochastic drawing, one of a group for each prompt.
    4. The teacher's guidance may be stronger than the student's.
    5. There is no further teacher that holds the student back.

    Args:
        student: where it starts.
        experts: the teachers, by skill.
        prompts: per skill and id.
        backbone: frozen and without an adapter.
        directory: keeps the progress.
        name: of the training; all that is drawn depends on it.
        seed: the run's.
        kind: of teacher, see `TEACHERS`.
        weights: of the experts, relative.
        guidance_scale: the teacher's; not below the trajectory's.
        match: which predictions are compared, see `Guidance`.
        trajectory: "guidance_scale" and "inference_steps" of the student's drawing, and "points".
        batch_size: prompts of a step.
        micro_batch_size: predictions in memory at once, the points of each prompt.
        checkpoint_every_steps: how often the progress is kept.
        source: the student's file, for errors.
        sources: each expert's file, likewise.
        settings: the other keyword arguments of `train_parts`.

    Returns:
        The adapter's tensors by name as in `add_adapters`, scale 1, and the training.

    Raises:
        AdapterMismatchError: as `put_adapter` and `Teachers`.
        ConfigError: there is no such kind or match.
        RecordError, SelmaError: as `selma.training.loop.train`.
    """
    from selma.training.adapters import put_adapter
    from selma.training.teachers import TEACHERS, Teachers

    teach = choose("teacher", kind, TEACHERS)
    guidance = Guidance.of(match, trajectory["guidance_scale"], guidance_scale)
    items = [
        Item(skill, *one) for skill, own in sorted(prompts.items()) for one in sorted(own.items())
    ]
    told = backbone.encode_prompts([item.prompt for item in items])
    layers, parameters = put_adapter(backbone, student, source)
    distillation = Distillation(
        backbone, Teachers(layers, experts, sources), lambda skills: teach(skills, weights), items,
        {key: values.cpu() for key, values in told.items()}, guidance, name, seed,
        trajectory["inference_steps"], trajectory["points"],
    )  # fmt: skip
    size = min(batch_size, max(1, micro_batch_size // trajectory["points"]))
    return train_parts(
        backbone,
        {name: parameters},
        lambda step: distillation.parts(step, batch_size, size),
        items=f"{len(items)} prompts",
        batch_size=batch_size,
        part_size=size,
        checkpointing=checkpointing(directory, checkpoint_every_steps),
        **settings,
    )[name]
