"""Distils experts into one adapter, which starts as their merge and learns on its own pictures."""

from pathlib import Path

from selma.adapters.files import factors_of, read_adapter, write_adapter
from selma.core.devices import prepare_device
from selma.core.files import write_curve
from selma.core.fingerprints import content_sha256
from selma.core.tables import read_table
from selma.diffusion.loading import LIBRARIES, load_backbone
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.distil_params import DISTILLED, DistillationParams
from selma.runtime.journal import journal
from selma.runtime.params import laid_over, load_row, load_section
from selma.runtime.progress import training_progress
from selma.runtime.sections import BackboneParams, LoraParams, Seed
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace
from selma.training.distillation import distil


def main(argv: list[str] | None = None) -> None:
    """Train the adapter in float32 on the skills' prompts; write it as float16, as the others."""
    args = stage_arguments(
        argv, __doc__, name=str, student=Path, experts=Path, prompts=Path, out=Path, curve=Path
    )
    row = load_row("distillations", args.name, DistillationParams, args.params)
    lora = laid_over("lora", LoraParams, row.lora, args.params).model_dump(include=DISTILLED)
    model = load_section("backbone", BackboneParams, args.params)
    machine = prepare_machine(args.params)
    seed = load_section("seed", Seed, args.params)
    how = {"kind": row.kind, "weights": row.weights, "match": row.match}
    how |= {"guidance_scale": row.guidance_scale, "trajectory": row.trajectory.model_dump()}
    files = {skill: args.experts / f"{skill}.safetensors" for skill in row.experts}
    tables = {skill: args.prompts / f"{skill}.parquet" for skill in row.experts}
    settings = {"seed": seed, **machine, **how, **lora, **model.model_dump()}
    inputs = [args.student, *files.values(), *tables.values(), Path(model.path)]
    with workspace(f"distil-{args.name}", inputs, settings, LIBRARIES) as work:
        backbone = load_backbone(model.path, model.dtype, prepare_device(), "float32")
        prompts = {
            skill: {one["prompt_id"]: one["prompt"] for one in read_table(table, "prompts")}
            for skill, table in tables.items()
        }
        with training_progress(lora["train_steps"], "steps") as on_step:
            distilled = distil(
                read_adapter(args.student),
                {skill: read_adapter(path) for skill, path in files.items()},
                prompts, backbone, work, name=args.name, seed=seed, on_step=on_step,
                source=str(args.student), sources={name: str(p) for name, p in files.items()},
                **how, **lora,
            )  # fmt: skip
        for name, value in distilled.speed.items():
            journal({"event": "metric", "name": name, "step": lora["train_steps"], "value": value})
        provenance = {
            "name": args.name, "seed": seed, "lora": lora, "distillation": how, "base": model.path,
            "step": distilled.step, "student": content_sha256(args.student),
            "sha256": {skill: content_sha256(path) for skill, path in files.items()},
        }  # fmt: skip
        halved = {name: tensor.half() for name, tensor in distilled.tensors.items()}
        write_adapter(args.out, factors_of(halved, backbone.component), provenance)
        write_curve(args.curve, {"loss": distilled.losses, "gradient_norm": distilled.norms})


if __name__ == "__main__":
    run_stage("distil", main)
