"""A tiny pipeline of each family, random adapters of all its layers, and what it then computes."""

import copy
import logging

import torch
import transformers

from selma.adapters.factors import LoraFactors
from selma.diffusion.loading import add_updates
from selma.diffusion.tiny import KINDS as TINY

KINDS = ("sd1", "sd2", "sdxl")
COMPONENTS = ("unet", "transformer", "text_encoder", "text_encoder_2")
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


def components(pipeline):
    return {name: getattr(pipeline, name) for name in COMPONENTS if hasattr(pipeline, name)}


def matrices(network):
    """The modules that multiply by a matrix, but embeddings of tokens."""
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            yield name, module


def random_factors(seed, weight, rank, scale):
    generator = torch.Generator().manual_seed(seed)
    out, inside = weight.shape[0], weight[0].numel()
    a = torch.randn(rank, inside, generator=generator) / inside**0.5
    b = torch.randn(out, rank, generator=generator) / 2
    kernel = tuple(weight.shape[2:]) if weight.ndim == 4 else None
    return LoraFactors(a, b, scale, kernel)


def adapter_of(pipeline, *, keep=lambda name: True, ranks=(1, 2, 3), scales=(1.0,)):
    """An adapter of all layers that are kept; ranks and scales change from one to the next."""
    found, seed = {}, 0
    for component, network in components(pipeline).items():
        for name, module in matrices(network):
            flat = component == "text_encoder" and not hasattr(network, "text_model")
            layer = f"{component}.{'text_model.' if flat else ''}{name}"
            if keep(layer):
                rank, scale = ranks[seed % len(ranks)], scales[seed % len(scales)]
                found[layer] = random_factors(seed, module.weight, rank, scale)
                seed += 1
    return found


def updated(pipeline, adapter):
    """A copy of the pipeline with the dense updates in its weights."""
    changed = copy.deepcopy(pipeline)
    updates = ((name, one.delta().view(one.weight_shape)) for name, one in adapter.items())
    add_updates(components(changed), updates, "adapter")
    return changed


def computed(pipeline):
    """What each component computes of fixed inputs, in float64."""
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, 8, 8, generator=generator).double()
    tokens = torch.randint(2, 40, (2, 16), generator=generator)
    unet, found = pipeline.unet.double(), {}
    text = torch.randn(2, 5, unet.config.cross_attention_dim, generator=generator).double()
    added = {"text_embeds": text.new_ones(2, 16), "time_ids": text.new_ones(2, 6) * 32}
    with torch.no_grad():
        found["unet"] = unet(
            latents, torch.tensor([10, 900]), encoder_hidden_states=text, added_cond_kwargs=added
        ).sample
        for name, encoder in components(pipeline).items():
            if name != "unet":
                found[name] = encoder.double()(tokens)[0]
    return found


class Complaints(logging.Handler):
    """What diffusers and transformers log; a key that they do not use is among it."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


def loaded(pipeline, path):
    """A copy of the pipeline into which stock diffusers has loaded a file without a complaint."""
    changed, complaints = copy.deepcopy(pipeline), Complaints()
    transformers.utils.logging.disable_progress_bar()
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers", "peft")]
    for logger in loggers:
        logger.addHandler(complaints)
    try:
        changed.load_lora_weights(str(path.parent), weight_name=path.name)
    finally:
        for logger in loggers:
            logger.removeHandler(complaints)
    assert complaints.said == []
    return changed


def assert_same_effect(pipeline, changed, adapter, names=None):
    """What a changed pipeline computes is what the adapter's dense updates make it, and is new."""
    before = computed(copy.deepcopy(pipeline))
    wanted, found = computed(updated(pipeline, adapter)), computed(changed)
    for name in names or wanted:
        value = wanted[name]
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5)
        assert (value - before[name]).abs().max() > 0.01, name


def tiny(kind):
    return TINY[kind](0)


def with_sgm_blocks(kind):
    """A tiny pipeline whose U-Net has as many blocks and layers as the published one."""
    from diffusers import UNet2DConditionModel

    pipeline, levels = tiny(kind), 3 if kind == "sdxl" else 4
    attention = [kind != "sdxl", True, True, False][:levels]
    config = {
        **pipeline.unet.config,
        "block_out_channels": (8,) + (16,) * (levels - 1),
        "layers_per_block": 2,
        "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attention],
        "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in attention[::-1]],
        "attention_head_dim": 4,
        "transformer_layers_per_block": [1, 2, 2] if kind == "sdxl" else 1,
    }
    torch.manual_seed(0)
    pipeline.unet = UNet2DConditionModel.from_config(config).eval()
    return pipeline
