"""Batches of grounded pictures: latents and captions with boxes and phrases in slots."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selma.core.seeds import derive_seed
from selma.foundation.autoencoder import to_tensor
from selma.foundation.denoiser import tokenise
from selma.foundation.grounded_pictures import grounded_picture, phrase_numbers, phrases
from selma.foundation.params import GroundingParams
from selma.foundation.pictures import CaptionNoise
from selma.pocket.scenes import MAX_OBJECTS
from selma.runtime.progress import progress

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline as Pipeline
    from torch import Tensor
    from transformers import CLIPTextModel, CLIPTokenizer

SLOTS = 30  # of a picture, for (phrase, box) pairs; GLIGEN's
CHUNK = 1000  # pictures encoded at a time
PHRASES_PER_OBJECT = 8


@dataclass(frozen=True)
class GroundingSet:
    """Cached latents, tokenised captions, boxes and phrases; a picture has up to four objects."""

    latents: NDArray[np.float32]  # (N, 4, 8, 8), scaled
    token_ids: NDArray[np.int16]  # (N, max tokens)
    counts: NDArray[np.int64]  # (N,) objects
    boxes: NDArray[np.float32]  # (N, MAX_OBJECTS, 4) left, top, right, bottom; zeros for none
    phrases: NDArray[np.int64]  # (N, MAX_OBJECTS, PHRASES_PER_OBJECT) numbers; zeros for none


class Grounding(NamedTuple):
    """What grounds a batch: the arguments of the U-Net's `position_net`."""

    boxes: "Tensor"  # (N, SLOTS, 4) left, top, right, bottom as fractions; zeros in free slots
    positive_embeddings: "Tensor"  # (N, SLOTS, text width) pooled states; zeros in free slots
    masks: "Tensor"  # (N, SLOTS) 1 where a slot is taken

    def arguments(self) -> dict[str, Any]:
        """Make the U-Net's ``cross_attention_kwargs``."""
        return {"gligen": self._asdict()}


def pool_phrases(
    text_encoder: "CLIPTextModel", tokenizer: "CLIPTokenizer", texts: Sequence[str]
) -> "Tensor":
    """Compute the pooled text state of each phrase, (N, text width)."""
    import torch

    token_ids = torch.from_numpy(tokenise(tokenizer, texts)).long()
    with torch.no_grad():
        pooled: Tensor = text_encoder(token_ids).pooler_output
    return pooled


def build_grounding_set(base: "Pipeline", plan: GroundingParams, seed: int) -> GroundingSet:
    """Draw pictures with captions, boxes and phrases, and encode the pictures."""
    import torch

    latents, token_ids = [], []
    counts = np.zeros(plan.pictures, np.int64)
    boxes = np.zeros((plan.pictures, MAX_OBJECTS, 4), np.float32)
    named = np.zeros((plan.pictures, MAX_OBJECTS, PHRASES_PER_OBJECT), np.int64)
    noise = CaptionNoise(plan.wrong_captions, plan.partial_captions)
    with progress(plan.pictures, "pictures") as advance, torch.no_grad():
        for start in range(0, plan.pictures, CHUNK):
            numbers = range(start, min(start + CHUNK, plan.pictures))
            rows = [grounded_picture(seed, n, noise, plan.single_objects) for n in numbers]
            pixels = to_tensor(np.stack([row.picture for row in rows]))
            mean = base.vae.encode(pixels).latent_dist.mean * base.vae.config.scaling_factor
            latents.append(mean.contiguous().numpy())
            token_ids.append(tokenise(base.tokenizer, [row.caption for row in rows]))
            for number, row in zip(numbers, rows, strict=True):
                counts[number] = count = len(row.boxes)
                boxes[number, :count] = row.boxes
                named[number, :count] = [phrase_numbers(item) for item in row.scene.objects]
            advance(len(rows))
    return GroundingSet(np.concatenate(latents), np.concatenate(token_ids), counts, boxes, named)


class Batch(NamedTuple):
    """What a step learns from."""

    latents: "Tensor"  # (N, 4, 8, 8)
    noise: "Tensor"  # (N, 4, 8, 8)
    timesteps: "Tensor"  # (N,)
    token_ids: "Tensor"  # (N, max tokens)
    grounding: Grounding

    def to(self, device: str) -> "Batch":
        latents, noise, timesteps, token_ids = (part.to(device) for part in self[:4])
        grounding = Grounding(*(part.to(device) for part in self.grounding))
        return Batch(latents, noise, timesteps, token_ids, grounding)


def batch_drawer(
    training_set: GroundingSet, base: "Pipeline", plan: GroundingParams, seed: int
) -> Callable[[int], Batch]:
    """Make a function that draws a step's batch, from the step's number alone."""
    import torch

    arrays = {name: torch.from_numpy(array) for name, array in vars(training_set).items()}
    empty = torch.from_numpy(tokenise(base.tokenizer, [""])[0])
    pooled_of = pool_phrases(base.text_encoder, base.tokenizer, phrases())  # (phrases, text width)
    number = plan.batch_size

    def draw(step: int) -> Batch:
        generator = torch.Generator().manual_seed(derive_seed(seed, "grounding", step))

        def chance(*shape: int) -> "Tensor":
            return torch.rand(shape, generator=generator)

        rows = torch.randint(len(arrays["latents"]), (number,), generator=generator)
        latents = arrays["latents"][rows].contiguous(memory_format=torch.channels_last)
        dropped = chance(number) < plan.empty_captions
        token_ids = torch.where(dropped[:, None], empty, arrays["token_ids"][rows]).long()
        kept = torch.where(  # (N, 1): a share of 0, some or all
            chance(number) < plan.ungrounded, 0.0,
            torch.where(chance(number) < plan.partly_grounded, 0.5, 1.0),
        )[:, None]  # fmt: skip
        there = torch.arange(MAX_OBJECTS) < arrays["counts"][rows][:, None]
        taken = there & (chance(number, MAX_OBJECTS) < kept)  # (N, MAX_OBJECTS)
        said = _draw_phrases(arrays["phrases"][rows], chance, plan.colourless_phrases)
        timesteps = 1000 * ((torch.arange(number) + chance(number)) / number) ** plan.timestep_power
        noise = torch.randn(latents.shape, generator=generator)
        return Batch(
            latents,
            noise.contiguous(memory_format=torch.channels_last),
            timesteps.long().clamp(max=999),
            token_ids,
            ground(arrays["boxes"][rows], pooled_of[said], taken),
        )

    return draw


def _draw_phrases(named: "Tensor", chance: "Callable[..., Tensor]", colourless: float) -> "Tensor":
    """Draw each object's phrase, (N, MAX_OBJECTS), from those of `phrase_numbers`."""
    half = PHRASES_PER_OBJECT // 2
    shape = named.shape[:2]
    which = (chance(*shape) * half).long() + half * (chance(*shape) < colourless)
    said: Tensor = named.gather(2, which[..., None])[..., 0]
    return said


def ground(boxes: "Tensor", pooled: "Tensor", taken: "Tensor") -> Grounding:
    """Lay out boxes (N, k, 4) and phrases (N, k, text width) in slots where taken, (N, k) bool."""
    import torch

    masks = torch.zeros(len(taken), SLOTS)
    masks[:, : taken.shape[1]] = taken.float()
    places, states = (torch.zeros(*masks.shape, part.shape[2]) for part in (boxes, pooled))
    places[:, : taken.shape[1]] = boxes * taken[..., None]
    states[:, : taken.shape[1]] = pooled * taken[..., None]
    return Grounding(places, states, masks)
