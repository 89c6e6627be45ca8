"""What else a scorer learns while it is pre-trained: to name what a scene holds.

A picture's patches name the object that they show (token labelling, arXiv 2104.10858); its features
name each shape's colour and say where it stands, so that they hold facts bound to objects, which
the contrast with texts finds out late. The heads are dropped afterwards.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from selma.pocket.captions import Description
from selma.pocket.render import object_shares
from selma.pocket.scenes import (
    CANVAS_PX,
    COLOURS,
    RADII_PX,
    RELATIONS,
    SHAPES,
    Scene,
    SceneObject,
)

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import ModuleDict

PATCH_PX, PATCH_COVERED = 4, 0.15  # a patch shows an object that covers this share of it
COLOUR_NAMES, SIZE_NAMES = tuple(COLOURS), tuple(RADII_PX)
FACTS_WEIGHT = 4.0  # of what features name, against what patches name
PATCH_CLASSES = (len(SHAPES), len(COLOUR_NAMES), len(SIZE_NAMES))
PAIRS = tuple(itertools.combinations(SHAPES, 2))
OPPOSITES = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


@dataclass(frozen=True)
class SceneLabels:
    """What N scenes hold. All objects of one shape are alike in a scene that is drawn here."""

    patches: NDArray[np.int64]  # (N, 8, 8, 3) places in shapes, colours, sizes; −1: shows no object
    colours: NDArray[np.int64]  # (N, 8) of a shape, plus 1; 0: there is none of that shape
    centres: NDArray[np.float64]  # (N, 8, 2) of a shape: mean (x, y), the canvas is from −1 to 1
    relations: NDArray[np.int64]  # (N, 28) of two of ``PAIRS``; −1: the caption tells none

    def rows(self, indices: NDArray[np.int64]) -> "SceneLabels":
        return SceneLabels(
            self.patches[indices], self.colours[indices], self.centres[indices],
            self.relations[indices],
        )  # fmt: skip


def label_scenes(told: Iterable[tuple[Description, Scene]]) -> SceneLabels:
    """Label scenes by what they hold, and by the relations that their captions tell."""
    labels = [
        (_patch_labels(scene), *_shape_labels(scene), _relation_labels(description))
        for description, scene in told
    ]
    return SceneLabels(*(np.stack(part) for part in zip(*labels, strict=True)))


def _places(item: SceneObject) -> tuple[int, int, int]:
    shape, colour = SHAPES.index(item.shape), COLOUR_NAMES.index(item.colour)
    return shape, colour, SIZE_NAMES.index(item.size)


def _patch_labels(scene: Scene) -> NDArray[np.int64]:
    side = CANVAS_PX // PATCH_PX
    shares = np.stack(object_shares(scene)).reshape(-1, side, PATCH_PX, side, PATCH_PX)
    covered = shares.mean(axis=(2, 4))  # (objects, 8, 8)
    labels = np.array([_places(item) for item in scene.objects])  # (objects, 3)
    shown = covered.max(axis=0) >= PATCH_COVERED
    return np.where(shown[..., None], labels[covered.argmax(axis=0)], -1)


def _shape_labels(scene: Scene) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    colours, counts = np.zeros((2, len(SHAPES)), np.int64)
    centres = np.zeros((len(SHAPES), 2), np.float32)
    for item in scene.objects:
        shape, colour, _ = _places(item)
        colours[shape] = colour + 1
        counts[shape] += 1
        centres[shape] += np.array((item.x, item.y)) / (CANVAS_PX / 2) - 1
    return colours, centres / np.maximum(counts, 1)[:, None]


def _relation_labels(description: Description) -> NDArray[np.int64]:
    labels = np.full(len(PAIRS), -1)
    for link in description.links:
        first, second = (description.groups[end].shape for end in (link.first, link.second))
        ordered = (first, second) in PAIRS
        relation = link.relation if ordered else OPPOSITES[link.relation]
        pair = (first, second) if ordered else (second, first)
        labels[PAIRS.index(pair)] = RELATIONS.index(relation)
    return labels


def build_heads(patch_width: int, feature_width: int) -> "ModuleDict":
    """Make the heads for patches' states and features of two widths, from torch's generator."""
    from torch.nn import Linear, ModuleDict

    shapes = len(SHAPES)
    return ModuleDict(
        {
            "patches": Linear(patch_width, sum(PATCH_CLASSES)),
            "colours": Linear(feature_width, shapes * (len(COLOUR_NAMES) + 1)),
            "centres": Linear(feature_width, shapes * 2),
            "relations": Linear(feature_width, len(PAIRS) * len(RELATIONS)),
            "told_relations": Linear(feature_width, len(PAIRS) * len(RELATIONS)),
        }
    )


def naming_loss(
    heads: "ModuleDict", patches: "Tensor", pictures: "Tensor", captions: "Tensor",
    labels: SceneLabels,
) -> "Tensor":  # fmt: skip
    """Compute the loss of N pictures' patches, (N, P, D), and features and their captions', (N, F).

    It is the cross-entropy of all names and the squared error of the centres of what is there.
    """
    import torch

    named = torch.from_numpy(labels.patches).flatten(0, 2)  # (N · P, 3)
    shown = named[:, 0] >= 0
    of_patches = heads["patches"](patches.flatten(0, 1)[shown])
    colours = torch.from_numpy(labels.colours).flatten()  # (N · 8,)
    of_shapes = heads["colours"](pictures).reshape(len(colours), -1)
    there = colours > 0
    centres = torch.from_numpy(labels.centres).flatten(0, 1)  # (N · 8, 2)
    errors = heads["centres"](pictures).reshape(-1, 2)[there] - centres[there]
    facts = torch.nn.functional.cross_entropy(of_shapes, colours) + errors.square().mean()
    relations = torch.from_numpy(labels.relations).flatten()  # (N · 28,)
    told = relations >= 0
    for head, states in (("relations", pictures), ("told_relations", captions)):
        logits = heads[head](states).reshape(len(relations), -1)[told]
        each = torch.nn.functional.cross_entropy(logits, relations[told], reduction="sum")
        facts = facts + each / len(pictures)
    loss: Tensor = _classes_loss(of_patches, named[shown], PATCH_CLASSES) + FACTS_WEIGHT * facts
    return loss


def _classes_loss(logits: "Tensor", labels: "Tensor", classes: Sequence[int]) -> "Tensor":
    import torch

    parts = zip(torch.split(logits, list(classes), dim=1), labels.T, strict=True)
    return torch.stack([torch.nn.functional.cross_entropy(*part) for part in parts]).sum()
