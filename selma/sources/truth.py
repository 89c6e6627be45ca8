"""Ground truth by kind of source: captions and pictures that no model made."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from selma.core.choices import choose
from selma.sources.pairs import Pair, read_folder, read_parquet

Read = Callable[[Mapping[str, Any], str, int], list[Pair]]  # a row of `sources`, skill, root seed


def _folder(row: Mapping[str, Any], skill: str, seed: int) -> list[Pair]:
    return read_folder(Path(row["path"]) / skill, row["size_px"])


def _parquet(row: Mapping[str, Any], skill: str, seed: int) -> list[Pair]:
    return read_parquet(Path(row["path"]) / f"{skill}.parquet", row["size_px"])


def _pocket(row: Mapping[str, Any], skill: str, seed: int) -> list[Pair]:
    from selma.pocket.truth import true_pairs

    pairs = enumerate(true_pairs(skill, row["per_skill"], seed))
    return [Pair(f"{skill}-{number:06d}", *pair) for number, pair in pairs]


TRUTHS: dict[str, Read] = {"folder": _folder, "parquet": _parquet, "pocket": _pocket}


def read_truth(row: Mapping[str, Any], skill: str, *, seed: int) -> list[Pair]:
    """Read a skill's ground truth, sorted by name.

    Args:
        row: of `sources`, with kind (a key of `TRUTHS`), path, and what its kind needs. A user's
            pictures are in a folder, or Parquet file, by the name of the skill.
        skill: whose pairs.
        seed: of the run; what is drawn follows from it and the skill.

    Raises:
        MissingDataError, RecordError: as `read_folder`.
        ConfigError: there is no such kind, or it knows no such skill.
    """
    return choose("kind of ground truth", row["kind"], TRUTHS)(row, skill, seed)
