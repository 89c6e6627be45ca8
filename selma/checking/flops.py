"""Counts what a model computes, on tensors that have shapes and no numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from selma.diffusion.stable_diffusion import StableDiffusion
from selma.training.speed import count_operations

if TYPE_CHECKING:
    import torch

TOKENS = 77  # of CLIP's text encoders


@dataclass(frozen=True)
class Costs:
    """Floating-point operations for one picture of a model, and the size of what it is taught."""

    predict: int  # one prediction of the denoiser, without an adapter but a router
    train: int  # one training sample: prediction and gradient of what is trained, base frozen
    encode: int  # the VAE's encoder
    decode: int  # the VAE's decoder
    parameters: int  # of what is trained


def count_costs(
    unet: Mapping[str, Any], vae: Mapping[str, Any], rank: int,
    targets: tuple[str, ...] = StableDiffusion.targets, tokens: int = TOKENS,
) -> Costs:  # fmt: skip
    """Count from the configs of a U-Net and a VAE; the adapter is on `targets`, of a rank.

    It is counted as two thin products, as half precision computes it.
    """
    from selma.training.adapters import add_adapters

    def adapt(denoiser: Any) -> "list[torch.nn.Parameter]":
        found = add_adapters(denoiser, ["one"], targets=targets, rank=rank, seed=0)
        return list(found["one"].values())

    return _count(unet, vae, tokens, adapt, drawn_adapted=False)


def count_router(
    unet: Mapping[str, Any], vae: Mapping[str, Any],
    experts: Sequence[tuple[int, tuple[str, ...]]], top_k: int, tokens: int = TOKENS,
) -> Costs:  # fmt: skip
    """Count with a router of experts, each of a rank on its targets, and train its gates alone.

    A prediction is of the routed layers; the parameters are the gates'.
    """
    import torch

    from selma.diffusion.routing import RoutedLinear

    def adapt(denoiser: Any) -> list[torch.nn.Parameter]:
        gates = []
        for name, layer in list(denoiser.named_modules()):
            own = [rank if f".{name}".endswith(tuple(f".{t}" for t in targets)) else 0
                   for rank, targets in experts]  # fmt: skip
            if isinstance(layer, torch.nn.Linear) and any(own):
                shape = layer.in_features, layer.out_features
                factors = [(_empty(r, shape[0]), _empty(shape[1], r)) if r else None for r in own]
                routed = RoutedLinear(layer, factors, _empty(len(own), shape[0]), top_k)
                denoiser.set_submodule(name, routed)
                gates.append(routed.gate)
        return gates

    return _count(unet, vae, tokens, adapt, drawn_adapted=True)


def _count(
    unet: Mapping[str, Any], vae: Mapping[str, Any], tokens: int,
    adapt: "Callable[[Any], list[torch.nn.Parameter]]", *, drawn_adapted: bool,
) -> Costs:  # fmt: skip
    """Count; `adapt` puts on a denoiser what is trained, for `drawn_adapted` also to draw."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    with torch.device("meta"):
        denoiser = UNet2DConditionModel.from_config(dict(unet))
        autoencoder = AutoencoderKL.from_config(dict(vae))
    for model in (denoiser, autoencoder):
        torch.nn.Module.to(model, torch.bfloat16).requires_grad_(False)
    inputs = _inputs(denoiser.config, tokens)
    reduction = 2 ** (len(autoencoder.config.block_out_channels) - 1)
    side = denoiser.config.sample_size * reduction
    pixels = _empty(1, 3, side, side)
    latents = _empty(1, denoiser.config.in_channels, side // reduction, side // reduction)
    encode = count_operations(lambda: autoencoder.encode(pixels))
    decode = count_operations(lambda: autoencoder.decode(latents))
    plain = count_operations(lambda: denoiser(**inputs))
    trained = adapt(denoiser)
    predict = count_operations(lambda: denoiser(**inputs)) if drawn_adapted else plain

    def train() -> None:
        denoiser(**inputs).sample.sum().backward()

    parameters = sum(one.numel() for one in trained)
    return Costs(predict, count_operations(train), encode, decode, parameters)


def _inputs(config: Any, tokens: int) -> dict[str, Any]:
    side = config.sample_size
    inputs: dict[str, Any] = {
        "sample": _empty(1, config.in_channels, side, side),
        "timestep": _empty(1),
        "encoder_hidden_states": _empty(1, tokens, config.cross_attention_dim),
    }
    if config.addition_embed_type == "text_time":
        sizes = 6 * config.addition_time_embed_dim
        pooled = _empty(1, config.projection_class_embeddings_input_dim - sizes)
        inputs["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": _empty(1, 6)}
    return inputs


def _empty(*shape: int) -> Any:
    import torch

    return torch.empty(shape, device="meta", dtype=torch.bfloat16)
