"""The key of a tensor in any layout: which layer it belongs to, and what it is of it."""

import re
from dataclasses import dataclass
from pathlib import Path

from selma.adapters.formats.lora_config import TEXT_MODEL
from selma.adapters.formats.names import TEXT_ENCODER, UNET, text_module, unet_module
from selma.adapters.formats.refused import ELSEWHERE, kind_of
from selma.core.errors import AdapterMismatchError

COMPONENTS = ("unet", "transformer", "text_encoder", "text_encoder_2")
PEFT_PREFIX = "base_model.model."
KOHYA_PREFIXES = {
    "lora_unet": "unet", "lycoris": "unet",
    "lora_te": "text_encoder", "lora_te1": "text_encoder", "lora_te2": "text_encoder_2",
}  # fmt: skip
_HALVES = {"lora_A": "A", "lora_down": "A", "down": "A", "lora_B": "B", "lora_up": "B", "up": "B"}
_KOHYA = re.compile(
    r"(lora_unet|lycoris|lora_te[12]?)_(\w+)\.(?:(lora_down|lora_up|lora_A|lora_B)\.weight|alpha)"
)
_PEFT = re.compile(r"(.+)\.(lora_A|lora_B)\.(?:default\.)?weight")
_DIFFUSERS = re.compile(r"(.+)\.(?:lora|lora_linear_layer)\.(down|up)\.weight")
_PROCESSOR = re.compile(
    r"(.+?)(?:\.processor)?\.(to_[qkv]|to_out)_lora\.(?:(down|up)\.weight|alpha)"
)
_ALPHA = re.compile(r"(.+?)(?:\.lora)?\.alpha")


@dataclass(frozen=True)
class Part:
    """A tensor's place: ``unet.mid_block…to_q``, "A", "B" or "alpha", and the layout it is of."""

    layer: str
    part: str
    layout: str


def read_key(key: str, path: Path, component: str | None = None) -> Part:
    """Find what a key says.

    `component` is what a PEFT folder's tensors are of.

    Raises:
        AdapterMismatchError: it is of no LoRA factor; the message says what it is, if known.
    """
    kind = kind_of(key)
    if kind is not None:
        raise AdapterMismatchError(f"{path}: {key}: is {kind}; only LoRA is read; {ELSEWHERE}")
    found = _kohya(key) or _dotted(key, component)
    if found is None:
        raise AdapterMismatchError(
            f"{path}: {key}: not a LoRA factor of Stable Diffusion; expected a layout of diffusers "
            "(unet.<module>.lora_A.weight …), PEFT or kohya (lora_unet_<module>.lora_down.weight …)"
        )
    return found


def _kohya(key: str) -> Part | None:
    match = _KOHYA.fullmatch(key)
    if match is None:
        return None
    prefix, name, half = match.groups()
    part, component = _HALVES.get(half, "alpha"), KOHYA_PREFIXES[prefix]
    if component != "unet":
        module = text_module(name)
        return Part(f"{component}.{module}", part, "kohya") if module else None
    found = unet_module(name)
    if found is None:
        return None
    sgm = found[1] and not name.startswith("label_emb")  # which both ways of naming have
    return Part(f"unet.{found[0]}", part, "kohya, sgm's names" if sgm else "kohya")


def _dotted(key: str, component: str | None) -> Part | None:
    name = key.removeprefix(PEFT_PREFIX)
    if match := _PEFT.fullmatch(name):
        module, part, layout = match[1], _HALVES[match[2]], "diffusers, PEFT's names"
    elif match := _DIFFUSERS.fullmatch(name):
        module, part, layout = match[1], _HALVES[match[2]], "diffusers, before PEFT"
    elif match := _PROCESSOR.fullmatch(name):
        module, part = f"{match[1]}.{match[2]}", _HALVES.get(match[3], "alpha")
        layout = "diffusers, attention processors"
        module = _projection(module)
    elif match := _ALPHA.fullmatch(name):
        module, part, layout = match[1], "alpha", ""
    else:
        return None
    layer = _layer(module.replace(".processor.", "."), component)
    return Part(layer, part, layout) if layer else None


def _projection(module: str) -> str:
    """Name a projection as its network does: ``to_out.0`` in a U-Net, ``q_proj`` in an encoder."""
    place, _, name = module.rpartition(".")
    if place.endswith("self_attn"):
        return f"{place}.{name.removeprefix('to_')}_proj"
    return f"{place}.to_out.0" if name == "to_out" else module


def _layer(module: str, component: str | None) -> str | None:
    """Put the component in front; that of a PEFT folder, the named one, or a U-Net's by its words.

    A text encoder's layers are named with `TEXT_MODEL`, whether the file has it or not.
    """
    first, _, rest = module.partition(".")
    if component is not None:
        first, rest = component, module
    elif first not in COMPONENTS:
        return f"unet.{module}" if UNET.fullmatch(module) else None
    if first.startswith("text_encoder") and TEXT_ENCODER.fullmatch(TEXT_MODEL + rest):
        rest = TEXT_MODEL + rest
    return f"{first}.{rest}" if rest else None
