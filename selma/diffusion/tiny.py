"""Tiny untrained models of every family, in stock layout: a whole graph can be tried with them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from selma.core.choices import choose

SIZE = 32  # of the pictures, in pixels
TOKENS = 16
GATED_TOKENS = 77  # a prompt of several objects, and the letters are tokens


def write_tiny_backbone(kind: str, folder: Path, seed: int = 0) -> None:
    """Write a model of a few thousand random weights, from a seed, for diffusers to load.

    ConfigError if `kind` is not a key of KINDS.
    """
    choose("kind of backbone", kind, KINDS)(seed).save_pretrained(folder)


def stable_diffusion_1(seed: int) -> Any:
    """Make a Stable Diffusion 1: epsilon."""
    return _stable_diffusion(seed, "epsilon", attention_head_dim=2)


def stable_diffusion_2(seed: int) -> Any:
    """Make a Stable Diffusion 2: velocity, linear projections, heads by layer."""
    options = {"attention_head_dim": (2, 4), "use_linear_projection": True}
    return _stable_diffusion(seed, "v_prediction", **options)


def _stable_diffusion(seed: int, prediction_type: str, **options: Any) -> Any:
    import diffusers
    import torch

    torch.manual_seed(seed)
    return diffusers.StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=_text_encoder("CLIPTextModel"),
        tokenizer=_tokenizer(),
        unet=_unet(cross_attention_dim=16, **options),
        scheduler=diffusers.DDIMScheduler(
            **_SCHEDULE, prediction_type=prediction_type, steps_offset=1, clip_sample=False
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def write_tiny_gated(
    folder: Path, *, prediction_type: str, latent_size: tuple[int, int], seed: int = 0
) -> None:
    """Write a tiny Stable Diffusion with GLIGEN's gated layers, whose gates are open.

    Args:
        folder: for diffusers' `StableDiffusionGLIGENPipeline`, or our own class, to load.
        prediction_type: "epsilon" with Stable Diffusion 1's time steps, or "v_prediction" with
            trailing ones that begin at plain noise.
        latent_size: rows and columns; the VAE's reduction is 4.
        seed: of the weights.
    """
    import diffusers
    import torch

    torch.manual_seed(seed)
    unet = _unet(
        sample_size=latent_size, attention_type="gated", cross_attention_dim=16,
        attention_head_dim=2, layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D",) * 2, up_block_types=("CrossAttnUpBlock2D",) * 2,
    )  # fmt: skip
    for name, parameter in unet.named_parameters():
        if name.endswith(("alpha_attn", "alpha_dense")):  # 0 before training: closed
            parameter.data.fill_(1.0)
        elif "null_" in name:
            parameter.data.normal_()
        elif name.endswith(("fuser.attn.to_v.weight", "fuser.attn.to_out.0.weight")):
            parameter.data *= 3  # so that what they say can be seen
    from_noise = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    diffusers.StableDiffusionGLIGENPipeline(
        vae=_vae(),
        text_encoder=_text_encoder("CLIPTextModel", GATED_TOKENS),
        tokenizer=_tokenizer(GATED_TOKENS),
        unet=unet,
        scheduler=diffusers.DDIMScheduler(
            **_SCHEDULE, prediction_type=prediction_type, steps_offset=1, clip_sample=False,
            set_alpha_to_one=False, **(from_noise if prediction_type == "v_prediction" else {}),
        ),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip


def stable_diffusion_xl(seed: int) -> Any:
    """Make a Stable Diffusion XL: two text encoders, sizes, Euler's scheduler."""
    import diffusers
    import torch

    torch.manual_seed(seed)
    return diffusers.StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=_text_encoder("CLIPTextModel"),
        text_encoder_2=_text_encoder("CLIPTextModelWithProjection"),
        tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer(),
        unet=_unet(
            cross_attention_dim=32, attention_head_dim=(2, 4), use_linear_projection=True,
            addition_embed_type="text_time", addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=16 + 6 * 8, transformer_layers_per_block=(1, 2),
        ),
        scheduler=diffusers.EulerDiscreteScheduler(**_SCHEDULE, steps_offset=1),
    )  # fmt: skip


def stable_diffusion_3(seed: int) -> Any:
    """Make a Stable Diffusion 3 without T5."""
    import diffusers
    import torch

    torch.manual_seed(seed)
    return diffusers.StableDiffusion3Pipeline(
        vae=_vae(latent_channels=8, use_quant_conv=False, use_post_quant_conv=False,
                 scaling_factor=1.5, shift_factor=0.06),
        text_encoder=_text_encoder("CLIPTextModelWithProjection"),
        text_encoder_2=_text_encoder("CLIPTextModelWithProjection"),
        text_encoder_3=None,
        tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer(),
        tokenizer_3=None,
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=SIZE // 4, patch_size=2, in_channels=8, out_channels=8, num_layers=2,
            attention_head_dim=8, num_attention_heads=4, caption_projection_dim=32,
            joint_attention_dim=40, pooled_projection_dim=32, pos_embed_max_size=8,
        ).eval(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )  # fmt: skip


KINDS: dict[str, Callable[[int], Any]] = {
    "sd1": stable_diffusion_1, "sd2": stable_diffusion_2, "sdxl": stable_diffusion_xl,
    "sd3": stable_diffusion_3,
}  # fmt: skip
_SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def _unet(**options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    shape = {
        "sample_size": SIZE // 4,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**{**shape, **options}).eval()


def _vae(**options: Any) -> Any:
    """Make a VAE; its decoder's weights are large enough for pictures that differ."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
        sample_size=SIZE,
        **{"latent_channels": 4, **options},
    ).eval()
    for parameter in vae.decoder.parameters():
        parameter.data *= 1.5
    return vae


def _text_encoder(model_class: str, tokens: int = TOKENS) -> Any:
    import transformers

    config = transformers.CLIPTextConfig(
        vocab_size=len(_words()),
        hidden_size=16,
        projection_dim=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=tokens,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    model = getattr(transformers, model_class)(config).eval()
    for parameter in model.parameters():
        parameter.data *= 1.5
    return model


def _words() -> list[str]:
    """List a CLIP vocabulary's two marks, its 256 bytes, and these at a word's end."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    return ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]


def _tokenizer(tokens: int = TOKENS) -> Any:
    from transformers import CLIPTokenizer

    vocabulary = {word: index for index, word in enumerate(_words())}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=tokens)
