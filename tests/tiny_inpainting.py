"""Inpainting models, tiny and untrained: U-Nets that see mask and masked picture too."""

import json
from pathlib import Path

INPAINTING = {
    "sd1": "StableDiffusionInpaintPipeline", "sdxl": "StableDiffusionXLInpaintPipeline",
}  # fmt: skip


def write_nine_channels(source: Path, folder: Path, name: str, channels: int = 9) -> None:
    """Write an inpainting model: the source, its U-Net new and of more input channels."""
    import torch
    from diffusers import DiffusionPipeline, UNet2DConditionModel

    pipeline = DiffusionPipeline.from_pretrained(source)
    generator = torch.random.get_rng_state()
    torch.manual_seed(3)
    config = dict(pipeline.unet.config) | {"in_channels": channels}
    pipeline.unet = UNet2DConditionModel.from_config(config).eval()
    torch.random.set_rng_state(generator)
    pipeline.save_pretrained(folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": name}))
