"""The pictures the pocket detector learns from: objects with boxes, drawn more and less cleanly.

A diffusion model draws otherwise than a renderer: radii and colours vary, objects touch or are
warped, pixels are soft and noisy. So do these pictures, many of them decoded from noisy latents.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from selma.core.files import written_whole
from selma.core.seeds import derive_seed
from selma.foundation.defects import BROKEN, DEGRADED
from selma.pocket.render import corners_of, coverage
from selma.pocket.scenes import BACKGROUNDS, CANVAS_PX, COLOURS, RADII_PX, SHAPES, SceneObject

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

Floats = NDArray[np.float64]

OBJECTS_MAX = 6  # a bad picture has more than a scene
RADIUS_RANGE = (0.88, 1.14)  # of an object's size
CROWDED_SHARE = 0.25  # of pictures in which objects may touch
WARPED_SHARE, WARP_PX = 0.4, 0.8
MELTED_SHARE = 0.15  # of objects whose border is a little soft
BROKEN_SHARE = 0.08  # of objects that are none any more
COLOUR_NOISE = 9.0  # standard deviation, of 256 steps
DECODED_SHARE, LATENT_NOISE = 0.4, 0.35
DEGRADED_SHARE, DEGRADED_SEVERITY = 0.4, 0.5  # the largest
CHUNK = 256


@dataclass(frozen=True)
class DetectorSet:
    """N pictures, and what is where in them."""

    pictures: NDArray[np.uint8]  # (N, CANVAS_PX, CANVAS_PX, 3)
    kinds: NDArray[np.int8]  # (N, OBJECTS_MAX, 3): shape, colour, size; −1 where there is no object
    boxes: NDArray[np.float32]  # (N, OBJECTS_MAX, 4): x, y of the centre, width, height; fractions


@dataclass(frozen=True)
class Drawn(SceneObject):
    """An object of any radius."""

    radius_px: float

    @property
    def kind(self) -> tuple[int, int, int]:
        """Its place among shapes, colours and sizes."""
        names = (SHAPES, tuple(COLOURS), tuple(RADII_PX))
        shape, colour, size = zip(names, (self.shape, self.colour, self.size), strict=True)
        return shape[0].index(shape[1]), colour[0].index(colour[1]), size[0].index(size[1])

    @property
    def box(self) -> tuple[float, float, float, float]:
        return box_of(self.shape, self.radius_px, self.x, self.y)


def box_of(shape: str, radius_px: float, x: float, y: float) -> tuple[float, float, float, float]:
    """Compute the box of an object: x, y of its centre, width, height, as fractions."""
    left, top, right, bottom = map(float, corners_of(shape, radius_px, x, y))
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def build_detector_set(
    autoencoder: "AutoencoderKL", number: int, seed: int, advance: Callable[[int], None]
) -> DetectorSet:
    """Draw pictures by their numbers; `advance` is called with how many are done."""
    pictures = np.empty((number, CANVAS_PX, CANVAS_PX, 3), np.uint8)
    kinds = np.full((number, OBJECTS_MAX, 3), -1, np.int8)
    boxes = np.zeros((number, OBJECTS_MAX, 4), np.float32)
    for start in range(0, number, CHUNK):
        decoded = []
        for n in range(start, min(start + CHUNK, number)):
            rng = random.Random(derive_seed(seed, "detector-picture", n))
            pictures[n], objects = draw_picture(rng)
            for place, item in enumerate(objects):
                kinds[n, place], boxes[n, place] = item.kind, item.box
            if rng.random() < DECODED_SHARE:
                decoded.append(n)
        pictures[decoded] = through_latents(
            autoencoder, pictures[decoded], derive_seed(seed, "detector-latents", start)
        )
        advance(min(CHUNK, number - start))
    return DetectorSet(pictures, kinds, boxes)


def kept_detector_set(path: Path, build: Callable[[], DetectorSet]) -> DetectorSet:
    """Take the pictures from an .npz file, or draw them and keep them there for a restart."""
    if not path.exists():
        with written_whole(path) as part, part.open("wb") as file:
            np.savez(file, **vars(build()))
    with np.load(path) as arrays:
        return DetectorSet(**arrays)


def draw_picture(rng: random.Random) -> tuple[NDArray[np.uint8], list[Drawn]]:
    """Draw objects, some of them flawed; broken ones are in the picture, not in the list."""
    generator = np.random.default_rng(rng.getrandbits(64))
    canvas = np.empty((CANVAS_PX, CANVAS_PX, 3))
    canvas[:] = BACKGROUNDS[rng.choice(list(BACKGROUNDS))] + generator.normal(0, COLOUR_NOISE, 3)
    field = _warp(generator) if rng.random() < WARPED_SHARE else None
    listed = []
    for item in draw_objects(rng):
        share = coverage(item.shape, item.radius_px, item.x, item.y, CANVAS_PX)
        draw = rng.random()
        if draw < BROKEN_SHARE:
            kind = rng.choice(("half_drawn", "merged"))
            share = BROKEN[kind](share, item, rng.uniform(0.4, 1.0), rng)
        else:
            listed.append(item)
            if draw < BROKEN_SHARE + MELTED_SHARE:
                share = BROKEN["melted"](share, item, rng.uniform(-0.3, 0.1), rng)
        if field is not None:
            share = ndimage.map_coordinates(share, field, order=1, mode="constant")
        colour = np.array(COLOURS[item.colour]) + generator.normal(0, COLOUR_NOISE, 3)
        canvas += (colour - canvas) * share[..., None]
    if rng.random() < DEGRADED_SHARE:
        degrade = DEGRADED[rng.choice(list(DEGRADED))]
        canvas = degrade(canvas, rng.uniform(0, DEGRADED_SEVERITY), generator)
    return np.rint(np.clip(canvas, 0, 255)).astype(np.uint8), listed


def draw_objects(rng: random.Random) -> list[Drawn]:
    """Draw up to `OBJECTS_MAX` objects of evenly drawn kinds, each wholly on the canvas."""
    wanted = rng.choice((0, 1, 1, 2, 2, 3, 3, 4, 4, 5, OBJECTS_MAX))
    closest = rng.uniform(0.75, 1.0) if rng.random() < CROWDED_SHARE else 1.08
    objects: list[Drawn] = []
    for _ in range(40 * wanted):
        size = rng.choice(list(RADII_PX))
        radius = RADII_PX[size] * rng.uniform(*RADIUS_RANGE)
        x, y = (rng.uniform(radius, CANVAS_PX - radius) for _ in "xy")
        clear = all(
            np.hypot(x - one.x, y - one.y) >= closest * (radius + one.radius_px) for one in objects
        )
        if len(objects) < wanted and clear:
            kind = rng.choice(SHAPES), rng.choice(list(COLOURS))
            objects.append(Drawn(*kind, size, x, y, radius))
    return objects


def _warp(generator: np.random.Generator) -> Floats:
    """Draw where each pixel comes from: a smooth field, (2, CANVAS_PX, CANVAS_PX)."""
    places = np.mgrid[:CANVAS_PX, :CANVAS_PX].astype(float)
    coarse = generator.normal(0, generator.uniform(0, WARP_PX), (2, 6, 6))
    zoom = (1, CANVAS_PX / 6, CANVAS_PX / 6)
    return np.asarray(places + ndimage.zoom(coarse, zoom, order=3))


def through_latents(
    autoencoder: "AutoencoderKL", pictures: NDArray[np.uint8], seed: int
) -> NDArray[np.uint8]:
    """Encode pictures (N, H, W, 3), add noise of any strength to the latents, decode them."""
    import torch

    from selma.foundation.autoencoder import to_tensor

    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        latents = autoencoder.encode(to_tensor(pictures)).latent_dist.mean
        strength = torch.rand(len(latents), 1, 1, 1, generator=generator) * LATENT_NOISE
        noise = torch.randn(latents.shape, generator=generator) / autoencoder.config.scaling_factor
        decoded = autoencoder.decode(latents + strength * noise).sample
    pixels = ((decoded + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 1)
    return np.asarray(pixels.to(torch.uint8).contiguous().numpy())
