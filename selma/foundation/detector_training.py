"""Trains the pocket world's detector on drawn pictures.

As OWLv2 (arXiv 2306.09683) learns, with three departures:

1. Each patch near an object's centre is that object's: no bipartite matching.
2. All queries of a batch are asked about all its pictures, for the truth is known: what a picture
   lacks is a negative, no pseudo-label.
3. Binary cross-entropy without focal weights, so that a score is a probability.

And every patch learns to name the shape and the colour of the object whose box it lies in, by
linear heads that are dropped afterwards (token labelling, arXiv 2104.10858).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from selma.core.seeds import derive_seed
from selma.correction.detections import query_of
from selma.correction.scene import Label
from selma.foundation.detector_model import MAX_TOKENS, PATCHES, WIDTH, trained_parameters
from selma.foundation.detector_pictures import DetectorSet
from selma.pocket.captions import SIZE_OF_WORD
from selma.pocket.scenes import COLOURS, RADII_PX, SHAPES

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter
    from transformers import CLIPTokenizer, Owlv2ForObjectDetection

REACH = 0.75  # of a patch's side: how far its centre may be from that of its object
SIZED_QUERIES = 24  # a batch, beside all nouns and all nouns with a colour
L1_WEIGHT, OVERLAP_WEIGHT = 5.0, 2.0  # DETR's, arXiv 2005.12872
OBJECTNESS_WEIGHT, LABELLING_WEIGHT = 1.0, 5.0


@dataclass(frozen=True)
class Query:
    """What is asked for; a part that is None does not matter."""

    shape: str
    colour: str | None
    size_word: str | None

    @property
    def text(self) -> str:
        words = " ".join(filter(None, (self.size_word, self.colour)))
        return query_of(Label(words or None, self.shape))

    @property
    def kind(self) -> tuple[int, int, int]:
        """Its parts' places among shapes, colours and sizes; −1 where it has none."""
        size = SIZE_OF_WORD[self.size_word] if self.size_word else None
        return (
            SHAPES.index(self.shape),
            list(COLOURS).index(self.colour) if self.colour else -1,
            list(RADII_PX).index(size) if size else -1,
        )


PLAIN = tuple(Query(shape, colour, None) for colour, shape in product((None, *COLOURS), SHAPES))
SIZED = tuple(
    Query(shape, colour, word)
    for word, colour, shape in product(SIZE_OF_WORD, (None, *COLOURS), SHAPES)
)


@dataclass(frozen=True)
class Targets:
    """What the patches of B pictures should say; P patches, K queries."""

    own: "Tensor"  # (B, P) place of each patch's object, −1 for none
    fits: "Tensor"  # (B, P, K) 1 where the patch's object is what the query asks for
    boxes: "Tensor"  # (B, P, 4) of its object: x, y of the centre, width, height
    names: "Tensor"  # (B, P, 2) shape and colour of the object whose box the patch lies in; 0: none


def assign(
    kinds: NDArray[np.int8], boxes: NDArray[np.float32], queries: NDArray[np.int8]
) -> Targets:
    """Give patches their objects: the nearest whose centre is within `REACH` on both axes.

    Args:
        kinds: see `DetectorSet`, (B, O, 3).
        boxes: (B, O, 4).
        queries: `Query.kind` of each, (K, 3).
    """
    import torch

    middles = (np.arange(PATCHES) + 0.5) / PATCHES
    grid = np.stack([np.tile(middles, PATCHES), np.repeat(middles, PATCHES)], axis=1)  # (P, 2)
    away = np.abs(grid[None, :, None] - boxes[:, None, :, :2]).max(axis=-1)  # (B, P, O)
    away = np.where(kinds[:, None, :, 0] < 0, np.inf, away)
    nearest = away.argmin(axis=2)  # (B, P)
    own = np.where(away.min(axis=2) <= REACH / PATCHES, nearest, -1)
    pictures = np.arange(len(kinds))[:, None]
    middle, size = np.split(boxes[pictures, nearest], 2, axis=-1)  # (B, P, 2)
    inside = (np.abs(grid - middle) <= size / 2).all(axis=-1)
    names = np.where(inside[..., None], kinds[pictures, nearest, :2] + 1, 0)
    fits = (queries < 0) | (kinds[pictures, own][:, :, None] == queries)  # (B, P, K, 3)
    fitting = fits.all(axis=-1) & (own >= 0)[..., None]
    return Targets(
        torch.from_numpy(own),
        torch.from_numpy(fitting.astype(np.float32)),
        torch.from_numpy(boxes[pictures, own]),
        torch.from_numpy(names).long(),
    )


def detection_loss(
    logits: "Tensor", objectness: "Tensor", boxes: "Tensor", targets: Targets
) -> "Tensor":
    """Compute the loss of B pictures, a mean over the patches that have an object.

    Args:
        logits: of each patch and query, (B, P, K).
        objectness: logits, (B, P).
        boxes: x, y of the centre, width, height, (B, P, 4).
        targets: what they should be.
    """
    import torch

    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    taken = targets.own >= 0
    number = taken.sum().clamp(min=1)
    asked = entropy(logits, targets.fits, reduction="sum") / number
    any_object = entropy(objectness, taken.float(), reduction="sum") / number
    seen, true = boxes[taken], targets.boxes[taken]
    distance = (seen - true).abs().sum() / number
    overlap = (1 - generalised_iou(seen, true)).sum() / number
    loss: Tensor = asked + OBJECTNESS_WEIGHT * any_object
    return loss + L1_WEIGHT * distance + OVERLAP_WEIGHT * overlap


def generalised_iou(one: "Tensor", other: "Tensor") -> "Tensor":
    """Compute the generalised IoU of pairs of boxes (n, 4); arXiv 1902.09630."""
    import torch

    low, high = ([box[:, :2] + sign * box[:, 2:] / 2 for box in (one, other)] for sign in (-1, 1))
    shared = (torch.minimum(*high) - torch.maximum(*low)).clamp(min=0).prod(dim=1)
    hull = (torch.maximum(*high) - torch.minimum(*low)).prod(dim=1)
    union = one[:, 2:].prod(dim=1) + other[:, 2:].prod(dim=1) - shared
    return shared / union - (hull - union) / hull


def detector_lesson(
    model: "Owlv2ForObjectDetection",
    tokenizer: "CLIPTokenizer",
    drawn: DetectorSet,
    batch_size: int,
    seed: int,
) -> tuple[Callable[[int], "Tensor"], dict[str, "Parameter"]]:
    """Make the loss of each step, on pictures that the step's number draws, and its weights.

    These are the detector's and those of the heads that name what a patch shows.
    """
    import torch

    torch.manual_seed(derive_seed(seed, "patch-heads"))
    heads = torch.nn.Linear(WIDTH, len(SHAPES) + 1 + len(COLOURS) + 1)
    tokens = {query: tokenizer(query.text)["input_ids"] for query in (*PLAIN, *SIZED)}

    def loss_at(step: int) -> "Tensor":
        generator = np.random.default_rng(derive_seed(seed, "detector-batch", step))
        rows = generator.choice(len(drawn.pictures), batch_size, replace=False)
        sized = generator.choice(len(SIZED), SIZED_QUERIES, replace=False)
        asked = [*PLAIN, *(SIZED[place] for place in sized)]
        kinds = np.array([query.kind for query in asked], np.int8)
        targets = assign(drawn.kinds[rows], drawn.boxes[rows], kinds)
        pixels = torch.from_numpy(drawn.pictures[rows]).permute(0, 3, 1, 2).float() / 127.5 - 1
        ids = _padded([tokens[query] for query in asked], tokenizer.pad_token_id)
        features, logits, objectness, boxes = forward(model, pixels, ids)
        named = labelling_loss(heads(features), targets.names)
        return detection_loss(logits, objectness, boxes, targets) + LABELLING_WEIGHT * named

    of_heads = {f"patch_heads.{name}": value for name, value in heads.named_parameters()}
    return loss_at, trained_parameters(model) | of_heads


def labelling_loss(logits: "Tensor", names: "Tensor") -> "Tensor":
    """Compute the cross-entropy of patches' shapes and colours, a mean over B·P patches.

    Args:
        logits: of shapes and, behind them, colours, (B, P, 18).
        names: see `Targets`.
    """
    import torch

    shapes = len(SHAPES) + 1
    parts = [
        torch.nn.functional.cross_entropy(part.flatten(0, 1), names[..., n].flatten())
        for n, part in enumerate((logits[..., :shapes], logits[..., shapes:]))
    ]
    return parts[0] + parts[1]


def forward(
    model: "Owlv2ForObjectDetection", pixels: "Tensor", ids: "Tensor"
) -> "tuple[Tensor, Tensor, Tensor, Tensor]":
    """Ask K queries (K, T) about each of B pictures (B, 3, H, W), as the model's own `forward`.

    The texts are encoded once, not once for each picture. Returns the patches' features (B, P, D),
    logits (B, P, K), objectness (B, P) and boxes (B, P, 4).
    """
    queries = model.owlv2.get_text_features(input_ids=ids).pooler_output  # (K, D)
    features, _ = model.image_embedder(pixel_values=pixels)  # (B, H, W, D)
    flat = features.flatten(1, 2)  # (B, P, D)
    logits, _ = model.class_predictor(flat, queries.expand(len(pixels), -1, -1))
    return flat, logits, model.objectness_predictor(flat), model.box_predictor(flat, features)


def _padded(rows: "list[list[int]]", filler: int) -> "Tensor":
    import torch

    longest = min(max(map(len, rows)), MAX_TOKENS)
    return torch.tensor([row + [filler] * (longest - len(row)) for row in rows])
