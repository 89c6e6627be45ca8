"""Puts a LoRA adapter on a U-Net's attention, and takes its tensors off again."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# SELMA, arXiv 2403.06952, section 3.3: the attention projections of the U-Net.
TARGET_MODULES = ("to_q", "to_k", "to_v", "to_out.0")
ADAPTER_NAME = "expert"


def add_adapter(unet: Any, *, rank: int, seed: int) -> dict[str, "torch.nn.Parameter"]:
    """Add a new LoRA adapter to a U-Net; mutates `unet`, which then computes the same as before.

    alpha = rank, so the scale is 1. A is drawn from N(0, 1/rank²), B is zero.

    Args:
        unet: a `UNet2DConditionModel` without adapters.
        rank: of every layer.
        seed: of A.

    Returns:
        The float32 parameters by name, ``<module>.lora_A.weight`` (rank, in) and
        ``<module>.lora_B.weight`` (out, rank), sorted.
    """
    import torch
    from peft import LoraConfig

    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        init_lora_weights="gaussian",
        target_modules=list(TARGET_MODULES),
    )
    device = unet.device
    unet.to("cpu")  # A's values come from the CPU's generator on every device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet.add_adapter(config, adapter_name=ADAPTER_NAME)
    found = {
        name.replace(f".{ADAPTER_NAME}.", "."): parameter
        for name, parameter in unet.named_parameters()
        if f".{ADAPTER_NAME}." in name
    }
    for parameter in found.values():
        parameter.data = parameter.data.float()
    unet.to(device)
    return {name: found[name] for name in sorted(found)}
