"""Trains a pocket base model: text encoder and U-Net together, on cached latents, v-prediction."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selma.core.seeds import derive_seed
from selma.foundation.autoencoder import to_tensor
from selma.foundation.params import BaseModelParams
from selma.foundation.pictures import CaptionNoise, captioned_picture
from selma.foundation.training import fit, kept_arrays, load_as_float32
from selma.runtime.progress import progress
from selma.training.loop import TrainingState, one_cycle, with_cooldown

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DDIMScheduler
    from diffusers import StableDiffusionPipeline as Pipeline
    from diffusers import UNet2DConditionModel as UNet
    from torch import Tensor
    from torch.nn import Parameter
    from transformers import CLIPTextModel, CLIPTokenizer

TEXT_WIDTH = 96
CAPTIONS_PER_PICTURE = 4
CHUNK = 1000  # pictures encoded at a time
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


def build_unet(channels: Sequence[int], seed: int) -> "UNet":
    """Build the untrained U-Net on 8×8×4 latents with cross-attention at both levels."""
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(derive_seed(seed, "unet"))
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=tuple(channels),
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=tuple(width // 32 for width in channels),  # number of heads
        norm_num_groups=16,
    ).to(memory_format=torch.channels_last)


def build_training_set(
    autoencoder: "AutoencoderKL", tokenizer: "CLIPTokenizer", plan: BaseModelParams, seed: int
) -> TrainingSet:
    """Draw pictures with captions, encode the pictures, tokenise the captions."""
    import torch

    latents, token_ids = [], []
    noise = CaptionNoise(plan.wrong_captions, plan.partial_captions)
    with progress(plan.pictures, "pictures") as advance, torch.no_grad():
        for start in range(0, plan.pictures, CHUNK):
            numbers = range(start, min(start + CHUNK, plan.pictures))
            rows = [captioned_picture(seed, n, CAPTIONS_PER_PICTURE, noise) for n in numbers]
            pixels = to_tensor(np.stack([row.picture for row in rows]))
            mean = autoencoder.encode(pixels).latent_dist.mean * autoencoder.config.scaling_factor
            latents.append(mean.contiguous().numpy())
            token_ids += [tokenise(tokenizer, row.captions) for row in rows]
            advance(len(rows))
    return TrainingSet(np.concatenate(latents), np.stack(token_ids))


def kept_training_set(path: Path, build: Callable[[], TrainingSet]) -> TrainingSet:
    """Take the training set from an .npz file, or build it and keep it there for a restart."""
    return kept_arrays(path, TrainingSet, build)


def tokenise(tokenizer: "CLIPTokenizer", texts: Sequence[str]) -> NDArray[np.int16]:
    """Tokenise to the model's full length, as the pipeline does; (N, max tokens)."""
    encoded = tokenizer(list(texts), padding="max_length", truncation=True)
    return np.array(encoded["input_ids"], dtype=np.int16)


class Denoiser(NamedTuple):
    """What is trained together."""

    text_encoder: "CLIPTextModel"
    unet: "UNet"

    def parameters(self) -> "dict[str, Parameter]":
        models = self._asdict().items()
        return {f"{part}.{n}": p for part, model in models for n, p in model.named_parameters()}

    def averaged(self, weights: "Mapping[str, Tensor]") -> "Denoiser":
        """Copy both models in eval mode on the CPU, with other weights."""
        import torch

        copies = Denoiser(*copy.deepcopy(tuple(self)))
        with torch.no_grad():
            for name, parameter in copies.parameters().items():
                parameter.copy_(weights[name])
        return Denoiser(*(model.cpu().eval() for model in copies))


def batch_drawer(
    training_set: TrainingSet, tokenizer: "CLIPTokenizer", batch_size: int, seed: int
) -> "Callable[[int], tuple[Tensor, Tensor, Tensor, Tensor]]":
    """Make a function that draws a step's latents, noise, stratified timesteps and token ids."""
    import torch

    latents_of = torch.from_numpy(training_set.latents)
    token_ids_of = torch.from_numpy(training_set.token_ids)
    empty = torch.from_numpy(tokenise(tokenizer, [""])[0])

    def draw(step: int) -> "tuple[Tensor, Tensor, Tensor, Tensor]":
        generator = torch.Generator().manual_seed(derive_seed(seed, "denoiser", step))
        rows = torch.randint(len(latents_of), (batch_size,), generator=generator)
        which = torch.randint(CAPTIONS_PER_PICTURE, (batch_size,), generator=generator)
        latents = latents_of[rows].contiguous(memory_format=torch.channels_last)  # (N, 4, 8, 8)
        dropped = torch.rand(batch_size, generator=generator) < EMPTY_CAPTION_SHARE
        token_ids = torch.where(dropped[:, None], empty, token_ids_of[rows, which]).long()  # (N, T)
        places = torch.arange(batch_size) + torch.rand(batch_size, generator=generator)
        timesteps = (1000 * (places / batch_size) ** TIMESTEP_POWER).long().clamp(max=999)
        noise = torch.randn(latents.shape, generator=generator)
        noise = noise.contiguous(memory_format=torch.channels_last)
        return latents, noise, timesteps, token_ids

    return draw


def train_denoiser(
    training_set: TrainingSet,
    tokenizer: "CLIPTokenizer",
    plan: BaseModelParams,
    *,
    seed: int,
    device: str,
    work: Path,
    on_average: Callable[[int, Denoiser], None] | None = None,
) -> tuple[Denoiser, list[float]]:
    """Train text encoder and U-Net from nothing with the v-prediction loss.

    In float32: with the pinned instruction set bfloat16 is 4.6 times slower. The learning rate is a
    cosine over `schedule_steps`, cut short at `train_steps` by a linear cooldown. `on_average`, if
    given, sees copies with the averaged weights every `grid_every_steps` steps. Returns such a copy
    of the end, in eval mode, and one loss per step.
    """
    import torch

    noise_scheduler = build_noise_scheduler()
    denoiser = Denoiser(build_text_encoder(tokenizer, seed), build_unet(plan.channels, seed))
    for model in denoiser:
        model.to(device)
    draw = batch_drawer(training_set, tokenizer, plan.batch_size, seed)

    def loss_at(step: int) -> "Tensor":
        latents, noise, timesteps, token_ids = (part.to(device) for part in draw(step))
        noisy = noise_scheduler.add_noise(latents, noise, timesteps)
        text = denoiser.text_encoder(token_ids)[0]
        prediction = denoiser.unet(noisy, timesteps, text).sample
        target = noise_scheduler.get_velocity(latents, noise, timesteps)
        return torch.nn.functional.mse_loss(prediction, target)

    def look(state: TrainingState) -> None:
        due = state.step % plan.grid_every_steps == 0 or state.step == plan.train_steps
        if on_average and due:
            on_average(state.step, denoiser.averaged(state.final()))

    cosine = one_cycle(plan.learning_rate, plan.schedule_steps)
    state = fit(
        "base model",
        work / "state.safetensors",
        plan.train_steps,
        plan.checkpoint_every_steps,
        parameters=denoiser.parameters(),
        loss_at=loss_at,
        learning_rate_at=with_cooldown(cosine, plan.train_steps, plan.cooldown_steps),
        average_decay=plan.average_decay,
        on_state=look,
    )
    return denoiser.averaged(state.final()), state.curve()


def build_pipeline(
    autoencoder: "AutoencoderKL", tokenizer: "CLIPTokenizer", denoiser: Denoiser
) -> "Pipeline":
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=autoencoder,
        tokenizer=tokenizer,
        scheduler=build_noise_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        **denoiser._asdict(),
    )


def save_pipeline(
    directory: Path, autoencoder: "AutoencoderKL", tokenizer: "CLIPTokenizer", denoiser: Denoiser
) -> None:
    """Write a StableDiffusionPipeline directory that stock diffusers loads in float32.

    U-Net and text encoder are stored as float16, which halves the release; the VAE as it is.
    """
    halved = Denoiser(*(copy.deepcopy(model).half() for model in denoiser))
    pipeline = build_pipeline(autoencoder, tokenizer, halved)
    pipeline.save_pretrained(directory, safe_serialization=True)
    load_as_float32(directory / "text_encoder")
