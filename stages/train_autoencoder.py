"""Foundation stage: trains the pocket world's image autoencoder."""

import argparse
from pathlib import Path

from selma.params import load_section, load_value
from selma.pocket.foundation import AutoencoderParams
from selma.runtime import run_stage, set_threads, training_progress, workspace, write_curve


def main() -> None:
    """Write an AutoencoderKL directory and its loss curve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("foundation/params.yaml"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--curve", type=Path, required=True)
    args = parser.parse_args()
    params = load_section("autoencoder", AutoencoderParams, args.params)
    seed, threads = load_value("seed", args.params), load_value("threads", args.params)

    from selma.devices import prepare_device
    from selma.pocket.autoencoder import train_autoencoder
    from selma.training import Checkpointing

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
