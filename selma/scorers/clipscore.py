"""CLIPScore: the cosine of a picture's and its prompt's CLIP features, in named variants.

The published definitions differ by factor, prefix, clamp and in how prompts and pictures are
prepared, so a number is worth nothing without the variant's name. `CLIPSCORES` lists them. All run
in float32, also those whose authors ran float16 on a GPU.
Sources: CLIPScore, arXiv 2104.08718; TIFA, arXiv 2303.11897; torchmetrics 1.9.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from selma.core.choices import choose
from selma.scorers.clip_models import Scorer, clip_scorer, load_clip

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Variant:
    """One definition of CLIPScore; `prompt_rule` and `resize` are keys of their tables.

    Attributes:
        unit: the score in words.
        prefix: put before each prompt.
        score: cosines (N,) → scores (N,).
    """

    unit: str
    prefix: str
    prompt_rule: str
    resize: str
    score: Callable[["torch.Tensor"], "torch.Tensor"]


CLIPSCORES: dict[str, Variant] = {
    # ImageReward's helper on ViT-L/14; t2v_metrics on any open_clip model.
    "cosine": Variant(
        "cosine", "", "open_clip", "pillow-bicubic-torchvision", lambda cosines: cosines
    ),
    # The original, on ViT-B/32.
    "hessel": Variant(
        "2.5 * max(cosine, 0)",
        "A photo depicts ",
        "open_clip",
        "pillow-bicubic-torchvision",
        lambda cosines: 2.5 * cosines.clamp(min=0),
    ),
    # TIFA's clipscore_vitb32.
    "tifa": Variant(
        "100 * cosine", "", "open_clip", "pillow-bicubic-torchvision", lambda cosines: 100 * cosines
    ),
    # Its mean over a set of pictures is clamped, which is the same as long as no cosine is below 0.
    "torchmetrics": Variant(
        "max(100 * cosine, 0)",
        "",
        "torchmetrics",
        "pillow-bicubic",
        lambda cosines: (100 * cosines).clamp(min=0),
    ),
}


def load_clipscore(directory: Path, variant: str, *, device: str = "cpu") -> Scorer:
    """Load any CLIP in transformers' layout as a variant of `CLIPSCORES`; raises as `load_hps`.

    The CLIP decides the score as much as the variant.
    """
    from selma.scorers.pixels import read_image_settings

    chosen = choose("CLIPScore variant", variant, CLIPSCORES)
    settings = replace(read_image_settings(directory), resize=chosen.resize)
    return clip_scorer(
        directory,
        load_clip(directory, device),
        settings,
        version=variant,
        unit=chosen.unit,
        prompt_rule=chosen.prompt_rule,
        prefix=chosen.prefix,
        to_score=chosen.score,
    )
