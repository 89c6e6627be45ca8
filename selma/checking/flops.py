"""Counts what a model computes, on tensors that have shapes and no numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from selma.diffusion.stable_diffusion import StableDiffusion
from selma.training.speed import count_operations

TOKENS = 77  # of CLIP's text encoders


@dataclass(frozen=True)
class Costs:
    """Floating-point operations for one picture of a model, and the size of its adapter."""

    predict: int  # one prediction of the denoiser, without an adapter
    train: int  # one training sample: prediction and gradient of an adapter, base frozen
    encode: int  # the VAE's encoder
    decode: int  # the VAE's decoder
    parameters: int  # of the adapter


def count_costs(
    unet: Mapping[str, Any], vae: Mapping[str, Any], rank: int,
    targets: tuple[str, ...] = StableDiffusion.targets, tokens: int = TOKENS,
) -> Costs:  # fmt: skip
    """Count from the configs of a U-Net and a VAE; the adapter is on `targets`, of a rank.

    It is counted as two thin products, as half precision computes it.
    """
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    from selma.training.adapters import add_adapters

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
    predict = count_operations(lambda: denoiser(**inputs))
    encode = count_operations(lambda: autoencoder.encode(pixels))
    decode = count_operations(lambda: autoencoder.decode(latents))
    adapter = add_adapters(denoiser, ["one"], targets=targets, rank=rank, seed=0)["one"]

    def train() -> None:
        denoiser(**inputs).sample.sum().backward()

    parameters = sum(one.numel() for one in adapter.values())
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
