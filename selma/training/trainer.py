"""Trains what is put on a frozen backbone: an expert's LoRA adapter, or another set of weights."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from selma.core.seeds import derive_seed
from selma.diffusion.backbone import Backbone
from selma.training.loop import Checkpointing, Selection, train
from selma.training.speed import Meter, count_operations, in_words
from selma.training.steps import Steps, TrainingSet, split

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)
DEV_DRAWS = 256  # pictures with noise on which a skill's dev loss is measured


@dataclass(frozen=True)
class Trained:
    """A trained group of weights, such as an expert's adapter."""

    tensors: Mapping[str, "torch.Tensor"]  # by the names of the group's parameters
    losses: Sequence[float]  # of each step
    norms: Sequence[float]  # of each step's gradient, before it is clipped
    step: int  # whose weights these are
    dev_losses: Mapping[int, float]  # by step, with a selection
    watched: Mapping[str, Sequence[float]]  # what the objective shows of each step, by name
    speed: Mapping[str, float]  # of all that were trained with it, see `Meter.figures`


def train_experts(
    backbone: Backbone,
    examples: Mapping[str, TrainingSet],
    *,
    seed: int,
    rank: int,
    targets: Sequence[str] | None,
    **settings: Any,
) -> dict[str, Trained]:
    """Train new LoRA adapters on a frozen backbone, all in one pass; mutates its denoiser.

    As in SELMA (arXiv 2403.06952) all experts of a run start from the same A (it depends on the
    run's seed and not on the skill), so that they stay comparable and merge well.

    Args:
        backbone: frozen, without an adapter.
        examples: the training sets by name, a skill's or "mixture".
        seed: the run's.
        rank: of the adapters, alpha = rank.
        targets: ends of the names of the layers that get an adapter; None: the family's attention.
        settings: the other keyword arguments of `train_groups`.

    Returns:
        Each adapter's tensors by name as in `add_adapters`, scale 1.

    Raises:
        ConfigError: a target fits no layer, or as `train_groups`, which also says what else.
    """
    from selma.training.adapters import add_adapters

    groups = add_adapters(
        backbone.denoiser, list(examples), targets=tuple(targets or backbone.targets), rank=rank,
        seed=derive_seed(seed, "lora-init"),
    )  # fmt: skip
    return train_groups(backbone, groups, examples, seed=seed, **settings)


def train_groups(
    backbone: Backbone,
    groups: Mapping[str, Mapping[str, "torch.nn.Parameter"]],
    examples: Mapping[str, TrainingSet],
    *,
    seed: int,
    learning_rate: float,
    weight_decay: float,
    train_steps: int,
    batch_size: int,
    micro_batch_size: int,
    max_gradient_norm: float,
    min_snr_gamma: float | None,
    average_decay: float | None,
    flip: bool,
    select: Mapping[str, Any] | None,
    steps_of: Callable[..., Steps] = Steps,
    checkpointing: Checkpointing | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> dict[str, Trained]:
    """Train groups of weights in a frozen backbone, all in one pass; mutates them.

    Each group is what it is when it is trained alone, but for the last bits: its batches and all
    that is drawn depend on its name, its gradient is clipped by itself, and AdamW works element by
    element. The backbone runs once on the items of all.

    As in SELMA (arXiv 2403.06952): constant learning rate, every prompt conditional (no prompt is
    dropped for guidance). Different from SELMA:

    1. Pictures and prompts are encoded once; latents are drawn from the moments in each step.
    2. Timesteps are stratified over the batch; their distribution is the same.
    3. All randomness comes from (seed, name, step), so a training resumes in the same bytes.
    4. Pictures are mirrored only if `flip` says so; the paper's always are, by chance.
    5. The gradient is really clipped; in the released code it is not, but for SDXL.
    6. Training is in the backbone's dtype, the adapter in float32; the paper's is in float16.
    7. Pictures are kept without loss; the released code keeps them as JPEG.
    8. The step is chosen, if at all, on prompts held out from the skill's own; the paper chooses on
       the benchmark that it reports.

    Args:
        backbone: with the groups' weights in its denoiser; all others are frozen.
        groups: what is trained, by name; a group's items alone depend on it.
        examples: the training set of each group; with mirrored pictures if `flip`.
        seed: the run's.
        learning_rate: constant.
        weight_decay: AdamW's.
        train_steps: number of updates.
        batch_size: items per update, of each group: pictures, or pairs of them.
        micro_batch_size: pictures in memory at once, of all groups together; their gradients are
            added up, and it is what the processes of a team share.
        max_gradient_norm: the gradient of a group together is clipped to this norm.
        min_snr_gamma: weigh timesteps by min-SNR with this γ; None: all alike.
        average_decay: hand out the moving average of the weights instead of the last ones.
        flip: mirror every other picture, by chance.
        select: hand out the weights of the step with the least loss on a dev split, "dev" (share of
            the prompts, which are then not trained on), measured every "every_steps", always under
            the same noise; None: the last step's, trained on all prompts.
        steps_of: the objective: a class of `Steps` with what it takes beyond them.
        checkpointing: where to keep and find the progress.
        on_step: called after each step with the number of steps done and the sum of the losses.

    Raises:
        ConfigError: a dev split leaves nothing on one side.
        RecordError: the checkpoint cannot be read.
        SelmaError: a loss, a gradient or the weights are not finite.
    """
    import torch

    sets, held_out = dict(examples), dict[str, TrainingSet]()
    if select:
        for name, own in examples.items():
            sets[name], held_out[name] = split(own, select["dev"], seed, name)
    steps = steps_of(backbone, seed, micro_batch_size // len(groups), flip, min_snr_gamma)

    def dev_losses() -> list[float]:
        parts = steps.parts(held_out, 0, DEV_DRAWS, "dev/")
        losses = torch.stack([part() for part in parts]).sum(0)
        found: list[float] = losses.view(-1, len(groups))[0].tolist()
        return found

    return train_parts(
        backbone,
        groups,
        lambda step: steps.parts(sets, step, batch_size),
        items=f"{', '.join(str(len(own)) for own in sets.values())} {steps.items}",
        batch_size=batch_size,
        part_size=min(steps.size, batch_size),
        watched=steps.watched,
        train_steps=train_steps,
        learning_rate=learning_rate,
        on_step=on_step,
        weight_decay=weight_decay,
        max_gradient_norm=max_gradient_norm,
        average_decay=average_decay,
        selection=Selection(select["every_steps"], dev_losses) if select else None,
        stop=steps.to_stop,
        checkpointing=checkpointing,
    )


def train_parts(
    backbone: Backbone,
    groups: Mapping[str, Mapping[str, "torch.nn.Parameter"]],
    parts_at: Callable[[int], Sequence[Callable[[], "torch.Tensor"]]],
    *,
    items: str,
    batch_size: int,
    part_size: float,
    learning_rate: float,
    train_steps: int,
    watched: Sequence[str] = (),
    on_step: Callable[[int, float], None] | None = None,
    **settings: Any,
) -> dict[str, Trained]:
    """Train groups of weights in a frozen backbone by the summands of their losses; mutates them.

    `parts_at` and the `settings` are as in `selma.training.loop.train`. `items` says what is
    trained on; a step has `batch_size` of them for each group, its first part `part_size`.
    `watched` names the rows after the losses.
    """
    import torch

    weights = [parameter for group in groups.values() for parameter in group.values()]
    logger.info(
        "training %s on %s: %d steps of %d, %d weights", ", ".join(groups), items, train_steps,
        batch_size, sum(parameter.numel() for parameter in weights),
    )  # fmt: skip
    first = parts_at(0)[0]
    operations = count_operations(lambda: torch.autograd.grad(first().sum(), weights))
    meter = Meter(backbone, len(groups) * batch_size, operations / (len(groups) * part_size))

    def count(step: int, loss: float) -> None:
        meter()
        if on_step is not None:
            on_step(step, loss)

    state = train(
        list(groups.values()),
        parts_at,
        train_steps=train_steps,
        learning_rate_at=lambda _: learning_rate,
        scaled=backbone.denoiser.dtype == torch.float16,
        on_step=count,
        **settings,
    )
    if state.step < train_steps:
        logger.warning("stopped after step %d of %d: the error grows", state.step, train_steps)
    speed = meter.figures()
    logger.info(in_words(speed))
    return {
        name: Trained(
            tensors={key: value.cpu().clone() for key, value in state.final(place).items()},
            losses=state.curve(place),
            norms=[norms[place] for norms in state.norms],
            step=state.best_step(place),
            dev_losses={step: values[place] for step, values in state.measured},
            watched={name: state.seen(row, place) for row, name in enumerate(watched)},
            speed=speed,
        )
        for place, name in enumerate(groups)
    }
