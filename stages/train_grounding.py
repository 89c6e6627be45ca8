"""Foundation stage: trains gated layers beside the base model, and measures where objects land."""

from pathlib import Path

from selma.core.devices import prepare_device
from selma.core.files import write_curve, write_json
from selma.foundation.grounded_pictures import held_out_picture
from selma.foundation.grounding import load_base, save_grounded, train_grounding
from selma.foundation.grounding_accuracy import measure_grounding
from selma.foundation.grounding_set import GroundingSet, build_grounding_set
from selma.foundation.params import FOUNDATION_PATH, GroundingParams, read_plan
from selma.foundation.training import kept_arrays
from selma.runtime.arguments import stage_arguments
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace


def main(argv: list[str] | None = None) -> None:
    """Write a StableDiffusionGLIGENPipeline folder, its accuracy on held-out layouts, its curve."""
    paths = dict.fromkeys(("base", "out", "metrics", "curve"), Path)
    args = stage_arguments(argv, __doc__, params=FOUNDATION_PATH, section=str, **paths)
    plan, seed, settings = read_plan(args.section, GroundingParams, args.params)
    with workspace(f"train_{args.section}", [args.base], settings) as work:
        base = load_base(args.base)
        training_set = kept_arrays(
            work / "training_set.npz", GroundingSet, lambda: build_grounding_set(base, plan, seed)
        )
        unet, losses = train_grounding(
            training_set, base, plan, seed=seed, device=prepare_device(), work=work
        )
        pictures = [held_out_picture(seed, number) for number in range(plan.held_out_pictures)]
        accuracy = measure_grounding(pictures, base, unet, seed=seed)
        save_grounded(args.out, args.base, unet)
        write_json(args.metrics, accuracy)
        write_curve(args.curve, {"loss": losses})


if __name__ == "__main__":
    run_stage("train_grounding", main)
