"""Puts what was made of single pictures and prompts together, as a processor's batch would be."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import pad

# One number for each token of a text, whatever else the processor gives is about the picture.
_OF_TOKENS = (
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "mm_token_type_ids",
    "moe_mm_token_type_ids",
)
# All that a decoder reads of what a vision tower gives; more than that cannot be shared.
READ = ("pooler_output", "deepstack_features")
UNREAD = ("last_hidden_state", "hidden_states", "attentions")
_SAME = 0.05  # relative; the rounding of bfloat16 is 0.01, another order of tiles about 1


class Memory:
    """Stands in for an image processor and repeats what it gave before.

    `given` is what the image processor gave, None if it was not asked; see `remembering`.
    """

    def __init__(self, image_processor: Any, given: Any) -> None:
        self._image_processor = image_processor
        self.given = given

    def __getattr__(self, name: str) -> Any:
        return getattr(self._image_processor, name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self.given is None:
            self.given = self._image_processor(*arguments, **options)
        return copy.copy(self.given)


@contextmanager
def remembering(processor: Any, given: Any) -> Iterator[Memory]:
    """Let a processor make pixels once, or never where `given` is what it made before."""
    image_processor = processor.image_processor
    memory = Memory(image_processor, given)
    processor.image_processor = memory
    try:
        yield memory
    finally:
        processor.image_processor = image_processor


def without_pixels(given: Any) -> Any:
    """Replace pixels by stand-ins of their shape that take no memory."""
    light = copy.copy(given)
    for name, value in light.items():
        light[name] = _without_memory(value)
    return light


def stack(name: str, rows: Sequence[torch.Tensor], padding: int) -> torch.Tensor:
    """Put rows, (1, …) each, of a processor's output together; tokens are padded at the left."""
    if name not in _OF_TOKENS:
        return torch.cat(list(rows))
    length = max(row.shape[1] for row in rows)
    value = padding if name == "input_ids" else 0
    return torch.cat([pad(row, (length - row.shape[1], 0), value=value) for row in rows])


def read(tower: Any) -> Any:
    """Keep of a vision tower's output what a decoder reads."""
    return type(tower)(**{name: tower[name] for name in READ if tower.get(name) is not None})


def join(features: Sequence[Any]) -> Any:
    """Build what a vision tower would give for all pictures of one `read` each, as a new object."""
    first = features[0]
    joined = {"pooler_output": _concatenate([one["pooler_output"] for one in features])}
    if "deepstack_features" in first:
        layers = zip(*(one["deepstack_features"] for one in features), strict=True)
        joined["deepstack_features"] = [_concatenate(layer) for layer in layers]
    return type(first)(**joined)


def alike(ours: Any, theirs: Any) -> bool:
    """Tell whether two outputs of `read` are the same but for rounding."""
    pairs = _tensors(ours), _tensors(theirs)
    if [tensor.shape for tensor in pairs[0]] != [tensor.shape for tensor in pairs[1]]:
        return False
    return all(
        (one.float() - other.float()).norm() <= _SAME * other.float().norm()
        for one, other in zip(*pairs, strict=True)
    )


def _without_memory(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_without_memory(part) for part in value]
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return torch.zeros((), dtype=value.dtype).expand(value.shape)
    return value


def _concatenate(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], torch.Tensor):
        return torch.cat(list(parts))
    return [tensor for part in parts for tensor in part]


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, Mapping) else value
    return [tensor for part in parts for tensor in _tensors(part)]
