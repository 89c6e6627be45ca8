"""What can be known to be wrong with a sampler without loading a weight of its backbone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selma.core.choices import choose_name
from selma.core.errors import ConfigError
from selma.core.files import read_json
from selma.diffusion.attention import check_rows, rows_with_attention
from selma.diffusion.backbone import Backbone
from selma.diffusion.loading import FAMILIES
from selma.diffusion.samplers.phrases import load_phrases
from selma.diffusion.stable_diffusion import StableDiffusion


def check_sampler(
    folder: Path, *, kind: str, phrases: Mapping[str, Any], map_size: int | None = None,
    **parameters: Any,
) -> None:  # fmt: skip
    """Check that a sampler fits a backbone's folder, and that its grammar is there.

    Args:
        folder: of a model in diffusers' layout; one that is not there yet is not looked at.
        kind: the sampler's name.
        phrases: `kind` and `model` of the grammar.
        map_size: rows of the attention maps, if the sampler looks at any.
        parameters: are not looked at.

    Raises:
        ConfigError: see `make_sampler`.
        MissingDependencyError: see `load_phrases`.
    """
    load_phrases(**phrases)
    index, config = folder / "model_index.json", folder / "unet" / "config.json"
    if not index.is_file():
        return
    name = choose_name("family of models", str(read_json(index).get("_class_name")), FAMILIES)
    check_family(kind, FAMILIES[name])
    if map_size is not None and config.is_file():
        unet = read_json(config)
        if "down_block_types" in unet:  # else it is no U-Net's config, and loading it says so
            check_rows(map_size, rows_with_attention(unet))


def check_family(kind: str, family: type[Backbone]) -> None:
    """Refuse a family that has no cross-attention; ConfigError names it."""
    if not issubclass(family, StableDiffusion):
        raise ConfigError(
            f"sampler {kind!r} needs a U-Net with cross-attention, as Stable Diffusion 1, 2 and XL "
            f"have; {family.__name__} has none"
        )
