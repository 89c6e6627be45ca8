"""CLIP as a scorer: the cosine of a picture's and its prompt's features, made a score."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.devices import check_device, full_float32
from selma.core.errors import RecordError, one_line
from selma.core.fingerprints import weights_revision
from selma.scorers.prompt_rules import Tokens, describe_prompts, prompt_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import CLIPModel

    from selma.scorers.pixels import ImageSettings


@dataclass(frozen=True)
class Scorer:
    """A model that is ready to score pictures against their prompts."""

    about: Mapping[str, Any]  # in JSON's types, all that decides a score: version, unit, …
    settings: "ImageSettings"  # how pictures become its input
    tokenize: Callable[[Sequence[str]], Tokens]  # prompts → Tokens
    # ((N, 3, S, S) pixel values, tokens) → (N,) scores; all on the CPU.
    # ((N, 3, S, S) pixel values, tokens) → (N,) scores; all on the CPU.
    score: Callable[["torch.Tensor", Tokens], "torch.Tensor"]


@dataclass(frozen=True)
class Variant:
    """What a score makes of a CLIP's cosines; `prompt_rule` and `resize` are keys of tables."""

    unit: str  # the score in words
    prompt_rule: str
    score: Callable[["torch.Tensor"], "torch.Tensor"]  # cosines (N,) → scores (N,)
    prefix: str = ""  # put before each prompt
    resize: str = "pillow-bicubic-torchvision"  # CLIPScore's; other folders say theirs


def load_clip(directory: Path, device: str) -> "CLIPModel":
    """Read a CLIP in transformers' layout as float32, ready to score; raises as `load_hps`."""
    import torch
    from transformers import CLIPModel

    check_device(device)
    try:
        kind = json.loads((directory / "config.json").read_text("utf-8")).get("model_type")
        if kind != "clip":
            raise RecordError(
                f"{directory}/config.json: not a CLIP's config, its model_type is {kind!r}; give "
                "the folder of the right model"
            )
        clip, report = CLIPModel.from_pretrained(
            directory,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
            use_safetensors=True,
        )
    except (OSError, ValueError, AttributeError, RuntimeError) as error:
        raise RecordError(f"{directory}: not a CLIP model: {one_line(error)}") from error
    wrong = {name: sorted(map(str, keys))[:5] for name, keys in report.items() if keys}
    if wrong:
        raise RecordError(f"{directory}: weights and config.json do not fit: {wrong}")
    return clip.eval().to(device)


def clip_scorer(
    directory: Path, clip: "CLIPModel", settings: "ImageSettings", version: str, variant: Variant
) -> Scorer:
    """Make a scorer of the cosines of a CLIP of `load_clip`, with its folder's tokenizer.

    Raises MissingDataError without the tokenizer, RecordError if it, or how pictures are prepared,
    is of another model.
    """
    text = clip.config.text_config
    if settings.size_px != clip.config.vision_config.image_size:
        raise RecordError(
            f"{directory}: pictures become {settings.size_px} px squares, the vision tower wants "
            f"{clip.config.vision_config.image_size}; preprocessor_config.json is of another model"
        )
    tokenize = prompt_tokenizer(
        directory,
        variant.prompt_rule,
        prefix=variant.prefix,
        max_tokens=text.max_position_embeddings,
        vocab_size=text.vocab_size,
        end_id=text.eos_token_id,
    )

    def score(pixel_values: "torch.Tensor", tokens: Tokens) -> "torch.Tensor":
        with full_float32():
            return variant.score(clip_cosines(clip, pixel_values, tokens)).cpu()

    words = describe_prompts(variant.prompt_rule, variant.prefix, text.max_position_embeddings)
    preparation, device = f"{settings}; {words}", clip.device.type
    about = describe_scorer(directory, version, variant.unit, preparation, device)
    return Scorer(about, settings, tokenize, score)


def describe_scorer(
    directory: Path, version: str, unit: str, preprocessing: str, device: str
) -> dict[str, Any]:
    return {
        "version": version,
        "unit": unit,
        "factor": 1.0,
        "preprocessing": preprocessing,
        "revision": weights_revision(directory),
        "device": device,
    }


def clip_cosines(clip: "CLIPModel", pixel_values: "torch.Tensor", tokens: Tokens) -> "torch.Tensor":
    """Compute the cosine of each picture, (N, 3, S, S), with its prompt: (N,), on CLIP's device."""
    import torch

    device = clip.device
    pictures = clip.get_image_features(pixel_values=pixel_values.to(device)).pooler_output  # (N, D)
    texts = clip.get_text_features(
        input_ids=tokens.input_ids.to(device), attention_mask=tokens.attention_mask.to(device)
    ).pooler_output  # (N, D)
    # Some releases of transformers return the unprojected state here, of another width.
    expected = (len(pixel_values), clip.config.projection_dim)
    assert pictures.shape == texts.shape == expected, (pictures.shape, texts.shape, expected)
    return torch.nn.functional.cosine_similarity(pictures, texts)
