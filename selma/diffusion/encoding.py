"""Between prompts, pictures and what the U-Net sees: text states, latents, pixels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# Fixed, so that the encoded values do not depend on anything that a person may change.
ENCODING_BATCH_SIZE = 32


def encode_prompts(
    tokenizer: Any, text_encoder: Any, prompts: Sequence[str], batch_size: int = ENCODING_BATCH_SIZE
) -> "torch.Tensor":
    """Encode prompts, equal ones once, as stock `StableDiffusionPipeline` does; (N, tokens, width).

    Args:
        tokenizer: a `CLIPTokenizer`; it cuts what is longer than the text encoder reads.
        text_encoder: a `CLIPTextModel`; it sees the padding unless its config asks for a mask.
        prompts: N texts.
        batch_size: different prompts encoded at once.
    """
    import torch

    different = list(dict.fromkeys(prompts))
    masked = getattr(text_encoder.config, "use_attention_mask", False)
    states = []
    with torch.no_grad():
        for start in range(0, len(different), batch_size):
            tokens = tokenizer(
                different[start : start + batch_size],
                padding="max_length",
                max_length=tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            ).to(text_encoder.device)
            mask = tokens.attention_mask if masked else None
            states.append(text_encoder(tokens.input_ids, attention_mask=mask)[0])
    rows = {prompt: row for row, prompt in enumerate(different)}
    return torch.cat(states)[[rows[prompt] for prompt in prompts]]


def encode_pictures(vae: Any, pixels: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
    """Encode pictures (N, 3, H, W) in [-1, 1] to their latents' means and standard deviations.

    Returns:
        Two tensors (N, C, H/f, W/f), float32, after the VAE's shift and scaling.
    """
    import torch

    scale, shift = _scale_and_shift(vae)
    means, deviations = [], []
    with torch.no_grad():
        for batch in torch.split(pixels, ENCODING_BATCH_SIZE):
            posterior = vae.encode(batch.to(vae.device, vae.dtype)).latent_dist
            means.append((posterior.mean.float() - shift) * scale)
            deviations.append(posterior.std.float() * scale)
    return torch.cat(means), torch.cat(deviations)


def decode_latents(vae: Any, latents: "torch.Tensor") -> "torch.Tensor":
    """Decode latents (N, C, H/f, W/f) to pixels (N, 3, H, W) in [-1, 1], or a little beyond."""
    scale, shift = _scale_and_shift(vae)
    pixels: torch.Tensor = vae.decode(latents / scale + shift, return_dict=False)[0]
    return pixels


def _scale_and_shift(vae: Any) -> tuple[float, float]:
    return float(vae.config.scaling_factor), float(vae.config.shift_factor or 0.0)
