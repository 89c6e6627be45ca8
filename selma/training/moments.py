"""Encodes pictures and prompts once; a training draws its latents from the moments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from selma.core.errors import RecordError
from selma.diffusion.encoding import encode_pictures, encode_prompts
from selma.pictures.png import decode_png

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Examples:
    """A training set as the U-Net sees it; latents are after the VAE's scaling.

    The posterior's moments are kept, not one draw from it: drawing anew in each step gives the same
    distribution as encoding the picture anew in each step.
    """

    latent_means: "torch.Tensor"  # (N, C, H/f, W/f), float32
    latent_deviations: "torch.Tensor"  # (N, C, H/f, W/f), float32
    text_states: "torch.Tensor"  # (P, tokens, width), float32, one per different prompt
    text_index: "torch.Tensor"  # (N,), the row in text_states of each example

    def __len__(self) -> int:
        """Give the number of pictures."""
        return int(self.latent_means.shape[0])


def decode_pictures(rows: Sequence[Mapping[str, Any]]) -> "torch.Tensor":
    """Decode an image table's pictures to (N, 3, H, W) float32 in [-1, 1].

    Raises:
        RecordError: a picture is damaged or differs in size from the first.
    """
    import torch

    pictures: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
    for row in rows:
        where = f"picture {row['prompt_id']!r}, sample {row['sample']}"
        pictures.append(decode_png(row["image"]["bytes"], where))
        if pictures[-1].shape != pictures[0].shape:
            got, want = pictures[-1].shape[1::-1], pictures[0].shape[1::-1]
            raise RecordError(f"{where}: is {got} pixels, expected {want} as the first picture")
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)  # (N, 3, H, W)
    return pixels.float() / 127.5 - 1.0


def encode_examples(
    rows: Sequence[Mapping[str, Any]], *, vae: Any, tokenizer: Any, text_encoder: Any
) -> Examples:
    """Encode an image table; the order of the rows does not matter.

    Args:
        rows: of the table `images`; prompt_id, sample, image and prompt are read.
        vae: an `AutoencoderKL`.
        tokenizer: a `CLIPTokenizer`.
        text_encoder: a `CLIPTextModel`.

    Raises:
        RecordError: there are no rows, or a picture is damaged or of another size.
    """
    import torch

    if not rows:
        raise RecordError("there are no pictures to train on; run the stage images")
    rows = sorted(rows, key=lambda row: (row["prompt_id"], row["sample"]))
    prompts = sorted({row["prompt"] for row in rows})
    place = {prompt: index for index, prompt in enumerate(prompts)}
    means, deviations = encode_pictures(vae, decode_pictures(rows))
    return Examples(
        latent_means=means,
        latent_deviations=deviations,
        text_states=encode_prompts(tokenizer, text_encoder, prompts).float(),
        text_index=torch.tensor([place[row["prompt"]] for row in rows], device=means.device),
    )
