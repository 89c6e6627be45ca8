"""Foundation stage: trains a pocket base model, strong or weak, and draws grids as it learns."""

import argparse
import shutil
from functools import partial
from pathlib import Path

from selma.core.devices import set_threads
from selma.core.files import write_curve
from selma.foundation.params import BaseModelParams
from selma.runtime.params import Seed, Threads, load_section
from selma.runtime.progress import progress, training_progress
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace


def main() -> None:
    """Write a StableDiffusionPipeline directory, a loss curve and one grid per checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("foundation/params.yaml"))
    parser.add_argument("--section", choices=("base", "weak_base"), required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--autoencoder", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--curve", type=Path, required=True)
    parser.add_argument("--grids", type=Path, required=True)
    args = parser.parse_args()
    params = load_section(args.section, BaseModelParams, args.params)
    seed, threads = (
        load_section("seed", Seed, args.params),
        load_section("threads", Threads, args.params),
    )

    from diffusers import AutoencoderKL
    from transformers import CLIPTokenizer

    from selma.core.devices import prepare_device
    from selma.foundation.denoiser import (
        build_training_set,
        kept_training_set,
        save_pipeline,
        train_denoiser,
    )
    from selma.foundation.grids import grid_drawer
    from selma.foundation.pictures import CaptionNoise
    from selma.training.loop import Checkpointing

    set_threads(threads)
    tokenizer = CLIPTokenizer.from_pretrained(args.tokenizer)
    autoencoder = AutoencoderKL.from_pretrained(args.autoencoder).eval()
    settings = {"seed": seed, "threads": threads, "section": args.section, **params.model_dump()}
    with workspace(f"train_{args.section}", [args.tokenizer, args.autoencoder], settings) as work:
        with progress(params.pictures, "pictures") as advance:
            build = partial(
                build_training_set,
                autoencoder,
                tokenizer,
                seed=seed,
                pictures=params.pictures,
                noise=CaptionNoise(params.wrong_captions, params.partial_captions),
                advance=advance,
            )
            training_set = kept_training_set(work / "training_set", build)
        with training_progress(params.train_steps, args.section) as on_step:
            text_encoder, unet, losses = train_denoiser(
                training_set,
                tokenizer,
                channels=(params.channels[0], params.channels[1]),
                seed=seed,
                train_steps=params.train_steps,
                schedule_steps=params.schedule_steps,
                cooldown_steps=params.cooldown_steps,
                batch_size=params.batch_size,
                learning_rate=params.learning_rate,
                average_decay=params.average_decay,
                device=prepare_device(),
                checkpointing=Checkpointing(
                    work / "state.safetensors", params.checkpoint_every_steps
                ),
                on_step=on_step,
                on_average=grid_drawer(autoencoder, tokenizer, work / "grids"),
                average_every_steps=params.grid_every_steps,
            )
        save_pipeline(args.out, autoencoder, text_encoder, tokenizer, unet)
        shutil.copytree(work / "grids", args.grids, dirs_exist_ok=True)
        write_curve(args.curve, losses)


if __name__ == "__main__":
    run_stage("train_base", main)
