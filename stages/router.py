"""Trains a router: gates that weigh frozen experts token by token, on their skills' pictures."""

from itertools import chain
from pathlib import Path

from selma.adapters.files import read_adapter
from selma.adapters.routers import Router, by_layer, write_router
from selma.core.devices import prepare_device
from selma.core.files import write_curve
from selma.core.fingerprints import content_sha256
from selma.core.tables import stream_table
from selma.diffusion.loading import LIBRARIES, load_backbone
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.journal import journal
from selma.runtime.params import load_router, load_row, load_section
from selma.runtime.progress import training_progress
from selma.runtime.sections import NOT_A_ROUTERS, BackboneParams, RouterParams, Seed
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace
from selma.training.routers import train_router


def main(argv: list[str] | None = None) -> None:
    """Train the gates in float32; the experts stay as they are, and all is written to one file."""
    args = stage_arguments(argv, __doc__, name=str, images=Path, experts=Path, out=Path, curve=Path)
    row = load_row("routers", args.name, RouterParams, args.params)
    lora = load_router(args.name, args.params).model_dump(exclude=NOT_A_ROUTERS)
    model = load_section("backbone", BackboneParams, args.params)
    machine = prepare_machine(args.params)
    seed = load_section("seed", Seed, args.params)
    skills = sorted(row.skills)
    files = {skill: args.experts / f"{skill}.safetensors" for skill in skills}
    images = [args.images / f"{skill}.parquet" for skill in skills]
    tables = [stream_table(path, "images") for path in images]
    settings = {"seed": seed, **machine, **lora, **model.model_dump(), "top_k": row.top_k}
    inputs = [*images, *files.values(), Path(model.path)]
    with workspace(f"router-{args.name}", inputs, settings, LIBRARIES) as work:
        layers = by_layer({skill: read_adapter(path) for skill, path in files.items()})
        backbone = load_backbone(model.path, model.dtype, prepare_device(), "float32")
        pictures = chain.from_iterable(tables)
        with training_progress(lora["train_steps"], "steps") as on_step:
            gates = train_router(
                args.name, pictures, layers, skills, backbone, work,
                seed=seed, top_k=row.top_k, on_step=on_step, **lora,
            )  # fmt: skip
        for name, value in gates.speed.items():
            journal({"event": "metric", "name": name, "step": lora["train_steps"], "value": value})
        provenance = {
            "name": args.name, "seed": seed, "lora": lora, "base": model.path, "step": gates.step,
            "dev_losses": gates.dev_losses,
            "sha256": {skill: content_sha256(path) for skill, path in files.items()},
        }  # fmt: skip
        write_router(args.out, Router(skills, layers, gates.tensors, row.top_k, provenance))
        write_curve(args.curve, {"loss": gates.losses, "gradient_norm": gates.norms})


if __name__ == "__main__":
    run_stage("router", main)
