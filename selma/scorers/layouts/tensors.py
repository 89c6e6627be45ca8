"""What a checkpoint's tensors tell, and whether they are exactly those that a model needs."""

import math
import re
from collections.abc import Mapping

import torch

from selma.core.errors import RecordError

Shape = tuple[int, ...]
_LISTED = 5  # names in a message


def check_tensors(
    weights: Mapping[str, torch.Tensor], expected: Mapping[str, Shape], where: str
) -> None:
    """Check that the weights of the file `where` are exactly those expected.

    RecordError names each tensor that is missing, unexpected or of another shape.
    """
    shapes = {
        name: f"{name} {tuple(weights[name].shape)}, expected {shape}"
        for name, shape in expected.items()
        if name in weights and tuple(weights[name].shape) != shape
    }
    problems = {
        "missing": sorted(set(expected) - set(weights)),
        "unexpected": sorted(set(weights) - set(expected)),
        "of another shape": sorted(shapes.values()),
    }
    found = [
        f"{len(names)} {problem}: {', '.join(names[:_LISTED])}{', …' * (len(names) > _LISTED)}"
        for problem, names in problems.items()
        if names
    ]
    if found:
        raise RecordError(
            f"{where}: tensors {'; '.join(found)}; the file is damaged or of another model"
        )


def shape_of(weights: Mapping[str, torch.Tensor], name: str, rank: int, where: str) -> Shape:
    """Look up the shape of a tensor; RecordError if it is missing or not of this rank."""
    if name not in weights or weights[name].ndim != rank:
        seen = f"has shape {tuple(weights[name].shape)}" if name in weights else "is missing"
        raise RecordError(
            f"{where}: tensor {name} {seen}, expected one of {rank} dimensions; the file is "
            "damaged or of another model"
        )
    return tuple(weights[name].shape)


def count_blocks(weights: Mapping[str, torch.Tensor], prefix: str) -> int:
    """Count the numbered blocks below a prefix: one more than the highest number, 0 without any."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    matches = (pattern.match(name) for name in weights)
    return max((int(match[1]) + 1 for match in matches if match), default=0)


def square_of(positions: int, where: str) -> int:
    """Compute the edge of a square of patches that has one position more, or raise RecordError."""
    edge = math.isqrt(positions - 1)
    if edge * edge + 1 != positions:
        raise RecordError(
            f"{where}: the vision tower has {positions} positions, expected a square of patches "
            "and one more"
        )
    return edge
