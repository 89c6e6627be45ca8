"""Measures by pixels whether objects drawn with boxes lie in them, in the asked colours."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from selma.comparing.statistics import Bootstrap, compare_paired, estimate_mean
from selma.core.seeds import derive_seed
from selma.foundation.autoencoder import to_tensor
from selma.foundation.grounded_pictures import GroundedPicture
from selma.foundation.grounding_set import Grounding, ground, pool_phrases
from selma.pocket.captions import article
from selma.pocket.render import coverage
from selma.pocket.scenes import CANVAS_PX, COLOURS, MAX_OBJECTS, RADII_PX, SceneObject

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline as Pipeline
    from diffusers import UNet2DConditionModel as UNet
    from torch import Tensor

Pictures = NDArray[np.uint8]
Mask = NDArray[np.bool_]
INFERENCE_STEPS, GUIDANCE_SCALE, BATCH = 20, 3.0, 50
SHARES = {"ungrounded": 0.0, "first_40_percent": 0.4, "all_steps": 1.0}  # of the steps
LANDED_IOU = 0.5
COVERED = 0.5  # a pixel that is covered less belongs to the background
MEASURES = ("box_iou", "landed", "colour", "shape_iou")
HOW = Bootstrap(resamples=2000, confidence=0.95, seed=0)


def draw_grounded(
    pictures: Sequence[GroundedPicture], base: "Pipeline", unet: "UNet", *, share: float, seed: int
) -> Pictures:
    """Draw pictures anew from captions, boxes and phrases, (N, CANVAS_PX, CANVAS_PX, 3).

    As StableDiffusionGLIGENPipeline does, with grounding in the first `share` of the steps: the
    unconditional half of the guided batch has null tokens. A picture's noise depends on its place.
    """
    drawn = [
        _draw_batch(pictures[start : start + BATCH], start, base, unet, share=share, seed=seed)
        for start in range(0, len(pictures), BATCH)
    ]
    return np.concatenate(drawn)


def _draw_batch(
    pictures: Sequence[GroundedPicture], start: int, base: "Pipeline", unet: "UNet", *,
    share: float, seed: int,
) -> Pictures:  # fmt: skip
    import torch

    grounding = _grounding(pictures, base)
    doubled = Grounding(*(torch.cat([part] * 2) for part in grounding))
    doubled.masks[: len(pictures)] = 0
    captions = [""] * len(pictures) + [picture.caption for picture in pictures]
    seeds = [derive_seed(seed, "grounded", start + k) for k in range(len(pictures))]
    shape = (1, 4, unet.config.sample_size, unet.config.sample_size)
    noise = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
    latents = torch.cat(noise) * base.scheduler.init_noise_sigma
    base.scheduler.set_timesteps(INFERENCE_STEPS)
    with torch.inference_mode():
        text = base.encode_prompt(captions, "cpu", 1, False)[0]  # (2N, tokens, width)
        for number, timestep in enumerate(base.scheduler.timesteps):
            grounded = number < int(share * INFERENCE_STEPS)
            without, with_text = unet(
                torch.cat([latents] * 2), timestep, text,
                cross_attention_kwargs=doubled.arguments() if grounded else None,
            ).sample.chunk(2)  # fmt: skip
            prediction = without + GUIDANCE_SCALE * (with_text - without)
            latents = base.scheduler.step(prediction, timestep, latents).prev_sample
        return _decode(latents, base)


def _grounding(pictures: Sequence[GroundedPicture], base: "Pipeline") -> Grounding:
    """Ground every object by its box and the phrase that an editor would use, "a red circle"."""
    import torch

    names = [article(f"{o.colour} {o.shape}") for row in pictures for o in row.scene.objects]
    pooled = pool_phrases(base.text_encoder, base.tokenizer, names)
    taken = torch.zeros(len(pictures), MAX_OBJECTS, dtype=torch.bool)
    for number, row in enumerate(pictures):
        taken[number, : len(row.boxes)] = True
    places = torch.zeros(*taken.shape, 4)
    states = torch.zeros(*taken.shape, pooled.shape[1])
    places[taken] = torch.from_numpy(np.concatenate([row.boxes for row in pictures]))
    states[taken] = pooled
    return ground(places, states, taken)


def reconstruct(pictures: Sequence[GroundedPicture], base: "Pipeline") -> Pictures:
    """Take the true pictures through the autoencoder: what no drawing can do better than."""
    import torch

    with torch.inference_mode():
        pixels = to_tensor(np.stack([row.picture for row in pictures]))
        mean = base.vae.encode(pixels).latent_dist.mean
        return _decode(mean * base.vae.config.scaling_factor, base)


def _decode(latents: "Tensor", base: "Pipeline") -> Pictures:
    pixels = base.vae.decode(latents / base.vae.config.scaling_factor).sample
    levels = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().permute(0, 2, 3, 1)
    return np.asarray(levels.numpy().astype(np.uint8))


def measure(picture: Pictures, truth: GroundedPicture) -> NDArray[np.float64]:
    """Measure one picture against the objects asked for; the mean over them, by `MEASURES`.

    box_iou: intersection over union of the asked box with the best bounding box of a connected
    region in the asked colour. landed: whether that is above `LANDED_IOU`. colour: whether the
    asked colour is the commonest in the asked box, the background aside. shape_iou: intersection
    over union of the asked colour's pixels in and around the box with those of the true object.
    """
    colours = colour_map(picture, truth)
    rows = []
    for item, box in zip(truth.scene.objects, truth.boxes, strict=True):
        region = colours == tuple(COLOURS).index(item.colour)
        best = max((box_iou(box, found) for found in region_boxes(region)), default=0.0)
        inside = colours[box_pixels(box, margin_px=0)]
        seen = np.bincount(inside[inside >= 0], minlength=len(COLOURS))
        right = bool(seen.any()) and tuple(COLOURS)[int(seen.argmax())] == item.colour
        rows.append([best, best > LANDED_IOU, right, _shape_iou(region, item, box)])
    return np.asarray(np.mean(rows, axis=0, dtype=np.float64))


def colour_map(picture: Pictures, truth: GroundedPicture) -> NDArray[np.int64]:
    """Say which palette colour covers each pixel by half or more, −1 for none, (H, W).

    A pixel between background B and colour C lies on the line B + t·(C − B), t the share of it that
    is covered. B is the median outside the asked boxes.
    """
    outside = np.ones(picture.shape[:2], bool)
    for box in truth.boxes:
        outside[box_pixels(box, margin_px=1)] = False
    background = np.median(picture[outside].astype(float), axis=0)  # (3,)
    lines = np.array(list(COLOURS.values()), float) - background  # (8, 3)
    offsets = picture - background  # (H, W, 3)
    shares = np.clip(offsets @ (lines / (lines**2).sum(axis=1, keepdims=True)).T, 0, 1)
    distances = ((offsets[..., None, :] - shares[..., None] * lines) ** 2).sum(axis=-1)  # (H, W, 8)
    nearest = distances.argmin(axis=-1)
    covered = np.take_along_axis(shares, nearest[..., None], axis=-1)[..., 0] >= COVERED
    return np.where(covered, nearest, -1)


def box_pixels(box: NDArray[np.floating[Any]], *, margin_px: int) -> tuple[slice, slice]:
    """Find the rows and columns of the pixels whose middles lie in a box, and some around it."""
    first = np.ceil(box[:2] * CANVAS_PX - 0.5).astype(int) - margin_px
    end = np.floor(box[2:] * CANVAS_PX - 0.5).astype(int) + 1 + margin_px
    (left, top), (right, bottom) = np.maximum(first, 0).tolist(), end.tolist()
    return slice(top, bottom), slice(left, right)


def region_boxes(region: Mask) -> list[NDArray[np.float64]]:
    """Bound each connected region, corners included: left, top, right, bottom as fractions."""
    labels, _ = ndimage.label(region, np.ones((3, 3)))
    return [
        np.array([columns.start, rows.start, columns.stop, rows.stop]) / CANVAS_PX
        for rows, columns in ndimage.find_objects(labels)
    ]


def box_iou(one: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]]) -> float:
    """Intersection over union of two boxes, each left, top, right, bottom."""
    shared = np.prod(np.maximum(0, np.minimum(one, other)[2:] - np.maximum(one, other)[:2]))
    areas = [float(np.prod(box[2:] - box[:2])) for box in (one, other)]
    return float(shared / (sum(areas) - shared))


def _shape_iou(region: Mask, item: SceneObject, box: NDArray[np.floating[Any]]) -> float:
    near = np.zeros_like(region)
    near[box_pixels(box, margin_px=2)] = True
    true = coverage(item.shape, RADII_PX[item.size], item.x, item.y, CANVAS_PX) >= COVERED
    seen = region & near
    return float((seen & true).sum() / (seen | true).sum())


def measure_grounding(
    pictures: Sequence[GroundedPicture], base: "Pipeline", unet: "UNet", *, seed: int
) -> dict[str, Any]:
    """Measure drawings with grounding in no, the first 40 % and all steps, and true pictures.

    The first are base's own drawings, the last taken through the autoencoder. See `summarise`.
    """
    ways = {
        name: draw_grounded(pictures, base, unet, share=share, seed=seed)
        for name, share in SHARES.items()
    }
    ways["true_pictures"] = reconstruct(pictures, base)
    measured = {
        name: np.stack([measure(*pair) for pair in zip(drawn, pictures, strict=True)])
        for name, drawn in ways.items()
    }
    return summarise(measured, "ungrounded")


def summarise(
    measured: Mapping[str, NDArray[np.float64]], reference: str
) -> dict[str, dict[str, Any]]:
    """Give each way of drawing its means over pictures, and its gain over the reference, paired.

    Args:
        measured: by the way's name, (pictures, measures).
        reference: the way that the others are compared with.

    Returns:
        By name and measure: mean, low, high; gain, gain_low, gain_high where it is not the
        reference. Intervals are 95 % bootstraps over pictures.
    """
    summary: dict[str, dict[str, Any]] = {}
    for name, values in measured.items():
        weights = np.ones(len(values))
        summary[name] = {"n": len(values)}
        for column, what in enumerate(MEASURES):
            found = vars(estimate_mean(values[:, column], weights, HOW.named(name, what)))
            if name != reference:
                pair = values[:, column], measured[reference][:, column]
                gain = compare_paired(*pair, weights, HOW.named(name, what, "gain"))
                found = found | {
                    "gain": gain.difference, "gain_low": gain.low, "gain_high": gain.high
                }  # fmt: skip
            summary[name][what] = found
    return summary
