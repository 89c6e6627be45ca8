"""Stores weights as float16, to halve the release, and has them loaded as float32."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def round_to_float16(parameters: "Mapping[str, torch.Tensor]") -> None:
    """Round weights in place to what their float16 file will hold; mutates them."""
    import torch

    with torch.no_grad():
        for parameter in parameters.values():
            parameter.copy_(parameter.half().float())


def load_as_float32(directory: Path) -> None:
    """Note in a transformers model's config that its weights are to be loaded as float32."""
    path = directory / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
