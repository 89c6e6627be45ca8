"""What a training computes in a step: what is drawn, from the step's number alone, and the loss."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from selma.core.errors import ConfigError
from selma.core.seeds import derive_seed
from selma.diffusion.backbone import Backbone
from selma.training.loop import TrainingState
from selma.training.moments import Examples
from selma.training.objective import (
    min_snr_weights,
    preference_losses,
    squared_errors,
    stratified,
)
from selma.training.pairs import Pairs

if TYPE_CHECKING:
    import torch


Set = TypeVar("Set", bound="TrainingSet")


@dataclass(frozen=True)
class Draws:
    """All that is random in one training step, for a batch of N; on the CPU."""

    items: "torch.Tensor"  # (N,) places in the training set
    levels: "torch.Tensor"  # (N,) float64 in [0, 1), which become timesteps
    posterior_noise: "torch.Tensor"  # (N, C, H, W)
    noise: "torch.Tensor"  # (N, C, H, W)
    flipped: "torch.Tensor"  # (N,) bool

    def part(self, start: int, size: int) -> "Draws":
        """Cut a micro-batch out."""
        return Draws(**{name: value[start : start + size] for name, value in vars(self).items()})


@lru_cache(maxsize=4)
def item_order(seed: int, name: str, epoch: int, number: int) -> tuple[int, ...]:
    """The order in which an epoch visits the items, a permutation of 0 … number − 1."""
    import torch

    generator = torch.Generator().manual_seed(derive_seed(seed, "order", name, epoch))
    return tuple(torch.randperm(number, generator=generator).tolist())


def draw_step(
    *, seed: int, name: str, step: int, batch_size: int, number: int,
    latent_shape: Sequence[int], flip: bool,
) -> Draws:  # fmt: skip
    """Draw a step's randomness from the step's number alone.

    Args:
        seed: the run's.
        name: the skill.
        step: from 0.
        batch_size: N.
        number: of items in the training set; each epoch visits every item once.
        latent_shape: (C, H, W).
        flip: mirror every other picture, by chance.
    """
    import torch

    positions = range(step * batch_size, (step + 1) * batch_size)
    items = [item_order(seed, name, p // number, number)[p % number] for p in positions]
    generator = torch.Generator().manual_seed(derive_seed(seed, "lora", name, step))
    uniform = torch.rand(batch_size, generator=generator, dtype=torch.float64)
    shape = (batch_size, *latent_shape)
    return Draws(
        items=torch.tensor(items),
        levels=stratified(uniform),
        posterior_noise=torch.randn(shape, generator=generator),
        noise=torch.randn(shape, generator=generator),
        flipped=torch.rand(batch_size, generator=generator) < (0.5 if flip else 0.0),
    )


def denoising_losses(
    backbone: Backbone, batch: Sequence[tuple[Examples, Draws]], min_snr_gamma: float | None = None
) -> "torch.Tensor":
    """Compute each item's loss, (N,) float32, weighted by `min_snr_weights` if γ is given.

    `batch`: one skill's items after the other's, N in all.
    """
    import torch

    denoiser, noising, device = backbone.denoiser, backbone.noising, backbone.device
    moments = [examples.moments(d.items.tolist(), d.flipped.tolist()) for examples, d in batch]
    told = [examples.conditions_of(draws.items) for examples, draws in batch]

    def together(parts: Iterable["torch.Tensor"], dtype: Any = None) -> "torch.Tensor":
        return torch.cat(list(parts)).to(device, dtype)

    means, deviations = (together(parts) for parts in zip(*moments, strict=True))
    noise = together(draws.noise for _, draws in batch)  # (N, C, H, W)
    latents = means + deviations * together(draws.posterior_noise for _, draws in batch)
    timesteps = noising.timesteps(together(draws.levels for _, draws in batch))
    noisy = noising.add(latents, noise, timesteps).to(denoiser.dtype)
    conditions = {key: together((part[key] for part in told), denoiser.dtype) for key in told[0]}
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    prediction = backbone.predict(noisy, timesteps, conditions)
    losses = squared_errors(prediction, noising.target(latents, noise, timesteps))
    if min_snr_gamma is not None:
        losses = losses * min_snr_weights(noising, timesteps, min_snr_gamma)
    return losses


class TrainingSet(Protocol):
    """What steps are drawn from: pictures, or pairs of them."""

    def __len__(self) -> int: ...

    @property
    def latent_shape(self) -> tuple[int, ...]: ...

    @property
    def condition_index(self) -> "torch.Tensor": ...

    def only(self: Set, items: Sequence[int]) -> Set: ...


def split(examples: Set, share: float, seed: int, name: str) -> tuple[Set, Set]:
    """Hold out a share of a skill's prompts, with all their pictures; returns (trained on, dev).

    ConfigError if that leaves no prompt on one of the sides.
    """
    prompts = sorted(set(examples.condition_index.tolist()))
    order = item_order(seed, f"dev/{name}", 0, len(prompts))
    held_out = {prompts[place] for place in order[: round(share * len(prompts))]}
    if len(held_out) in (0, len(prompts)):
        raise ConfigError(
            f"lora.select.dev: {share:g} of the {len(prompts)} prompts of {name} are "
            f"{len(held_out)}; both sides need one at least"
        )
    own = [prompt in held_out for prompt in examples.condition_index.tolist()]
    sides = [[i for i, held in enumerate(own) if held is side] for side in (False, True)]
    return examples.only(sides[0]), examples.only(sides[1])


@dataclass(frozen=True)
class Steps:
    """The steps of experts that are trained side by side, the same number of items for each.

    These are of the denoising loss, whose items are pictures; subclasses are of others.
    """

    backbone: Backbone
    seed: int
    pictures_at_once: int  # of each expert in memory
    flip: bool
    min_snr_gamma: float | None

    items: ClassVar[str] = "pictures"
    pictures_per_item: ClassVar[int] = 1
    watched: ClassVar[tuple[str, ...]] = ()  # the rows after the losses, by name

    @property
    def size(self) -> int:
        """How many items of each expert are in memory at once."""
        return max(1, self.pictures_at_once // self.pictures_per_item)

    def parts(
        self, sets: Mapping[str, Any], step: int, number: int, kind: str = ""
    ) -> list[Callable[[], "torch.Tensor"]]:
        """The summands of a step's losses, (experts,) or (1 + watched, experts).

        They are of `number` items of each expert's set. What is drawn depends on each expert's
        name, after `kind`.
        """
        drawn = [
            draw_step(
                seed=self.seed, name=f"{kind}{name}", step=step, batch_size=number,
                number=len(own), latent_shape=own.latent_shape, flip=self.flip,
            )
            for name, own in sets.items()
        ]  # fmt: skip

        def losses_of(start: int) -> "torch.Tensor":
            cut = [draws.part(start, self.size) for draws in drawn]
            losses = self.losses(list(zip(sets.values(), cut, strict=True)))
            return losses.sum(-1) / number

        return [partial(losses_of, start) for start in range(0, number, self.size)]

    def losses(self, batch: Sequence[tuple[Any, Draws]]) -> "torch.Tensor":
        """Compute the loss of each item of each expert, (experts, N)."""
        return denoising_losses(self.backbone, batch, self.min_snr_gamma).view(len(batch), -1)

    def to_stop(self, state: TrainingState) -> bool:
        """Whether to end before the last step."""
        return False


@dataclass(frozen=True)
class PairSteps(Steps):
    """Steps of Diffusion-DPO, see `preference_losses`; the sets are `Pairs`.

    All that is random is drawn once for a pair: noise, timestep, the draw from the posterior, and
    whether both are mirrored. The reference is the same denoiser without its adapters.
    """

    beta: float
    stop: Mapping[str, Any] | None  # {"winner_growth": share, "steps": number}

    items: ClassVar[str] = "pairs"
    pictures_per_item: ClassVar[int] = 2
    watched: ClassVar[tuple[str, ...]] = ("implicit_accuracy", "winner_loss", "winner_reference")

    def losses(self, batch: Sequence[tuple[Pairs, Draws]]) -> "torch.Tensor":
        """Compute losses and what is watched, (1 + watched, experts, N)."""
        import torch

        from selma.training.adapters import without_adapters

        pictures = [
            (pairs.pictures, replace(draws, items=torch.tensor(side)[draws.items]))
            for pairs, draws in batch
            for side in (pairs.winners, pairs.losers)
        ]
        errors = self._errors(pictures)  # (experts, 2, N)
        with torch.no_grad(), without_adapters(self.backbone.denoiser):
            reference = self._errors(pictures)
        losses, accurate = preference_losses(errors, reference, self.beta)
        winners = errors[:, 0].detach(), reference[:, 0]
        return torch.stack([losses, accurate.detach(), *winners])

    def _errors(self, pictures: Sequence[tuple[Examples, Draws]]) -> "torch.Tensor":
        errors = denoising_losses(self.backbone, pictures, self.min_snr_gamma)
        return errors.view(len(pictures) // 2, 2, -1)

    def to_stop(self, state: TrainingState) -> bool:
        """Whether a model has lost sight of the winners: its error on them has grown too much.

        That is, over the last steps, by a share of the reference's error under the same noise. A
        loss that only compares can fall while both errors grow.
        """
        if self.stop is None or state.step < self.stop["steps"]:
            return False
        last = slice(-self.stop["steps"], None)
        for group in range(len(state.groups)):
            model, reference = (sum(state.seen(place, group)[last]) for place in (1, 2))
            if model > (1 + self.stop["winner_growth"]) * reference:
                return True
        return False
