"""Trains gated layers beside a frozen pocket base model, so that boxes say where things go.

GLIGEN, arXiv 2301.07093: in every transformer block a gated self-attention over the picture's cells
and grounding tokens, each made of a phrase's text state and a box. Where this departs from it:

1. Every object of a picture is known with its exact box, so nothing is grounded by a detector.
2. A share of the pictures is grounded in part or not at all, so that the null tokens learn too:
   the unconditional half of a guided step has nothing else.
3. The gates start open and the layers behind them start as the block's own, with outputs of zero.
   That also begins exactly at the base model, but no weight waits for a scalar gate to leave zero.
4. A phrase may say less than is seen ("a circle"), as an editor's phrases do.
5. A second loss, which falls to nothing by the end, shows the attention where to look.

The order of grounding tokens has no meaning: nothing in the layers tells one place from another.
"""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.files import write_json
from selma.core.seeds import derive_seed
from selma.foundation.grounding_attention import GatedAttention
from selma.foundation.grounding_set import GroundingSet, batch_drawer
from selma.foundation.params import GroundingParams
from selma.foundation.training import fit, round_to_float16
from selma.training.loop import TrainingState, one_cycle

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline as Pipeline
    from diffusers import UNet2DConditionModel as UNet
    from torch import Tensor
    from torch.nn import Parameter

TRAINED = ("fuser.", "position_net.")


def load_base(directory: Path) -> "Pipeline":
    """Load a base model whose weights shall not change, in eval mode."""
    import torch
    from diffusers import StableDiffusionPipeline

    base = StableDiffusionPipeline.from_pretrained(directory, safety_checker=None)
    for model in (base.unet, base.vae, base.text_encoder):
        model.eval().requires_grad_(False)
    base.unet.to(memory_format=torch.channels_last)  # as the gated one: the last bits depend on it
    return base


def build_gated_unet(base: "UNet", seed: int) -> "UNet":
    """Build a U-Net with base's weights, frozen, and gated layers that add nothing yet.

    So it predicts what base predicts, bit for bit, with grounding and without.
    """
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(derive_seed(seed, "gated-layers"))
    config = {key: value for key, value in base.config.items() if not key.startswith("_")}
    unet = UNet2DConditionModel(**config | {"attention_type": "gated"})
    unet.load_state_dict(unet.state_dict() | base.state_dict())
    for block in unet.modules():
        if hasattr(block, "fuser"):
            _start_gated(block)
    unet.requires_grad_(False)
    for parameter in gated_parameters(unet).values():
        parameter.requires_grad_(True)
    return unet.to(memory_format=torch.channels_last)


def _start_gated(block: Any) -> None:
    """Start a transformer block's gated layer from the block itself, silent behind open gates."""
    import torch

    fuser = block.fuser
    copies = ((fuser.attn, block.attn1), (fuser.norm1, block.norm1))
    for own, source in (*copies, (fuser.ff, block.ff), (fuser.norm2, block.norm3)):
        own.load_state_dict(source.state_dict())
    with torch.no_grad():
        for output in (fuser.attn.to_out[0], fuser.ff.net[-1]):
            output.weight.zero_()
            output.bias.zero_()
        fuser.alpha_attn.fill_(1.0)
        fuser.alpha_dense.fill_(1.0)


def gated_parameters(unet: "UNet") -> "dict[str, Parameter]":
    """Find what is trained: the gated layers and what makes their tokens."""
    named = unet.named_parameters()
    return {name: p for name, p in named if any(part in f"{name}." for part in TRAINED)}


def train_grounding(
    training_set: GroundingSet,
    base: "Pipeline",
    plan: GroundingParams,
    *,
    seed: int,
    device: str,
    work: Path,
    on_state: Callable[[TrainingState], None] | None = None,
) -> tuple["UNet", list[float]]:
    """Train gated layers with the v-prediction and attention losses; base stays, bit for bit.

    Returns the U-Net in eval mode, with the average of the gated weights rounded to float16, in
    which they are stored, and one loss per step.
    """
    import torch

    unet = build_gated_unet(base.unet, seed).to(device)
    text_encoder = copy.deepcopy(base.text_encoder).to(device)
    attention = GatedAttention(unet)
    draw = batch_drawer(training_set, base, plan, seed)

    def loss_at(step: int) -> "Tensor":
        batch = draw(step).to(device)
        noisy = base.scheduler.add_noise(batch.latents, batch.noise, batch.timesteps)
        with torch.no_grad():
            text = text_encoder(batch.token_ids)[0]
        grounding = batch.grounding.arguments()
        prediction = unet(noisy, batch.timesteps, text, cross_attention_kwargs=grounding).sample
        target = base.scheduler.get_velocity(batch.latents, batch.noise, batch.timesteps)
        weight = plan.attention_weight * (1 - step / plan.train_steps)
        shown = weight * attention.loss(batch.grounding)
        return torch.nn.functional.mse_loss(prediction, target) + shown

    parameters = gated_parameters(unet)
    with attention.watched():
        state = fit(
            "gated layers",
            work / "state.safetensors",
            plan.train_steps,
            plan.checkpoint_every_steps,
            parameters=parameters,
            loss_at=loss_at,
            learning_rate_at=one_cycle(plan.learning_rate, plan.train_steps),
            average_decay=plan.average_decay,
            on_state=on_state,
        )
    with torch.no_grad():
        for name, average in state.final().items():
            parameters[name].copy_(average)
    round_to_float16(parameters)
    return unet.cpu().eval(), state.curve()


def save_grounded(directory: Path, base: Path, unet: "UNet") -> None:
    """Write a StableDiffusionGLIGENPipeline folder: base's files, to the byte, with another U-Net.

    The U-Net is stored as base's is, in float16.
    """
    shutil.copytree(base, directory, ignore=shutil.ignore_patterns("unet"), dirs_exist_ok=True)
    index = json.loads((base / "model_index.json").read_text(encoding="utf-8"))
    del index["image_encoder"]  # which that pipeline does not have
    write_json(
        directory / "model_index.json", index | {"_class_name": "StableDiffusionGLIGENPipeline"}
    )
    copy.deepcopy(unet).half().save_pretrained(directory / "unet", safe_serialization=True)
