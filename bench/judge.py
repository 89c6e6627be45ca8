"""Prints the pocket judge's speed and accuracy on clean, worn, two-tone and touching renders."""

import argparse
import math
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from selma.core.seeds import derive_seed
from selma.foundation.autoencoder import to_tensor, uniform_scene
from selma.pocket.captions import COUNT_WORDS, RELATION_PHRASES, article, plural
from selma.pocket.judge import answer_questions
from selma.pocket.questions import UNKNOWN, YES_NO, answer_query, parse_question
from selma.pocket.render import coverage, render
from selma.pocket.scenes import (
    BACKGROUNDS,
    CANVAS_PX,
    COLOURS,
    RADII_PX,
    RELATIONS,
    SHAPES,
    Scene,
    SceneObject,
)

Pictures = NDArray[np.uint8]
Ask = tuple[str, tuple[str, ...]]


def questions_about(scene: Scene, rng: random.Random) -> list[Ask]:
    """Ask every kind of question, true or false by chance, mostly about shapes that are there."""
    present = [item.shape for item in scene.objects]
    first, second = (rng.choice(present if rng.random() < 0.8 else SHAPES) for _ in "ab")
    there = next((item for item in scene.objects if item.shape == first), scene.objects[0])
    number = rng.choice(list(COUNT_WORDS.values()))
    if rng.random() < 0.5:
        number = COUNT_WORDS[max(1, present.count(first))]
    colour = (
        there.colour
        if there.colour in COLOURS and rng.random() < 0.5
        else rng.choice(list(COLOURS))
    )
    size = rng.choice(list(RADII_PX))
    background = scene.background if rng.random() < 0.5 else rng.choice(list(BACKGROUNDS))
    where = RELATION_PHRASES[rng.choice(RELATIONS)][0]
    return [
        (f"Is there {article(first)}?", YES_NO),
        (f"Is there {article(rng.choice(SHAPES))}?", YES_NO),
        (f"Is there {article(f'{size} {colour} {first}')}?", YES_NO),
        (f"Are there exactly {number} {plural(first)}?", YES_NO),
        (f"Is the {first} {colour}?", YES_NO),
        (f"Are the {plural(first)} {colour}?", YES_NO),
        (f"Is the {first} {size}?", YES_NO),
        (f"Is the {first} {where} the {second}?", YES_NO),
        (f"Is the background {background}?", YES_NO),
        (f"What color is the {first}?", tuple(COLOURS)),
        (f"What size is the {first}?", tuple(RADII_PX)),
        (f"Which shape is {colour}?", SHAPES),
        (f"How many {plural(first)} are there?", ("1", "2", "3", "4")),
        (f"Where is the {first} relative to the {second}?", RELATIONS),
        ("What color is the background?", tuple(BACKGROUNDS)),
    ]


def two_tone(scene: Scene, rng: random.Random) -> tuple[Pictures, Scene]:
    """Draw a scene with one object in two colours, with a hard border between them or a soft one.

    The second colour has a tenth to a fifth of the object, or about half of it; then the object has
    no one colour: "unknown" in the scene that is returned.
    """
    place = rng.randrange(len(scene.objects))
    item = scene.objects[place]
    cover = coverage(item.shape, RADII_PX[item.size], item.x, item.y, CANVAS_PX)
    others = sorted(set(COLOURS) - {each.colour for each in scene.objects})
    middles = np.arange(CANVAS_PX) + 0.5
    share = 0.0
    while not (0.1 < share < 0.2 or 0.4 < share < 0.6):
        angle, border = rng.uniform(0, math.tau), rng.uniform(-6, 6)
        along = (middles - item.x) * math.cos(angle) + (middles[:, None] - item.y) * math.sin(angle)
        second = np.clip((along - border) / rng.choice((0.5, 3.0, 6.0)) + 0.5, 0, 1)[..., None]
        share = float((cover * second[..., 0]).sum() / cover.sum())

    def with_colour(colour: str) -> Scene:
        objects = list(scene.objects)
        objects[place] = replace(item, colour=colour)
        return replace(scene, objects=tuple(objects))

    picture = render(scene) * (1 - second) + render(with_colour(rng.choice(others))) * second
    return np.rint(picture).astype(np.uint8), scene if share < 0.3 else with_colour(UNKNOWN)


def touching(rng: random.Random) -> tuple[Pictures, Scene]:
    """Draw two objects in two colours, the second moved towards the first until they touch."""
    size, shapes = rng.choice(list(RADII_PX)), rng.choices(SHAPES, k=2)
    colours, angle = rng.sample(list(COLOURS), 2), rng.uniform(0, math.tau)
    distance, shared = 2.4 * RADII_PX[size], 0.0
    while shared < 0.3:
        distance -= 0.25
        places = [
            (16 + side * distance * math.cos(angle) / 2, 16 + side * distance * math.sin(angle) / 2)
            for side in (-1, 1)
        ]
        first, second = (
            coverage(shape, RADII_PX[size], x, y, CANVAS_PX)
            for shape, (x, y) in zip(shapes, places, strict=True)
        )
        shared = float(np.minimum(first, second).sum())
    objects = (
        SceneObject(shape, colour, size, x, y)
        for shape, colour, (x, y) in zip(shapes, colours, places, strict=True)
    )
    scene = Scene(rng.choice(list(BACKGROUNDS)), tuple(objects))
    return render(scene), scene


def wear(pictures: Pictures, blur_px: float, noise: float, seed: int) -> Pictures:
    """Blur pictures (Gaussian, standard deviation in pixels) and add noise (in 1/255)."""
    soft = ndimage.gaussian_filter(pictures.astype(float), (0, blur_px, blur_px, 0))
    soft += np.random.default_rng(seed).normal(0, noise, soft.shape)
    return np.asarray(np.clip(np.rint(soft), 0, 255), np.uint8)


def round_trip(pictures: Pictures, directory: Path) -> Pictures:
    """Encode and decode pictures with a saved AutoencoderKL."""
    import torch
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(directory).eval()
    with torch.no_grad():
        decoded = [
            vae.decode(vae.encode(to_tensor(batch)).latent_dist.mean).sample
            for batch in np.array_split(pictures, max(1, len(pictures) // 64))
        ]
    values = (torch.cat(decoded).permute(0, 2, 3, 1).numpy() + 1) * 127.5
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def main() -> None:
    """Print one table: rows are kinds of questions, columns are conditions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--vae", type=Path, help="folder of a saved AutoencoderKL")
    args = parser.parse_args()
    rng = random.Random(derive_seed(args.seed, "bench-judge"))
    scenes = [uniform_scene(rng) for _ in range(args.scenes)]
    clean = np.stack([render(scene) for scene in scenes])
    toned, toned_scenes = zip(*(two_tone(scene, rng) for scene in scenes), strict=True)
    close, close_scenes = zip(*(touching(rng) for _ in scenes), strict=True)
    conditions: dict[str, tuple[Pictures, Sequence[Scene]]] = {
        "clean": (clean, scenes),
        "blur": (wear(clean, 0.6, 0, args.seed), scenes),
        "noise": (wear(clean, 0, 8, args.seed), scenes),
        "both": (wear(clean, 0.6, 8, args.seed), scenes),
        "two-tone": (np.stack(toned), toned_scenes),
        "… worn": (wear(np.stack(toned), 0.6, 8, args.seed), toned_scenes),
        "touching": (np.stack(close), close_scenes),
    }
    if args.vae:
        conditions["vae"] = round_trip(clean, args.vae), scenes
    right: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    speeds = {}
    for name, (pictures, of_condition) in conditions.items():
        asked = [questions_about(scene, random.Random(n)) for n, scene in enumerate(of_condition)]
        start = time.perf_counter()
        answers = answer_questions(list(pictures), asked)
        speeds[name] = 1000 * (time.perf_counter() - start) / len(pictures)
        for scene, questions, given in zip(of_condition, asked, answers, strict=True):
            for (text, choices), reply in zip(questions, given, strict=True):
                query = parse_question(text)
                truth = answer_query(query, choices, scene.background, scene.objects)
                right[query.kind][name].append(reply == truth)
                right["all"][name].append(reply == truth)
    print(f"{'% right':18}" + "".join(f"{name:>9}" for name in conditions) + f"{'n':>8}")
    for kind, by_condition in right.items():
        shares = "".join(f"{100 * float(np.mean(by_condition[c])):9.2f}" for c in conditions)
        print(f"{kind:18}{shares}{len(by_condition['clean']):8d}")
    print(f"{'ms per picture':18}" + "".join(f"{speeds[name]:9.2f}" for name in conditions))


if __name__ == "__main__":
    main()
