"""Prints the pocket judge's speed, and its accuracy on clean and worn renders."""

import argparse
import random
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from selma.core.seeds import derive_seed
from selma.foundation.autoencoder import to_tensor, uniform_scene
from selma.pocket.captions import COUNT_WORDS, RELATION_PHRASES, article, plural
from selma.pocket.judge import answer_questions
from selma.pocket.questions import YES_NO, answer_query, parse_question
from selma.pocket.render import render
from selma.pocket.scenes import BACKGROUNDS, COLOURS, RADII_PX, RELATIONS, SHAPES, Scene

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
    colour = there.colour if rng.random() < 0.5 else rng.choice(list(COLOURS))
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
    asked = [questions_about(scene, rng) for scene in scenes]
    clean = np.stack([render(scene) for scene in scenes])
    conditions: dict[str, Callable[[], Pictures]] = {
        "clean": lambda: clean,
        "blur": lambda: wear(clean, 0.6, 0, args.seed),
        "noise": lambda: wear(clean, 0, 8, args.seed),
        "both": lambda: wear(clean, 0.6, 8, args.seed),
    }
    if args.vae:
        conditions["vae"] = lambda: round_trip(clean, args.vae)
    right: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    speeds = {}
    for name, make in conditions.items():
        pictures = list(make())
        start = time.perf_counter()
        answers = answer_questions(pictures, asked)
        speeds[name] = 1000 * (time.perf_counter() - start) / len(pictures)
        for scene, questions, given in zip(scenes, asked, answers, strict=True):
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
