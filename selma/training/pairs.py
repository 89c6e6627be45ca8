"""Pairs of pictures of one prompt, one rated better: what a preference is learnt from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from selma.diffusion.backbone import Backbone
from selma.pictures.pairs import Row, choose_pairs
from selma.training.moments import Examples, encode_examples

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Pairs:
    """Encoded pictures, and which of them is preferred to which; a training set of pairs."""

    pictures: Examples
    winners: Sequence[int]  # places in `pictures`
    losers: Sequence[int]

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.winners)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(C, H/f, W/f)."""
        return self.pictures.latent_shape

    @property
    def condition_index(self) -> "torch.Tensor":
        """(N,), which prompt each pair is of."""
        return self.pictures.condition_index[list(self.winners)]

    def only(self, items: Sequence[int]) -> "Pairs":
        """Keep some pairs, in the order given."""
        sides = ([side[item] for item in items] for side in (self.winners, self.losers))
        return Pairs(self.pictures, *sides)


def encode_pairs(
    read: Callable[[], Iterable[Row]], backbone: Backbone, directory: Path, *, min_gap: float,
    flip: bool,
) -> tuple[Pairs, Mapping[str, int]]:  # fmt: skip
    """Choose pairs and encode their pictures alone; also returns the counts of `Choice`.

    `read` gives the rows of a table of pairs, in the same order each time: they are read twice, so
    that not all pictures are in memory. Errors as of `choose_pairs` and `encode_examples`.
    """
    choice = choose_pairs(read(), min_gap)
    used = sorted({key for pair in choice.pairs for key in pair})
    place = {key: number for number, key in enumerate(used)}
    rows = (row for row in read() if (row["prompt_id"], row["sample"]) in place)
    pictures = encode_examples(rows, backbone, directory, flip=flip)
    winners, losers = ([place[pair[side]] for pair in choice.pairs] for side in (0, 1))
    return Pairs(pictures, winners, losers), choice.counts
