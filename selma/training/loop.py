"""A training loop whose every step depends on its number alone, so that it resumes exactly."""

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from selma.core.errors import RecordError, SelmaError, one_line
from selma.core.files import write_bytes_atomic

if TYPE_CHECKING:
    import torch

_NOT_A_CHECKPOINT = UnpicklingError, EOFError, LookupError, TypeError, ValueError, RuntimeError


@dataclass(frozen=True)
class Checkpointing:
    """Where and how often a training keeps its state; `path` is one file."""

    path: Path
    every_steps: int


@dataclass
class TrainingState:
    """Everything that decides the next step: weights, Adam's moments, the average, the step."""

    parameters: Mapping[str, "torch.nn.Parameter"]
    optimiser: "torch.optim.Optimizer"
    average: dict[str, "torch.Tensor"] = field(default_factory=dict)
    step: int = 0
    losses: list[float] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the state to one file, whole or not at all."""
        import torch

        weights = {name: parameter.detach() for name, parameter in self.parameters.items()}
        state = {"weights": weights, "average": self.average, "step": self.step}
        state |= {"losses": self.losses, "optimiser": self.optimiser.state_dict()}
        data = io.BytesIO()  # torch.save does not say what the system refused
        torch.save(state, data)
        write_bytes_atomic(path, data.getvalue())

    def load(self, path: Path) -> None:
        """Take up what `save` wrote; RecordError if it is damaged or of other parameters.

        Each tensor comes back in its own memory layout, without which fused AdamW would pair the
        values of its state and of its parameter wrongly, and say nothing.
        """
        import torch

        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            with torch.no_grad():
                for name, parameter in self.parameters.items():
                    parameter.copy_(state["weights"][name])
            self.optimiser.load_state_dict(state["optimiser"])
            self.average = {
                name: average.to(self.parameters[name].device)
                for name, average in state["average"].items()
            }
            self.step, self.losses = state["step"], state["losses"]
        except _NOT_A_CHECKPOINT as error:
            raise RecordError(
                f"{path}: not a checkpoint of this training ({one_line(error)}); "
                "SELMA_FRESH=1 starts the training anew"
            ) from error


def train(
    parameters: Mapping[str, "torch.nn.Parameter"],
    loss_at: Callable[[int], "torch.Tensor"],
    *,
    train_steps: int,
    learning_rate_at: Callable[[int], float],
    weight_decay: float = 0.01,
    max_gradient_norm: float = 1.0,
    average_decay: float | None = None,
    checkpointing: Checkpointing | None = None,
    on_step: Callable[[int, float], None] | None = None,
    on_state: Callable[[TrainingState], None] | None = None,
) -> TrainingState:
    """Minimise a loss with AdamW; mutates `parameters`, which are by name; returns the final state.

    `loss_at` is the loss of step 0 … train_steps − 1, a scalar. It draws all its randomness from
    the step's number, and the state that `checkpointing` keeps is complete, so that a run that was
    killed and is started again ends in the same bytes. The gradient of all parameters together is
    clipped to `max_gradient_norm`. `average_decay` keeps an exponential moving average of the
    weights, its decay warmed up as min(decay, (1 + step) / (10 + step)). After each step `on_step`
    is called with the number of steps done and the loss, `on_state` with the whole state, to look
    at, not to change.

    RecordError if the checkpoint cannot be read; SelmaError if a loss, a gradient or the weights
    are not finite. Such a step is not applied or, if its result is the problem, not kept: the
    checkpoint on disk stays the last good one.
    """
    import torch

    optimiser = torch.optim.AdamW(
        list(parameters.values()), lr=learning_rate_at(0), weight_decay=weight_decay, fused=True
    )
    state = TrainingState(parameters, optimiser)
    if average_decay is not None:
        state.average = {name: p.detach().clone() for name, p in parameters.items()}
    if checkpointing is not None and checkpointing.path.exists():
        state.load(checkpointing.path)
    while state.step < train_steps:
        optimiser.param_groups[0]["lr"] = learning_rate_at(state.step)
        loss = loss_at(state.step)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(list(parameters.values()), max_gradient_norm)
        value = float(loss.detach())
        for what, number in (("loss", value), ("norm of the gradient", float(norm))):
            if not math.isfinite(number):
                raise _diverged(f"the {what} is {number}", state)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if average_decay is not None:
            _average(state, min(average_decay, (1 + state.step) / (10 + state.step)))
        done = state.step + 1
        keep = checkpointing is not None and done % checkpointing.every_steps == 0
        look = keep or done == train_steps
        if look and not all(bool(p.isfinite().all()) for p in parameters.values()):
            raise _diverged("the weights after it are not finite", state)
        state.losses.append(value)
        state.step = done
        if checkpointing is not None and keep:
            state.save(checkpointing.path)
        if on_step is not None:
            on_step(state.step, value)
        if on_state is not None:
            on_state(state)
    return state


def _average(state: TrainingState, decay: float) -> None:
    import torch

    averages = [state.average[name] for name in state.parameters]
    with torch.no_grad():
        torch._foreach_lerp_(averages, [p.detach() for p in state.parameters.values()], 1 - decay)


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
