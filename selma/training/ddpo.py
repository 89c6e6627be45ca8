"""DDPO: a model draws, a reward says how well, and what was drawn well becomes more likely."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core import team
from selma.core.errors import ConfigError, SelmaError
from selma.core.seeds import derive_seed
from selma.diffusion.backbone import Backbone
from selma.diffusion.requests import Request
from selma.diffusion.stochastic import StochasticTrajectory
from selma.training.loop import Checkpointing
from selma.training.policy import Drawn, Policy, Predict, Reward
from selma.training.steps import item_order
from selma.training.trainer import Trained, train_parts

if TYPE_CHECKING:
    import torch

WATCHED = ("reward", "clipped")
_EQUAL = 1e-12  # a deviation of rewards below which they are all the same


def advantages(rewards: "torch.Tensor", per_prompt: int, most: float) -> "torch.Tensor":
    """Compare rewards (N,) with those of the same prompt, which stand together; float64.

    (r − mean) / deviation within each prompt, cut to ±`most`; 0 where all are the same, or one is
    not known. arXiv 2305.13301, section 5.2, but of one round of drawing and no running statistics.
    """
    own = rewards.view(-1, per_prompt)
    centred = own - own.mean(1, keepdim=True)
    deviation = own.std(1, correction=0, keepdim=True)
    found = (centred / deviation).where(deviation > _EQUAL, 0.0)  # NaN is not above it
    return found.clamp(-most, most).flatten()


def clipped_loss(
    moved: "torch.Tensor", advantage: "torch.Tensor", clip_range: float
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """PPO's loss of each action, arXiv 1707.06347, equation 7, and whether the ratio was too far.

    Args:
        moved: logarithms of the ratios of densities, new to old, (N,).
        advantage: (N,).
        clip_range: ε; a ratio outside 1 ± ε gives no gradient that leads further.

    Returns:
        Losses and 0 or 1, each (N,).
    """
    import torch

    ratio = moved.exp()
    held = ratio.clamp(1 - clip_range, 1 + clip_range)
    return torch.maximum(-advantage * ratio, -advantage * held), (ratio != held).double()


@dataclass
class Rounds:
    """Rounds of drawing with the weights at hand, and the updates made from each.

    A round draws `per_prompt` pictures of as many prompts as its updates take; every prompt has had
    its turn before one comes again.
    """

    policy: Policy
    prompts: Mapping[str, str]  # by id
    name: str
    seed: int
    per_prompt: int
    updates: int  # of a round
    batch_size: int  # pictures of an update
    size: int  # pictures in memory at once
    clip_range: float
    advantage_max: float
    _number: int = -1
    _round: list[tuple[Sequence[Request], Drawn, "torch.Tensor"]] = field(default_factory=list)

    def parts(self, step: int) -> list[Callable[[], "torch.Tensor"]]:
        """The summands of an update's loss: of some of its pictures and one step of drawing each.

        The first update of a round draws it; later ones must follow in the same process.
        """
        number, update = divmod(step, self.updates)
        if number != self._number:
            self._round, self._number = self.draw_round(number), number
        each = -(-self.batch_size // self.size)
        own = self._round[update * each : (update + 1) * each]
        told = [(*shard, self.policy.told(shard[0])) for shard in own]
        actions = self.policy.trajectory.actions
        return [partial(self.loss, *shard, action) for shard in told for action in actions]

    def loss(
        self, requests: Sequence[Request], drawn: Drawn, advantage: "torch.Tensor",
        predict: Predict, action: int,
    ) -> "torch.Tensor":  # fmt: skip
        """A part's share of loss, reward and clipped actions, (1 + watched, 1).

        A reward that is not known counts as 0 here. As in the released code, the ratio is of the
        densities of a latent's single numbers, their geometric mean, so that one clip range serves
        latents of any size.
        """
        import torch

        gaussian = self.policy.step(predict, drawn.latents[action], action)
        new = gaussian.log_density(drawn.latents[action + 1])
        moved = (new - drawn.log_densities[action]) / drawn.latents[0, 0].numel()
        losses, clipped = clipped_loss(moved, advantage, self.clip_range)
        share = self.batch_size * len(self.policy.trajectory.actions)
        rewards = drawn.rewards.nan_to_num(0.0)
        return torch.stack([losses.sum(), rewards.sum(), clipped.sum()]).float()[:, None] / share

    def draw_round(self, number: int) -> list[tuple[Sequence[Request], Drawn, "torch.Tensor"]]:
        """Draw a round in shards, which processes share; returns them with their advantages."""
        import torch

        requests = self.requests(number)
        cuts = [
            slice(start, min(start + self.size, end))
            for end in range(self.batch_size, len(requests) + 1, self.batch_size)
            for start in range(end - self.batch_size, end, self.size)
        ]
        largest = cuts[0].stop
        shards: list[Drawn] = []
        for first in range(0, len(cuts), team.size()):
            own = min(first + team.rank(), len(cuts) - 1)
            mine = self.policy.draw(requests[cuts[own]])
            for vector in team.gather(mine.flat(largest))[: len(cuts) - first]:
                cut = cuts[len(shards)]
                shards.append(mine.read(vector, cut.stop - cut.start))
        rewards = torch.cat([shard.rewards for shard in shards])
        if bool(rewards.isinf().any()) or bool(rewards.isnan().all()):
            raise SelmaError(
                f"round {number}: the rewards are not finite: {rewards.tolist()[:5]} …"
            )
        compared = advantages(rewards, self.per_prompt, self.advantage_max)
        return [
            (requests[cut], shard, compared[cut]) for cut, shard in zip(cuts, shards, strict=True)
        ]

    def requests(self, number: int) -> list[Request]:
        """The pictures of a round, those of a prompt together."""
        ids = sorted(self.prompts)
        each = self.updates * self.batch_size // self.per_prompt
        places = range(number * each, (number + 1) * each)
        order = [item_order(self.seed, self.name, p // len(ids), len(ids)) for p in places]
        chosen = [ids[own[place % len(ids)]] for own, place in zip(order, places, strict=True)]
        return [
            Request(
                prompt_id, sample, self.prompts[prompt_id],
                derive_seed(self.seed, "ddpo", self.name, place, prompt_id, sample),
            )
            for place, prompt_id in zip(places, chosen, strict=True)
            for sample in range(self.per_prompt)
        ]  # fmt: skip


def train_by_reward(
    name: str,
    prompts: Mapping[str, str],
    backbone: Backbone,
    reward: Reward,
    directory: Path,
    *,
    seed: int,
    rank: int,
    targets: Sequence[str] | None,
    per_prompt: int,
    updates_per_round: int,
    clip_range: float,
    advantage_max: float,
    guidance_scale: float,
    inference_steps: int,
    batch_size: int,
    micro_batch_size: int,
    **settings: Any,
) -> Trained:
    """Train a LoRA adapter by the rewards of what it draws; mutates the denoiser.

    DDPO-IS, arXiv 2305.13301, equation 5, with PPO's clipping. Different from its released code:

    1. Rewards are compared within one round's pictures of a prompt, not with running statistics.
    2. An update takes its pictures in the order drawn, and all their steps at once.
    3. All randomness comes from what is drawn, so a training resumes, at a round, in the same
       bytes.
    4. Log-densities are joint ones, in double precision; see also `Rounds.loss`.
    5. Only what is drawn is an action; see `StochasticTrajectory`.

    Args:
        name: of the training; all that is drawn depends on it.
        prompts: by id.
        backbone: frozen and without an adapter.
        reward: says how well pictures fit their prompts, each by itself.
        directory: keeps the progress, after each round.
        seed: the run's.
        rank: of the adapter, alpha = rank.
        targets: ends of the names of the layers that get it; None: the family's attention.
        per_prompt: pictures of a prompt in a round, which are compared with each other.
        updates_per_round: optimiser's steps from what was drawn once; all but the first are
            off-policy.
        clip_range: see `clipped_loss`.
        advantage_max: see `advantages`.
        guidance_scale: of classifier-free guidance, when drawing and when training.
        inference_steps: of drawing.
        batch_size: pictures of an update.
        micro_batch_size: pictures in memory at once.
        settings: the other keyword arguments of `selma.training.trainer.train_parts`.

    Raises:
        ConfigError: a round's pictures are no multiple of `per_prompt`, the backbone cannot be
            drawn from so, or a target fits no layer.
        SelmaError: rewards, loss, gradient or weights are not finite.
    """
    from selma.training.adapters import add_adapters

    if updates_per_round * batch_size % per_prompt:
        raise ConfigError(
            f"a round has {updates_per_round} × {batch_size} pictures, expected a multiple of "
            f"per_prompt ({per_prompt})"
        )
    trajectory = StochasticTrajectory(backbone, inference_steps)
    groups = add_adapters(
        backbone.denoiser, [name], targets=tuple(targets or backbone.targets), rank=rank,
        seed=derive_seed(seed, "lora-init"),
    )  # fmt: skip
    size = min(micro_batch_size, batch_size)
    rounds = Rounds(
        Policy(backbone, trajectory, guidance_scale, reward), prompts, name, seed, per_prompt,
        updates_per_round, batch_size, size, clip_range, advantage_max,
    )  # fmt: skip
    return train_parts(
        backbone,
        groups,
        rounds.parts,
        items=f"the rewards of {len(prompts)} prompts",
        batch_size=batch_size,
        part_size=size / len(trajectory.actions),
        watched=WATCHED,
        checkpointing=Checkpointing(directory / "state.safetensors", updates_per_round),
        **settings,
    )[name]
