"""The act of training a router: the gates of frozen experts, on the pictures of all of them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.diffusion.backbone import Backbone
from selma.training.experts import checkpointing, encode_sets
from selma.training.trainer import Trained, train_groups

if TYPE_CHECKING:
    from selma.diffusion.routing import Factors


def train_router(
    name: str,
    images: Iterable[Mapping[str, Any]],
    layers: Mapping[str, Mapping[str, "Factors"]],
    experts: Sequence[str],
    backbone: Backbone,
    directory: Path,
    *,
    top_k: int,
    flip: bool,
    checkpoint_every_steps: int,
    **settings: Any,
) -> Trained:
    """Train the gates of a MoE-LoRA by the denoising loss; mutates the denoiser.

    SELMA, arXiv 2403.06952, appendix E, where k is the number of experts and the experts stay as
    they were trained. Gates begin at zero, so that the first step's model is the uniform mean.

    `images` are rows of the images tables of all the experts' skills, in any order; `layers`,
    `experts` and `top_k` are as in `add_router`; the backbone is frozen and without an adapter;
    all that is drawn depends on `name`; `directory` keeps the encoded pictures and the progress;
    `settings` are the keyword arguments of `train_groups`. Returns the gates by layer, (experts,
    in). Errors as of `add_router` and `selma.training.experts.train`.
    """
    from selma.diffusion.routing import add_router

    gates = add_router(backbone, layers, experts, top_k=top_k, gates=None, source=f"router {name}")
    examples = encode_sets({name: images}, backbone, directory, flip)
    kept = checkpointing(directory, checkpoint_every_steps)
    return train_groups(
        backbone, {name: gates}, examples, flip=flip, checkpointing=kept, **settings
    )[name]
