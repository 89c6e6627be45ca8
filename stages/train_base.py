"""Foundation stage: trains a pocket base model, strong or weak, and draws grids as it learns."""

import shutil
from pathlib import Path

from selma.core.devices import prepare_device
from selma.core.files import write_curve
from selma.foundation.denoiser import (
    build_training_set,
    kept_training_set,
    save_pipeline,
    train_denoiser,
)
from selma.foundation.grids import grid_drawer
from selma.foundation.params import FOUNDATION_PATH, BaseModelParams, read_plan
from selma.runtime.arguments import stage_arguments
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace


def main(argv: list[str] | None = None) -> None:
    """Write a StableDiffusionPipeline directory, a loss curve and one grid per checkpoint."""
    paths = dict.fromkeys(("tokenizer", "autoencoder", "out", "curve", "grids"), Path)
    args = stage_arguments(argv, __doc__, params=FOUNDATION_PATH, section=str, **paths)
    plan, seed, settings = read_plan(args.section, BaseModelParams, args.params)
    inputs = [args.tokenizer, args.autoencoder]
    with workspace(f"train_{args.section}", inputs, {"section": args.section, **settings}) as work:
        from diffusers import AutoencoderKL
        from transformers import CLIPTokenizer

        tokenizer = CLIPTokenizer.from_pretrained(args.tokenizer)
        autoencoder = AutoencoderKL.from_pretrained(args.autoencoder).eval()
        denoiser, losses = train_denoiser(
            kept_training_set(
                work / "training_set.npz",
                lambda: build_training_set(autoencoder, tokenizer, plan, seed),
            ),
            tokenizer,
            plan,
            seed=seed,
            device=prepare_device(),
            work=work,
            on_average=grid_drawer(autoencoder, tokenizer, work / "grids"),
        )
        save_pipeline(args.out, autoencoder, tokenizer, denoiser)
        shutil.copytree(work / "grids", args.grids, dirs_exist_ok=True)
        write_curve(args.curve, {"loss": losses})


if __name__ == "__main__":
    run_stage("train_base", main)
