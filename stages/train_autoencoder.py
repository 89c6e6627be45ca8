"""Foundation stage: trains the pocket world's image autoencoder."""

import argparse
from pathlib import Path

from selma.core.devices import set_threads
from selma.core.files import write_curve
from selma.foundation.params import AutoencoderParams
from selma.runtime.params import Seed, Threads, load_section
from selma.runtime.progress import training_progress
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace


def main() -> None:
    """Write an AutoencoderKL directory and its loss curve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("foundation/params.yaml"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--curve", type=Path, required=True)
    args = parser.parse_args()
    params = load_section("autoencoder", AutoencoderParams, args.params)
    seed, threads = (
        load_section("seed", Seed, args.params),
        load_section("threads", Threads, args.params),
    )

    from selma.core.devices import prepare_device
    from selma.foundation.autoencoder import train_autoencoder
    from selma.training.loop import Checkpointing

    set_threads(threads)
    settings = {"seed": seed, "threads": threads, **params.model_dump()}
    with (
        workspace("train_autoencoder", [], settings) as work,
        training_progress(params.train_steps, "autoencoder") as on_step,
    ):
        model, losses = train_autoencoder(
            seed=seed,
            train_steps=params.train_steps,
            batch_size=params.batch_size,
            learning_rate=params.learning_rate,
            device=prepare_device(),
            checkpointing=Checkpointing(work / "state.safetensors", params.checkpoint_every_steps),
            on_step=on_step,
        )
        model.save_pretrained(args.out, safe_serialization=True)
        write_curve(args.curve, losses)


if __name__ == "__main__":
    run_stage("train_autoencoder", main)
