"""Training-free samplers by name; each is a way to take a step of drawing."""

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from selma.core.choices import choose
from selma.diffusion.attention import layers_with_rows
from selma.diffusion.backbone import Backbone
from selma.diffusion.samplers.attend_and_excite import AttendAndExcite, Refinement
from selma.diffusion.samplers.checks import check_family
from selma.diffusion.samplers.guiding import Gaze
from selma.diffusion.samplers.phrases import Phrases, load_phrases
from selma.diffusion.samplers.structure_diffusion import StructureDiffusion
from selma.diffusion.samplers.syngen import SynGen
from selma.diffusion.steps import TakeStep

logger = logging.getLogger(__name__)


def _syngen(backbone: Backbone, phrases: Phrases, *, map_size: int, **settings: float) -> TakeStep:
    return SynGen(_gaze(backbone, map_size), backbone.encoders[0], phrases, **settings)


def _attend_and_excite(
    backbone: Backbone, phrases: Phrases, *, map_size: int,
    refinements: Collection[Mapping[str, float]], iterations_max: int, **settings: float,
) -> TakeStep:  # fmt: skip
    return AttendAndExcite(
        _gaze(backbone, map_size), backbone.encoders[0], phrases,
        refinements=[Refinement(**one) for one in refinements],
        iterations_max=iterations_max, **settings,
    )  # fmt: skip


SAMPLERS: dict[str, Callable[..., TakeStep]] = {
    "attend_and_excite": _attend_and_excite,
    "structure_diffusion": StructureDiffusion,
    "syngen": _syngen,
}


def make_sampler(
    backbone: Backbone, prompts: Collection[str], *, kind: str, phrases: Mapping[str, Any],
    **parameters: Any,
) -> TakeStep:  # fmt: skip
    """Make a sampler of `SAMPLERS` for a backbone.

    Args:
        backbone: Stable Diffusion 1, 2 or XL; what it was taught is in place.
        prompts: that will be drawn; says how many the grammar finds no phrase in.
        kind: its name.
        phrases: `kind` and `model` of the grammar; see `load_phrases`.
        parameters: the sampler's own.

    Raises:
        ConfigError: there is no such sampler; the backbone has no cross-attention, or none with
            maps of the size that is asked for; see `load_phrases` for the grammar.
        MissingDependencyError: see `load_phrases`.
    """
    make = choose("sampler", kind, SAMPLERS)
    check_family(kind, type(backbone))
    find = load_phrases(**phrases)
    without = sum(not find(prompt) for prompt in prompts)
    logger.info("sampler %s: %d of %d prompts have no noun phrase", kind, without, len(prompts))
    return make(backbone, find, **parameters)


def _gaze(backbone: Backbone, map_size: int) -> Gaze:
    return Gaze(backbone.denoiser, layers_with_rows(backbone.denoiser, map_size))
