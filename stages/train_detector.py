"""Foundation stage: trains the pocket world's detector, a small OWLv2."""

from dataclasses import asdict
from pathlib import Path

from selma.core.files import write_curve, write_json
from selma.foundation.detector import make_detector
from selma.foundation.detector_model import save_detector
from selma.foundation.params import FOUNDATION_PATH, DetectorParams, read_plan
from selma.foundation.scorer_files import read_tokenizer
from selma.runtime.arguments import stage_arguments
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace


def main(argv: list[str] | None = None) -> None:
    """Write the detector's directory, its precision and recall and its loss curve."""
    paths = dict.fromkeys(("tokenizer", "autoencoder", "out", "metrics", "curve"), Path)
    args = stage_arguments(argv, __doc__, params=FOUNDATION_PATH, **paths)
    plan, seed, settings = read_plan("detector", DetectorParams, args.params)
    with workspace("train_detector", [args.tokenizer, args.autoencoder], settings) as work:
        from diffusers import AutoencoderKL

        tokenizer = read_tokenizer(args.tokenizer)
        autoencoder = AutoencoderKL.from_pretrained(args.autoencoder).eval()
        model, rates, losses = make_detector(tokenizer, autoencoder, plan, seed=seed, work=work)
        save_detector(model, tokenizer, args.out)
        metrics = {
            kind: {rate: asdict(value) for rate, value in both.items()}
            for kind, both in rates.items()
        }
        write_json(args.metrics, metrics)
        write_curve(args.curve, {"loss": losses})


if __name__ == "__main__":
    run_stage("train_detector", main)
