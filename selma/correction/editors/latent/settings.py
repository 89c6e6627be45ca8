"""What a person decides about the latent editor."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class AttentionGuidance:
    """How the final run is pushed to attend to added objects in their boxes; SLD's in brackets."""

    weight: float  # of the loss whose gradient is followed (5)
    stop_below: float  # a loss from which a step is content (5)
    iterations: Sequence[int]  # at most, in each of the first steps (5×4, 5×3, 10×2, 10×1)
    foreground_share: float  # of a box's cells that count, the strongest (0.2)
    background_share: float  # of the other cells (0.2)
    background_weight: float  # (4)
    transfer_weight: float  # of the difference from the object's own drawing (2)
    layers: Sequence[str] | None  # names, or their beginnings; None: the published four


@dataclass(frozen=True)
class RefinerSettings:
    """How an SDXL refiner goes over an edited picture."""

    path: str  # of a model in diffusers' layout
    dtype: str
    strength: float  # in (0, 1]
    inference_steps: int  # of the schedule, of which the share `strength` is run
    size_px: int  # side of the square that has as many pixels as what it sees
    aesthetic_score: float
    guidance: float  # 1.0: off


@dataclass(frozen=True)
class LatentSettings:
    """How the latent editor works; a guidance of 1.0 is off."""

    path: str  # of a gated Stable Diffusion in diffusers' layout
    dtype: str
    adapter: str | None  # a file or PEFT folder of LoRA factors, added by W + ΔW
    inference_steps: int
    inversion_prompt: str
    inversion_guidance: float
    object_guidance: float  # where an object is drawn on its own
    final_guidance: float
    gligen_share: float  # of the steps, from the first on, that are told of the boxes
    frozen_share: float  # of the steps after which what is composed is put back
    foreground_blend: float  # share of own noise, in variance, that an added object starts from
    dilation_px: int  # side of the square that dilates masks, on the canvas; odd, 1 changes nothing
    alignment: str  # of `geometry.ALIGNMENTS`
    keep_preserved: bool  # whether what is removed spares the objects that stay
    negative_prompt: str  # "" for none
    object_negative_prompt: str  # where an object is drawn on its own
    attribute_guidance: float
    attribute_strength: float  # in (0, 1]: the share of the steps that redraw an object
    attribute_blend: float  # share of own noise, in variance, that is redrawn from; DiffEdit: 0
    attention: AttentionGuidance
    refiner: RefinerSettings | None
