"""Foundation stage: trains the pocket world's image autoencoder."""

from pathlib import Path

from selma.core.devices import prepare_device
from selma.core.files import write_curve
from selma.foundation.autoencoder import train_autoencoder
from selma.foundation.params import FOUNDATION_PATH, TrainingParams, read_plan
from selma.runtime.arguments import stage_arguments
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace


def main(argv: list[str] | None = None) -> None:
    """Write an AutoencoderKL directory and its loss curve."""
    args = stage_arguments(argv, __doc__, params=FOUNDATION_PATH, out=Path, curve=Path)
    plan, seed, settings = read_plan("autoencoder", TrainingParams, args.params)
    with workspace("train_autoencoder", [], settings) as work:
        model, losses = train_autoencoder(plan, seed=seed, device=prepare_device(), work=work)
        model.save_pretrained(args.out, safe_serialization=True)
        write_curve(args.curve, {"loss": losses})


if __name__ == "__main__":
    run_stage("train_autoencoder", main)
