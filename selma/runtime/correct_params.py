"""The section `correct`: how pictures are corrected, and by which models."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from selma.runtime.sections import Batch, Count, Dtype, Place, Section, Share

Word = Annotated[str, Field(min_length=1, max_length=100)]
Words = Annotated[list[Word], Field(min_length=2)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Guidance = Annotated[float, Field(ge=1, le=100)]
Steps = Annotated[int, Field(ge=1, le=1000)]
Strength = Annotated[float, Field(gt=0, le=1)]
Pixels = Annotated[int, Field(ge=1, le=1000)]
Alignment = Literal["top_left", "centre", "bottom"]


class VocabularyParams(Section):
    """The words of the LMD benchmark's prompts, which have pass rules."""

    prefix: Word
    nouns: Words
    colors: Words
    counts: Annotated[list[Annotated[int, Field(ge=1, le=100)]], Field(min_length=1)]


class DetectorParams(Section):
    """Who looks, and what counts as seen; each detector has its own scale of scores."""

    kind: str
    path: Place
    dtype: Dtype
    batch_size: Batch
    attribute: Share
    primitive: Share
    nms_iou: Share


class SegmenterParams(Section):
    """Who finds the pixels of an object; `path` is the code's where there are no weights."""

    kind: str
    path: Place
    dtype: Dtype


class _EditorParams(Section):
    path: Place
    dtype: Dtype
    adapter: Place | None
    inference_steps: Steps
    attribute_strength: Strength
    dilation_px: Pixels
    negative_prompt: str
    alignment: Alignment

    @field_validator("dilation_px")
    @classmethod
    def _odd(cls, dilation_px: int) -> int:
        if dilation_px % 2 == 0:
            raise ValueError("must be odd: a square around a pixel; 1 changes nothing")
        return dilation_px


class AttentionParams(Section):
    """The guidance of added objects by attention maps; `iterations` of each first step at most."""

    weight: Weight
    stop_below: Weight
    iterations: list[Annotated[int, Field(ge=0, le=1000)]]
    foreground_share: Strength
    background_share: Strength
    background_weight: Weight
    transfer_weight: Weight
    layers: Annotated[list[Place], Field(min_length=1)] | None


class RefinerParams(Section):
    """An image-to-image model that goes over the whole result."""

    path: Place
    dtype: Dtype
    strength: Strength
    inference_steps: Steps
    size_px: Annotated[int, Field(ge=8, le=8192)]
    aesthetic_score: Annotated[float, Field(ge=0, le=10)]
    guidance: Guidance


class LatentParams(_EditorParams):
    """The editor in latent space, on a model with gated layers."""

    kind: Literal["latent"]
    inversion_prompt: str
    inversion_guidance: Guidance
    object_guidance: Guidance
    final_guidance: Guidance
    attribute_guidance: Guidance
    attribute_blend: Share
    gligen_share: Share
    frozen_share: Share
    foreground_blend: Share
    keep_preserved: bool
    object_negative_prompt: str
    attention: AttentionParams
    refiner: RefinerParams | None


class InpaintParams(_EditorParams):
    """The editor by inpainting, which leaves what is outside its masks as it is."""

    kind: Literal["inpaint"]
    guidance_scale: Guidance
    feather_px: Annotated[int, Field(ge=0, le=1000)]


EditorParams: Any = Annotated[LatentParams | InpaintParams, Field(discriminator="kind")]


class CorrectParams(Section):
    """Rounds of looking, asking and editing for each picture; 0: they stay as they are."""

    rounds: Annotated[int, Field(ge=0, le=100)]
    stop_on_pass: bool
    keep: Literal["all", "passing", "fixed_or_original"]
    duplicate_iou: Share
    edit_iou: Share
    objects_max: Annotated[int, Field(ge=1, le=1000)]
    reply_bytes_max: Count
    retries: Annotated[int, Field(ge=0, le=100)]
    vocabulary: VocabularyParams | None
    detector: DetectorParams
    segmenter: SegmenterParams
    editor: EditorParams
