import io

import numpy as np
import pytest
import torch

from selma.training.moments import Examples

TEXT_WIDTH = 8
MAX_TOKENS = 12
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]


def build_unet(seed=0):
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    return unet.requires_grad_(False).eval()


def build_vae():
    from diffusers import AutoencoderKL

    torch.manual_seed(1)
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
        scaling_factor=0.5,
    )
    return vae.requires_grad_(False).eval()


def build_tokenizer():
    from transformers import CLIPTokenizer

    tokens = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{x}</w>" for x in LETTERS)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=MAX_TOKENS)


def build_text_encoder():
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(2)
    config = CLIPTextConfig(
        vocab_size=2 + 2 * len(LETTERS),
        hidden_size=TEXT_WIDTH,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return CLIPTextModel(config).requires_grad_(False).eval()


def build_noise_scheduler(prediction_type="v_prediction"):
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_schedule="scaled_linear",
        prediction_type=prediction_type,
        rescale_betas_zero_snr=True,
        steps_offset=1,
        clip_sample=False,
    )


def image_row(skill, number, size=16):
    from PIL import Image

    prompt_id = f"{skill}-{number}"
    generator = np.random.default_rng([*prompt_id.encode()])
    buffer = io.BytesIO()
    Image.fromarray(generator.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(buffer, "png")
    return {
        "prompt_id": prompt_id,
        "sample": 0,
        "image": {"bytes": buffer.getvalue(), "path": None},
        "prompt": f"{skill} {LETTERS[number]}",
    }


@pytest.fixture(scope="session")
def encoders():
    return {
        "vae": build_vae(),
        "tokenizer": build_tokenizer(),
        "text_encoder": build_text_encoder(),
    }


@pytest.fixture
def make_backbone(encoders):
    """Put a backbone together, of the shared encoders, a new U-Net and a noise scheduler."""
    from selma.diffusion.backbone import TextEncoder
    from selma.diffusion.noising import Diffusion
    from selma.diffusion.stable_diffusion import StableDiffusion

    def make(prediction_type="v_prediction", dtype=torch.float32):
        scheduler = build_noise_scheduler(prediction_type)
        return StableDiffusion(
            denoiser=build_unet().to(dtype),
            vae=encoders["vae"],
            encoders=[TextEncoder(encoders["tokenizer"], encoders["text_encoder"])],
            noise_scheduler=scheduler,
            noising=Diffusion(scheduler.alphas_cumprod, prediction_type),
            device="cpu",
        )

    return make


@pytest.fixture
def backbone(make_backbone):
    return make_backbone()


@pytest.fixture
def make_unet():
    return build_unet


@pytest.fixture
def make_noise_scheduler():
    return build_noise_scheduler


@pytest.fixture
def make_row():
    return image_row


@pytest.fixture
def examples():
    """Seven encoded pictures of two prompts."""
    generator = torch.Generator().manual_seed(3)
    shards = [
        {
            "mean": torch.randn(size, 4, 4, 4, generator=generator),
            "deviation": torch.full((size, 4, 4, 4), 0.1),
        }
        for size in (4, 3)
    ]
    return Examples(
        shards=shards,
        order=[3, 0, 6, 1, 2, 5, 4],
        conditions={"text": torch.randn(2, 5, TEXT_WIDTH, generator=generator)},
        condition_index=torch.tensor([0, 1, 0, 1, 0, 1, 0]),
        per_shard=4,
    )


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory, encoders):
    from diffusers import StableDiffusionPipeline

    directory = tmp_path_factory.mktemp("backbone")
    StableDiffusionPipeline(
        unet=build_unet(),
        scheduler=build_noise_scheduler(),
        **encoders,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(directory)
    return directory
