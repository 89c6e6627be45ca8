"""A training loop whose every step depends on its number alone, so that it resumes exactly."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from selma.core import team
from selma.core.errors import RecordError, SelmaError
from selma.core.files import written_whole

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Checkpointing:
    """Where and how often a training keeps its state; `path` is one safetensors file."""

    path: Path
    every_steps: int


@dataclass(frozen=True)
class Selection:
    """Which step's weights are handed out: those of the least `measure`, taken every few steps."""

    every_steps: int
    measure: Callable[[], Sequence[float]]  # of each group's weights at hand, and of nothing else


@dataclass
class TrainingState:
    """Everything that decides the next step, and what has been seen on the way.

    That is weights, Adam's moments, scale, average and step; of each step the groups' losses,
    gradient norms and what was watched beside them; and, with a selection, what was measured after
    which step and the best weights so far. The parameters are in groups, trained side by side.
    """

    groups: Sequence[Mapping[str, "torch.nn.Parameter"]]
    optimiser: "torch.optim.Optimizer"
    scaler: "torch.amp.GradScaler"
    average: dict[str, "torch.Tensor"] = field(default_factory=dict)
    step: int = 0
    losses: list[list[float]] = field(default_factory=list)
    norms: list[list[float]] = field(default_factory=list)
    watched: list[list[float]] = field(default_factory=list)  # one quantity's groups after another
    measured: list[tuple[int, list[float]]] = field(default_factory=list)
    best: dict[str, "torch.Tensor"] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, "torch.nn.Parameter"]:
        """All that is trained, by names that are their own."""
        return {f"{n}/{name}": p for n, own in enumerate(self.groups) for name, p in own.items()}

    def final(self, group: int = 0) -> dict[str, "torch.Tensor"]:
        """Hand out a group's weights: the best, else their average, else the last."""
        kept = self.best or self.average or self.parameters
        return {name: kept[f"{group}/{name}"].detach() for name in self.groups[group]}

    def best_step(self, group: int = 0) -> int:
        """Say whose weights `final` are: the first step of the least measure, else the last."""
        measured = [(values[group], step) for step, values in self.measured]
        return min(measured)[1] if measured else self.step

    def curve(self, group: int = 0) -> list[float]:
        """List a group's losses, one of each step."""
        return [losses[group] for losses in self.losses]

    def seen(self, quantity: int, group: int = 0) -> list[float]:
        """List what was watched of a group, by its place after the losses, one of each step."""
        return [values[quantity * len(self.groups) + group] for values in self.watched]

    def save(self, path: Path) -> None:
        """Write the state to one safetensors file, whole or not at all."""
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        tensors = {f"weight/{name}": p.detach() for name, p in self.parameters.items()}
        tensors |= {f"average/{name}": tensor for name, tensor in self.average.items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimiser.state[parameter].items():
                tensors[f"optimiser/{key}/{name}"] = torch.as_tensor(value)
        tensors = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
        names = ("step", "losses", "norms", "watched", "measured")
        seen = {n: getattr(self, n) for n in names} | {"scaler": self.scaler.state_dict()}
        with written_whole(path) as part:
            try:
                save_file(tensors, part, metadata={"state": json.dumps(seen)})
            except SafetensorError as error:
                raise OSError(f"the checkpoint cannot be written ({error})") from error

    def load(self, path: Path) -> None:
        """Take up what `save` wrote; RecordError if it is damaged or of other parameters."""
        import torch
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as handle:
                header = json.loads(handle.metadata()["state"])
                tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
            with torch.no_grad():
                for name, parameter in self.parameters.items():
                    parameter.copy_(tensors[f"weight/{name}"])
        except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
            raise RecordError(
                f"{path}: not a checkpoint of this training ({error}); "
                "SELMA_FRESH=1 starts the training anew"
            ) from error
        for kept in ("average", "best"):
            found = {
                name: _as_kept_for(parameter, tensors[f"{kept}/{name}"])
                for name, parameter in self.parameters.items()
                if f"{kept}/{name}" in tensors
            }
            setattr(self, kept, found)
        for name, parameter in self.parameters.items():
            self.optimiser.state[parameter] = {
                key.split("/")[1]: _as_kept_for(parameter, tensor)
                for key, tensor in tensors.items()
                if key.startswith("optimiser/") and key.split("/", 2)[2] == name
            }
        self.step, self.losses, self.norms = header["step"], header["losses"], header["norms"]
        self.watched = header["watched"]
        self.measured = [(step, value) for step, value in header["measured"]]
        if header.get("scaler"):
            self.scaler.load_state_dict(header["scaler"])


def _as_kept_for(parameter: "torch.Tensor", stored: "torch.Tensor") -> "torch.Tensor":
    """Copy a stored tensor to the device and memory layout of its parameter's state.

    A file holds row-major tensors on the CPU, but fused AdamW wants the state beside its parameter
    and pairs their values by their place in memory, without a word when the layouts differ.
    """
    import torch

    if stored.shape != parameter.shape:  # the step count
        return stored.to(parameter.device)
    return torch.empty_like(parameter, dtype=stored.dtype, requires_grad=False).copy_(stored)


def train(
    groups: Sequence[Mapping[str, "torch.nn.Parameter"]],
    parts_at: Callable[[int], Sequence[Callable[[], "torch.Tensor"]]],
    *,
    train_steps: int,
    learning_rate_at: Callable[[int], float],
    weight_decay: float = 0.01,
    max_gradient_norm: float = 1.0,
    average_decay: float | None = None,
    scaled: bool = False,
    selection: Selection | None = None,
    stop: Callable[[TrainingState], bool] | None = None,
    checkpointing: Checkpointing | None = None,
    on_step: Callable[[int, float], None] | None = None,
    on_state: Callable[[TrainingState], None] | None = None,
) -> TrainingState:
    """Minimise losses with AdamW; mutates the parameters, and returns the final state.

    A run that was killed and is started again ends in the same bytes: the state on disk is complete
    and `parts_at` draws all its randomness from the step's number.

    Args:
        groups: what is trained, by name. Groups are trained side by side, as each alone would be:
            a group's loss depends on its parameters alone.
        parts_at: computes each summand of the losses of step 0 … train_steps − 1, one loss for each
            group, (G,) or () for one; they depend on the step and the weights alone. Of (1 + W, G)
            the first row is minimised and the others are watched. Gradients are added up in the
            parts' order, also where a team shares them; then the leader alone keeps the state.
        train_steps: number of updates.
        learning_rate_at: the learning rate of each step.
        weight_decay: AdamW's decoupled decay.
        max_gradient_norm: the gradient of all parameters of a group is clipped to this norm.
        average_decay: keep an exponential moving average of the weights with this decay, warmed up
            as min(decay, (1 + step) / (10 + step)); None keeps none.
        scaled: scale the loss up, so that float16 gradients do not vanish; a step whose gradient
            overflows is left out and the scale halved.
        selection: which step's weights are handed out; None: the last.
        stop: looks at the losses and what was watched so far, and says whether to end here.
        checkpointing: where to keep the state; an existing one is taken up.
        on_step: called after each step with the number of steps done and the sum of the losses.
        on_state: called after each step with the whole state, to look at, not to change.

    Raises:
        RecordError: the checkpoint cannot be read.
        SelmaError: a loss, a gradient or the weights are not finite. Such a step is not applied or,
            if its result is the problem, not kept: the checkpoint on disk stays the last good one.
    """
    import torch

    trained = [parameter for group in groups for parameter in group.values()]
    optimiser = torch.optim.AdamW(
        trained, lr=learning_rate_at(0), weight_decay=weight_decay, fused=True
    )
    scaler = torch.amp.GradScaler(trained[0].device.type, enabled=scaled)
    state = TrainingState(groups, optimiser, scaler)
    if average_decay is not None:
        state.average = {name: p.detach().clone() for name, p in state.parameters.items()}
    if checkpointing is not None and checkpointing.path.exists():
        state.load(checkpointing.path)
    while state.step < train_steps and not (stop and stop(state)):
        optimiser.param_groups[0]["lr"] = learning_rate_at(state.step)
        values = _take_gradients(trained, parts_at(state.step), scaler)
        losses, watched = values[: len(groups)], values[len(groups) :]
        scaler.unscale_(optimiser)
        norms = [
            float(torch.nn.utils.clip_grad_norm_(list(group.values()), max_gradient_norm))
            for group in groups
        ]
        if not all(map(math.isfinite, losses)):
            raise _diverged(f"the loss is {sum(losses)}", state)
        if not all(map(math.isfinite, norms)) and not (scaled and scaler.get_scale() > 1):
            raise _diverged(f"the norm of the gradient is {sum(norms)}", state)
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad(set_to_none=True)
        if average_decay is not None:
            _average(state, min(average_decay, (1 + state.step) / (10 + state.step)))
        done = state.step + 1
        keep = checkpointing is not None and done % checkpointing.every_steps == 0
        look = keep or done == train_steps
        if look and not all(bool(p.isfinite().all()) for p in trained):
            raise _diverged("the weights after it are not finite", state)
        state.losses.append(losses)
        state.norms.append(norms)
        state.watched.append(watched)
        state.step = done
        if selection and (done % selection.every_steps == 0 or done == train_steps):
            _measure(state, selection)
        if checkpointing is not None and keep and not team.rank():
            state.save(checkpointing.path)
        if on_step is not None:
            on_step(state.step, sum(losses))
        if on_state is not None:
            on_state(state)
    team.join()
    return state


def _take_gradients(
    trained: Sequence["torch.nn.Parameter"],
    parts: Sequence[Callable[[], "torch.Tensor"]],
    scaler: "torch.amp.GradScaler",
) -> list[float]:
    """Add the gradients of a loss's summands to their parameters; returns what they summed to."""
    import torch

    values: list[torch.Tensor] = []
    if team.size() == 1:
        for part in parts:
            loss = part()
            least = loss[0] if loss.ndim == 2 else loss
            scaler.scale(least.sum()).backward()  # type: ignore[no-untyped-call]
            values.append(loss.detach())
        return _listed(values)
    totals = [torch.zeros_like(p) for p in trained]
    for first in range(0, len(parts), team.size()):
        own = min(first + team.rank(), len(parts) - 1)  # at the end some compute what is not asked
        loss = parts[own]()
        least = loss[0] if loss.ndim == 2 else loss
        scaled = scaler.scale(least.sum())  # by all: it sets the scale up
        gradients = torch.autograd.grad(scaled, trained, allow_unused=True)
        pairs = zip(trained, gradients, strict=True)
        known = [torch.zeros_like(p) if g is None else g for p, g in pairs]
        loss = loss.detach().reshape(-1)  # ((1 + W) G,)
        flat = torch.cat([loss, *(g.flatten() for g in known)])
        for vector in team.gather(flat)[: len(parts) - first]:
            values.append(vector[: len(loss)])
            pieces = torch.split(vector[len(loss) :], [p.numel() for p in trained])
            for total, piece in zip(totals, pieces, strict=True):
                total += piece.view(total.shape)
    for parameter, total in zip(trained, totals, strict=True):
        parameter.grad = total
    return _listed(values)


def _listed(values: Sequence["torch.Tensor"]) -> list[float]:
    """Add up what the parts of a step say."""
    import torch

    total: list[float] = torch.stack(list(values)).sum(0).reshape(-1).tolist()
    return total


def _average(state: TrainingState, decay: float) -> None:
    import torch

    averages = [state.average[name] for name in state.parameters]
    with torch.no_grad():
        torch._foreach_lerp_(averages, [p.detach() for p in state.parameters.values()], 1 - decay)


def _measure(state: TrainingState, selection: Selection) -> None:
    """Measure the weights that would be handed out now, and keep each group's best."""
    import torch

    parameters = state.parameters
    kept = {name: p.detach().clone() for name, p in parameters.items()}
    now = state.average or kept
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(now[name])
        values = list(selection.measure())
        for name, parameter in parameters.items():
            parameter.copy_(kept[name])
    for group, names in enumerate(state.groups):
        before = [known[group] for _, known in state.measured]
        if not before or values[group] < min(before):
            own = (f"{group}/{name}" for name in names)
            state.best |= {name: now[name].clone() for name in own}
    state.measured.append((state.step, values))


def _diverged(what: str, state: TrainingState) -> SelmaError:
    rate = state.optimiser.param_groups[0]["lr"]
    return SelmaError(
        f"training step {state.step}: {what}; lower learning_rate (here {rate:g}) or, "
        "if it is another, set dtype to float32; the last good checkpoint is kept"
    )


def one_cycle(peak: float, train_steps: int) -> Callable[[int], float]:
    """Schedule the learning rate: linear warm-up to `peak` in 5 %, then a cosine to zero."""
    warmup = max(1, round(train_steps * 0.05))

    def learning_rate_at(step: int) -> float:
        if step < warmup:
            return peak * (step + 1) / warmup
        done = (step - warmup) / max(1, train_steps - warmup)
        return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return learning_rate_at


def with_cooldown(
    learning_rate_at: Callable[[int], float], train_steps: int, cooldown_steps: int
) -> Callable[[int], float]:
    """End a schedule early: over the last `cooldown_steps` the rate goes linearly to zero."""

    def cooled(step: int) -> float:
        left = (train_steps - step) / cooldown_steps if cooldown_steps else 1.0
        return learning_rate_at(step) * min(1.0, left)

    return cooled
