"""Encodes pictures and prompts once; a training draws its latents from the moments."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selma.core import team
from selma.core.errors import RecordError
from selma.core.files import written_whole
from selma.diffusion.backbone import Backbone, Conditions
from selma.pictures.png import decode_png

if TYPE_CHECKING:
    import torch

Moments = Mapping[str, "torch.Tensor"]  # "mean", "deviation" and, with flip, "flipped_…" of these
PICTURES_PER_SHARD = 64


@dataclass(frozen=True)
class Examples:
    """A training set as the denoiser sees it; latents are after the VAE's scaling.

    The posterior's moments are kept, not one draw from it: drawing anew in each step gives the same
    distribution as encoding the picture anew in each step. So it is with flipped pictures, whose
    latents are not the flipped latents.
    """

    shards: Sequence[Moments]  # of `per_shard` pictures each, (n, C, H/f, W/f), float32
    order: Sequence[int]  # the place of each example in the shards
    conditions: Conditions  # of each different prompt, on the CPU: SDXL's are 0.6 MB for each
    condition_index: "torch.Tensor"  # (N,), the row in `conditions` of each example, on the CPU
    per_shard: int

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.order)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(C, H/f, W/f)."""
        return tuple(self.shards[0]["mean"].shape[1:])

    def only(self, items: Sequence[int]) -> "Examples":
        """Keep some examples, in the order given."""
        index = self.condition_index[list(items)]
        return replace(self, order=[self.order[item] for item in items], condition_index=index)

    def moments(
        self, items: Sequence[int], flipped: Sequence[bool]
    ) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Look up means and deviations of examples, or of their mirrored pictures; (N, C, h, w)."""
        import torch

        def gather(name: str) -> torch.Tensor:
            rows = []
            for item, mirrored in zip(items, flipped, strict=True):
                shard, row = divmod(self.order[item], self.per_shard)
                rows.append(self.shards[shard][f"flipped_{name}" if mirrored else name][row])
            return torch.stack(rows)

        return gather("mean"), gather("deviation")

    def conditions_of(self, items: "torch.Tensor") -> Conditions:
        """Look up what the denoiser is told of examples (N,); on the CPU as they are."""
        rows = self.condition_index[items]
        return {name: values[rows] for name, values in self.conditions.items()}


def decode_pictures(rows: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> "torch.Tensor":
    """Decode an image table's pictures to (N, 3, H, W) float32 in [-1, 1].

    Raises:
        RecordError: a picture is damaged or is not of `size` (width, height).
    """
    import torch

    pictures: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
    for row in rows:
        where = _name(row)
        pictures.append(decode_png(row["image"]["bytes"], where))
        if (got := pictures[-1].shape[1::-1]) != size:
            raise RecordError(f"{where}: is {got} pixels, expected {size} as the first picture")
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)  # (N, 3, H, W)
    return pixels.float() / 127.5 - 1.0


def _name(row: Mapping[str, Any]) -> str:
    return f"picture {row['prompt_id']!r}, sample {row['sample']}"


def encode_examples(
    rows: Iterable[Mapping[str, Any]], backbone: Backbone, directory: Path, *, flip: bool
) -> Examples:
    """Encode an image table; the order of the rows does not matter to a training.

    Moments go to `directory` in shards and are read back through memory maps, or from the GPU if
    there is one and half of its free memory holds them. Shards of an earlier run of the same rows
    are taken up.

    Args:
        rows: of the table `images`; prompt_id, sample, image and prompt are read, one shard's at a
            time.
        backbone: whose VAE and text encoders read them.
        directory: of this training alone.
        flip: also encode the mirrored pictures.

    Raises:
        RecordError: there are no rows, or a picture is damaged, of another size than the first, or
            its latents are not finite.
    """
    import torch
    from safetensors.torch import load_file

    keys, prompts, paths, size = [], [], [], None
    for number, shard in enumerate(_cut(rows)):
        keys += [(row["prompt_id"], row["sample"]) for row in shard]
        prompts += [row["prompt"] for row in shard]
        size = size or _size_of(shard[0])
        paths.append(directory / f"moments-{number:06d}.safetensors")
        if team.owns(number) and not _whole(paths[-1]):
            _encode_shard(paths[-1], shard, backbone, size, flip)
    if not keys:
        raise RecordError("there are no pictures to train on; run the stage images")
    team.wait_until(lambda: all(map(_whole, paths)))
    order = sorted(range(len(keys)), key=keys.__getitem__)
    different = sorted(set(prompts))
    place = {prompt: index for index, prompt in enumerate(different)}
    return Examples(
        shards=_on_device([load_file(path) for path in paths], backbone.device),
        order=order,
        conditions={key: told.cpu() for key, told in backbone.encode_prompts(different).items()},
        condition_index=torch.tensor([place[prompts[row]] for row in order]),
        per_shard=PICTURES_PER_SHARD,
    )


def _cut(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    waiting = iter(rows)
    while shard := list(itertools.islice(waiting, PICTURES_PER_SHARD)):
        yield shard


def _size_of(row: Mapping[str, Any]) -> tuple[int, int]:
    height, width = decode_png(row["image"]["bytes"], _name(row)).shape[:2]
    return width, height


def _encode_shard(
    path: Path, rows: Sequence[Mapping[str, Any]], backbone: Backbone, size: tuple[int, int],
    flip: bool,
) -> None:  # fmt: skip
    import torch
    from safetensors.torch import save_file

    parts: dict[str, list[torch.Tensor]] = {}
    for row in rows:  # one by one, so that the bytes do not depend on how rows are cut
        pixels = decode_pictures([row], size)
        mirrored = {"flipped_": pixels.flip(3)} if flip else {}
        for prefix, seen in ({"": pixels} | mirrored).items():
            mean, deviation = backbone.encode_pictures(seen)
            if not bool(mean.isfinite().all() and deviation.isfinite().all()):
                raise RecordError(f"{_name(row)}: its latents are not finite numbers")
            parts.setdefault(f"{prefix}mean", []).append(mean)
            parts.setdefault(f"{prefix}deviation", []).append(deviation)
    tensors = {name: torch.cat(found).cpu().contiguous() for name, found in parts.items()}
    with written_whole(path) as part:
        save_file(tensors, part)


def _whole(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt"):
            return True
    except (SafetensorError, FileNotFoundError):
        return False


def _on_device(shards: Sequence[Moments], device: str) -> Sequence[Moments]:
    import torch

    if device == "cpu":
        return shards
    needed = sum(t.numel() * t.element_size() for shard in shards for t in shard.values())
    if needed > torch.cuda.mem_get_info()[0] / 2:
        return shards
    return [{name: tensor.to(device) for name, tensor in shard.items()} for shard in shards]
