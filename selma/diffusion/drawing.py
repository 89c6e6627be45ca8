"""The act of drawing: prompts in, a table's rows out, resumable batch by batch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selma.diffusion.backbone import Backbone
from selma.diffusion.batches import batch_drawer, draw_resumably
from selma.diffusion.requests import make_requests
from selma.diffusion.sampling import count_truncated
from selma.pictures.png import count_black


@dataclass(frozen=True)
class Drawn:
    """Pictures of prompts.

    Attributes:
        rows: of a samples table, sorted by key.
        truncated_prompts: prompts longer than the text encoder reads; their ends go unseen.
        black_images: pictures that are black all over, as a failed decoder leaves them.
    """

    rows: list[dict[str, Any]]
    truncated_prompts: int
    black_images: int

    @property
    def counts(self) -> dict[str, int]:
        """What a person should see of them."""
        return {
            "n": len(self.rows),
            "truncated_prompts": self.truncated_prompts,
            "black_images": self.black_images,
        }


def draw(
    prompts: Mapping[str, str],
    backbone: Backbone,
    *,
    names: tuple[str, ...],
    seed: int,
    per_prompt: int,
    guidance_scale: float,
    inference_steps: int,
    batch_size: int,
    directory: Path,
    advance: Callable[[int], None],
) -> Drawn:
    """Draw `per_prompt` pictures of each prompt; a picture's seed comes from what it is.

    Args:
        prompts: prompt by id.
        backbone: what draws, with its adapter if it has one.
        names: what the ids belong to, e.g. ``("images", skill)``; a part of each seed.
        seed: the run's.
        per_prompt: pictures of each prompt.
        guidance_scale: of classifier-free guidance; 1.0 is off.
        inference_steps: of the noise scheduler.
        batch_size: pictures drawn at once.
        directory: keeps finished batches; those of an earlier run are taken up.
        advance: called with the number of pictures after each batch.

    Raises:
        BackendError: a picture holds values that are not finite.
    """
    requests = make_requests(prompts, per_prompt, seed, *names)
    drawer = batch_drawer(backbone, guidance_scale=guidance_scale, inference_steps=inference_steps)
    rows = draw_resumably(requests, drawer, directory, batch_size, advance)
    return Drawn(rows, count_truncated(list(prompts.values()), backbone), count_black(rows))
