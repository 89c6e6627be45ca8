"""What a person decides about the inpainting editor."""

from dataclasses import dataclass


@dataclass(frozen=True)
class InpaintSettings:
    """How the inpainting editor works; pixels are those of the model's canvas."""

    path: str  # of a model in diffusers' layout; see `PIPELINES`
    dtype: str
    adapter: str | None  # a file or PEFT folder of LoRA factors, added by W + ΔW
    inference_steps: int
    guidance_scale: float  # 1.0: off
    attribute_strength: float  # in (0, 1): how much noise an object is repainted from
    dilation_px: int  # side of the square that dilates an object's mask; odd, 1 changes nothing
    feather_px: int  # over so many pixels inside of a mask old becomes new; 0: at once
    negative_prompt: str  # "" for none
    alignment: str  # of `geometry.ALIGNMENTS`
