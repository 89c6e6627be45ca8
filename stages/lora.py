"""Trains a LoRA adapter: one skill's expert, or a mixture on several skills' pictures."""

from itertools import chain
from pathlib import Path

from selma.adapters.files import factors_of, write_adapter
from selma.core.devices import prepare_device
from selma.core.files import write_curve
from selma.core.tables import stream_table
from selma.diffusion.loading import LIBRARIES, load_backbone
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.journal import journal
from selma.runtime.params import load_mixture, load_row, load_section, load_skill_section
from selma.runtime.progress import training_progress
from selma.runtime.sections import BackboneParams, LoraParams, MixtureParams, Seed
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace
from selma.training.experts import train


def main(argv: list[str] | None = None) -> None:
    """Train the adapter in float32; write it as float16, as adapters are passed around."""
    args = stage_arguments(argv, __doc__, section=str, name=str, images=Path, out=Path, curve=Path)
    if args.section == "mixtures":
        skills = load_row("mixtures", args.name, MixtureParams, args.params).skills
        lora = load_mixture(args.name, args.params)
    else:
        skills = [args.name]
        lora = load_skill_section("lora", LoraParams, args.name, args.params)
    model = load_section("backbone", BackboneParams, args.params)
    machine = prepare_machine(args.params)
    seed = load_section("seed", Seed, args.params)
    images = [args.images / f"{skill}.parquet" for skill in skills]
    tables = [stream_table(path, "images") for path in sorted(images)]
    settings = {"seed": seed, **machine, **lora.model_dump(), **model.model_dump()}
    inputs = [*images, Path(model.path)]
    with workspace(f"lora-{args.name}", inputs, settings, LIBRARIES) as work:
        backbone = load_backbone(model.path, model.dtype, prepare_device(), "float32")
        with training_progress(lora.train_steps, "steps") as on_step:
            expert = train(
                {args.name: chain.from_iterable(tables)},
                backbone,
                work,
                seed=seed,
                on_step=on_step,
                **lora.model_dump(),
            )[args.name]
        for name, value in expert.speed.items():
            journal({"event": "metric", "name": name, "step": lora.train_steps, "value": value})
        provenance = {
            "name": args.name, "seed": seed, "lora": lora.model_dump(), "step": expert.step,
            "dev_losses": expert.dev_losses,
            "prediction_type": backbone.noising.prediction_type,
        }  # fmt: skip
        halved = {name: tensor.half() for name, tensor in expert.tensors.items()}
        factors = factors_of(halved, backbone.component)
        write_adapter(args.out, factors, {**provenance, "base": model.path})
        write_curve(args.curve, {"loss": expert.losses, "gradient_norm": expert.norms})


if __name__ == "__main__":
    run_stage("lora", main)
