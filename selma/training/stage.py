"""What the stages `lora` and `mixture` share: from image tables to one adapter file."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.runtime.params import BackboneParams, LoraParams

logger = logging.getLogger(__name__)


def train_adapter(
    rows: Sequence[Mapping[str, Any]],
    inputs: Sequence[Path],
    *,
    name: str,
    lora: LoraParams,
    model: BackboneParams,
    seed: int,
    threads: int,
    out: Path,
    curve: Path,
) -> None:
    """Train one adapter on image rows and write it with its loss curve.

    It is trained in float32 and stored as float16, as adapters are passed around.

    Args:
        rows: of `images` tables.
        inputs: the files they came from.
        name: the skill, or "mixture".
        lora: how to train.
        model: the base model.
        seed: the run's.
        threads: of the CPU.
        out: the adapter, in diffusers' LoRA layout.
        curve: the loss curve, CSV.
    """
    from selma.core.devices import prepare_device, set_threads
    from selma.core.files import write_curve
    from selma.diffusion.backbone import load_backbone
    from selma.merging.files import factors_of, write_adapter
    from selma.runtime.progress import training_progress
    from selma.runtime.workspace import workspace
    from selma.training.loop import Checkpointing
    from selma.training.moments import encode_examples
    from selma.training.trainer import train_expert

    set_threads(threads)
    settings = {"seed": seed, "threads": threads, **lora.model_dump(), **model.model_dump()}
    local = [Path(model.path)] if model.revision is None else []
    with workspace(f"lora-{name}", [*inputs, *local], settings) as work:
        backbone = load_backbone(model.path, model.revision, model.dtype, prepare_device())
        examples = encode_examples(
            rows,
            vae=backbone.vae,
            tokenizer=backbone.tokenizer,
            text_encoder=backbone.text_encoder,
        )
        logger.info("%s: encoded %d pictures", name, len(examples))
        with training_progress(lora.train_steps, f"lora {name}") as on_step:
            expert = train_expert(
                backbone.unet,
                backbone.noise_scheduler,
                examples,
                name=name,
                seed=seed,
                checkpointing=Checkpointing(
                    work / "state.safetensors", lora.checkpoint_every_steps
                ),
                on_step=on_step,
                **lora.model_dump(exclude={"checkpoint_every_steps"}),
            )
        provenance = {"name": name, "seed": seed, "lora": lora.model_dump(), "base": model.path}
        halved = {name: tensor.half() for name, tensor in expert.tensors.items()}
        write_adapter(out, factors_of(halved), provenance)
        write_curve(curve, expert.losses)
