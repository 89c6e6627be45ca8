"""Trains a pocket base model: text encoder and U-Net together, on cached latents, v-prediction."""

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selma.core.seeds import derive_seed
from selma.foundation.autoencoder import to_tensor
from selma.foundation.pictures import CaptionNoise, captioned_picture
from selma.foundation.storage import load_as_float32
from selma.training.loop import Checkpointing, TrainingState, one_cycle, train, with_cooldown

if TYPE_CHECKING:
    import torch
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel, CLIPTokenizer

TEXT_WIDTH = 96
CAPTIONS_PER_PICTURE = 4
TIMESTEP_POWER = 1.5  # t = T·u^1.5: small latents lose their information early
EMPTY_CAPTION_SHARE = 0.1  # for classifier-free guidance


@dataclass(frozen=True)
class TrainingSet:
    """Cached latents and tokenised captions; the picture of row i has captions token_ids[i]."""

    latents: NDArray[np.float32]  # (N, 4, 8, 8), scaled
    token_ids: NDArray[np.int16]  # (N, CAPTIONS_PER_PICTURE, max tokens)


def build_noise_scheduler() -> "DDIMScheduler":
    """Build the noise schedule: scaled-linear betas rescaled to zero terminal SNR, v-prediction."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=False,
    )


def build_text_encoder(tokenizer: "CLIPTokenizer", seed: int) -> "CLIPTextModel":
    """Build the untrained text encoder: 3 layers of width 96."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(derive_seed(seed, "text-encoder"))
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            hidden_act="gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_unet(channels: tuple[int, int], seed: int) -> "UNet2DConditionModel":
    """Build the untrained U-Net on 8×8×4 latents with cross-attention at both levels."""
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(derive_seed(seed, "unet"))
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=channels,
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=tuple(width // 32 for width in channels),  # number of heads
        norm_num_groups=16,
    ).to(memory_format=torch.channels_last)


def build_training_set(
    autoencoder: "AutoencoderKL",
    tokenizer: "CLIPTokenizer",
    *,
    seed: int,
    pictures: int,
    noise: CaptionNoise,
    advance: Callable[[int], None],
) -> TrainingSet:
    """Draw pictures with captions, encode the pictures, tokenise the captions."""
    import torch

    chunk = 1000
    latents, token_ids = [], []
    for start in range(0, pictures, chunk):
        rows = [
            captioned_picture(seed, index, captions=CAPTIONS_PER_PICTURE, noise=noise)
            for index in range(start, min(start + chunk, pictures))
        ]
        with torch.no_grad():
            pixels = to_tensor(np.stack([row.picture for row in rows]))
            mean = autoencoder.encode(pixels).latent_dist.mean * autoencoder.config.scaling_factor
        latents.append(mean.contiguous().numpy())
        captions = [caption for row in rows for caption in row.captions]
        token_ids.append(tokenise(tokenizer, captions).reshape(len(rows), CAPTIONS_PER_PICTURE, -1))
        advance(len(rows))
    return TrainingSet(np.concatenate(latents), np.concatenate(token_ids))


def kept_training_set(directory: Path, build: Callable[[], TrainingSet]) -> TrainingSet:
    """Take the training set from `directory`, or build it and keep it there for a restart."""
    files = directory / "latents.npy", directory / "token_ids.npy"
    if not all(file.exists() for file in files):
        built = build()
        directory.mkdir(parents=True, exist_ok=True)
        for file, array in zip(files, (built.latents, built.token_ids), strict=True):
            part = file.with_suffix(".part.npy")
            np.save(part, np.asarray(array))
            os.replace(part, file)
    return TrainingSet(np.load(files[0]), np.load(files[1]))


def tokenise(tokenizer: "CLIPTokenizer", texts: Sequence[str]) -> NDArray[np.int16]:
    """Tokenise to the model's full length, as the pipeline does; (N, max tokens)."""
    encoded = tokenizer(
        list(texts), padding="max_length", truncation=True, max_length=tokenizer.model_max_length
    )
    return np.array(encoded["input_ids"], dtype=np.int16)


def use_float32_attention(unet: "UNet2DConditionModel") -> None:
    """Let attention scores be computed in float32 under bfloat16 autocast.

    On CPUs the bfloat16 backward of the attention kernel is several times slower than float32's.
    """
    import torch
    from diffusers.models.attention_processor import Attention

    def attend(
        attention: Attention,
        hidden_states: "torch.Tensor",
        encoder_hidden_states: "torch.Tensor | None" = None,
        attention_mask: "torch.Tensor | None" = None,
        **_: Any,
    ) -> "torch.Tensor":
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            layer(x).unflatten(-1, (attention.heads, -1)).transpose(1, 2)  # (N, heads, tokens, d)
            for layer, x in (
                (attention.to_q, hidden_states),
                (attention.to_k, source),
                (attention.to_v, source),
            )
        )
        with torch.autocast(query.device.type, enabled=False):
            mixed = torch.nn.functional.scaled_dot_product_attention(
                query.float(), key.float(), value.float()
            )
        mixed = mixed.transpose(1, 2).flatten(2).to(query.dtype)  # (N, tokens, heads·d)
        result: torch.Tensor = attention.to_out[1](attention.to_out[0](mixed))
        return result

    unet.set_attn_processor(attend)


Models = tuple["CLIPTextModel", "UNet2DConditionModel"]


def train_denoiser(
    training_set: TrainingSet,
    tokenizer: "CLIPTokenizer",
    *,
    channels: tuple[int, int],
    seed: int,
    train_steps: int,
    schedule_steps: int,
    cooldown_steps: int,
    batch_size: int,
    learning_rate: float,
    average_decay: float,
    device: str,
    checkpointing: Checkpointing | None = None,
    on_step: Callable[[int, float], None] | None = None,
    on_average: Callable[[int, "CLIPTextModel", "UNet2DConditionModel"], None] | None = None,
    average_every_steps: int = 0,
) -> tuple["CLIPTextModel", "UNet2DConditionModel", list[float]]:
    """Train text encoder and U-Net from nothing with the v-prediction loss.

    Timesteps are stratified within a batch. bfloat16 autocast; weights and loss are float32.
    The learning rate is a cosine over `schedule_steps`, cut short at `train_steps` by a linear
    cooldown over the last `cooldown_steps`. `on_average`, if given, sees copies of both models
    with the averaged weights every `average_every_steps` steps.

    Returns:
        Both models with averaged weights, in eval mode, and one loss per step.
    """
    import torch

    noise_scheduler = build_noise_scheduler()
    text_encoder = build_text_encoder(tokenizer, seed)
    text_encoder.to(device)
    unet = build_unet(channels, seed).to(device)
    processors = dict(unet.attn_processors)
    use_float32_attention(unet)
    latents_of = torch.from_numpy(training_set.latents)
    token_ids_of = torch.from_numpy(training_set.token_ids)
    empty = torch.from_numpy(tokenise(tokenizer, [""])[0])

    def loss_at(step: int) -> "torch.Tensor":
        generator = torch.Generator().manual_seed(derive_seed(seed, "denoiser", step))
        rows = torch.randint(len(latents_of), (batch_size,), generator=generator)
        which = torch.randint(CAPTIONS_PER_PICTURE, (batch_size,), generator=generator)
        latents = latents_of[rows].contiguous(memory_format=torch.channels_last)  # (N, 4, 8, 8)
        token_ids = token_ids_of[rows, which]  # (N, tokens)
        dropped = torch.rand(batch_size, generator=generator) < EMPTY_CAPTION_SHARE
        token_ids = torch.where(dropped[:, None], empty, token_ids).long()
        places = torch.arange(batch_size) + torch.rand(batch_size, generator=generator)
        strata = places / batch_size
        timesteps = (1000 * strata**TIMESTEP_POWER).long().clamp(max=999)
        noise = torch.randn(latents.shape, generator=generator)
        noise = noise.contiguous(memory_format=torch.channels_last)
        latents, noise, timesteps = latents.to(device), noise.to(device), timesteps.to(device)
        noisy = noise_scheduler.add_noise(latents, noise, timesteps)
        with torch.autocast(device, torch.bfloat16):
            text = text_encoder(token_ids.to(device))[0]
            prediction = unet(noisy, timesteps, text).sample
        target = noise_scheduler.get_velocity(latents, noise, timesteps)
        return torch.nn.functional.mse_loss(prediction.float(), target)

    parameters = {f"text_encoder.{n}": p for n, p in text_encoder.named_parameters()}
    parameters |= {f"unet.{n}": p for n, p in unet.named_parameters()}

    def averaged(average: Mapping[str, "torch.Tensor"]) -> Models:
        models = {"text_encoder": copy.deepcopy(text_encoder), "unet": copy.deepcopy(unet)}
        with torch.no_grad():
            for name, tensor in average.items():
                model, _, key = name.partition(".")
                models[model].get_parameter(key).copy_(tensor)
        models["unet"].set_attn_processor(dict(processors))
        return models["text_encoder"].cpu().eval(), models["unet"].cpu().eval()

    def look(state: TrainingState) -> None:
        if on_average and (state.step % average_every_steps == 0 or state.step == train_steps):
            on_average(state.step, *averaged(state.average))

    state = train(
        parameters,
        loss_at,
        train_steps=train_steps,
        learning_rate_at=with_cooldown(
            one_cycle(learning_rate, schedule_steps), train_steps, cooldown_steps
        ),
        average_decay=average_decay,
        checkpointing=checkpointing,
        on_step=on_step,
        on_state=look,
    )
    return *averaged(state.average), state.losses


def build_pipeline(
    autoencoder: "AutoencoderKL",
    text_encoder: "CLIPTextModel",
    tokenizer: "CLIPTokenizer",
    unet: "UNet2DConditionModel",
) -> "StableDiffusionPipeline":
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_noise_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save_pipeline(
    directory: Path,
    autoencoder: "AutoencoderKL",
    text_encoder: "CLIPTextModel",
    tokenizer: "CLIPTokenizer",
    unet: "UNet2DConditionModel",
) -> None:
    """Write a StableDiffusionPipeline directory that stock diffusers loads in float32.

    U-Net and text encoder are stored as float16, which halves the release; the VAE as it is.
    """
    text_encoder, unet = copy.deepcopy(text_encoder).half(), copy.deepcopy(unet).half()
    pipeline = build_pipeline(autoencoder, text_encoder, tokenizer, unet)
    pipeline.save_pretrained(directory, safe_serialization=True)
    load_as_float32(directory / "text_encoder")
