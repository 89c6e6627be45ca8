"""Ground truth by kind of source: captions and pictures that no model made, by skill."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from selma.core.choices import choose
from selma.core.errors import MissingDataError
from selma.sources.pairs import Pair, read_folder, read_parquet

Row = Mapping[str, Any]  # of `sources`
Read = Callable[[Row, int], dict[str, list[Pair]]]


def _folder(row: Row, seed: int) -> dict[str, list[Pair]]:
    skills = [path for path in _inside(row["path"]) if path.is_dir()]
    _check_skills(row["path"], skills, "a folder SKILL")
    return {path.name: _named(path.name, read_folder(path, row["size_px"])) for path in skills}


def _parquet(row: Row, seed: int) -> dict[str, list[Pair]]:
    skills = [path for path in _inside(row["path"]) if path.suffix == ".parquet"]
    _check_skills(row["path"], skills, "a file SKILL.parquet")
    return {path.stem: _named(path.stem, read_parquet(path, row["size_px"])) for path in skills}


def _pocket(row: Row, seed: int) -> dict[str, list[Pair]]:
    from selma.pocket.skills import DRAW
    from selma.pocket.truth import true_pairs

    return {
        skill: [
            Pair(f"{skill}-{number:06d}", *pair)
            for number, pair in enumerate(true_pairs(skill, row["per_skill"], seed))
        ]
        for skill in DRAW
    }


TRUTHS: dict[str, Read] = {"folder": _folder, "parquet": _parquet, "pocket": _pocket}


def read_truth(row: Row, *, seed: int) -> dict[str, list[Pair]]:
    """Read ground truth; a skill's pairs are sorted by name, and no other skill has that name.

    Args:
        row: of `sources`, with kind (a key of `TRUTHS`), path, and what its kind needs. A user's
            pictures are in a folder, or Parquet file, by the name of the skill.
        seed: of the run; what is drawn follows from it and the skill.

    Raises:
        MissingDataError, RecordError: as `read_folder`.
        ConfigError: there is no such kind, or it has fewer pairs than asked for.
    """
    return choose("kind of ground truth", row["kind"], TRUTHS)(row, seed)


def _inside(path: str) -> list[Path]:
    folder = Path(path)
    if not folder.is_dir():
        raise MissingDataError(f"{path}: no such folder")
    return sorted(one for one in folder.iterdir() if not one.name.startswith("."))


def _named(skill: str, pairs: list[Pair]) -> list[Pair]:
    """Tell pairs from those of other skills, whose files may have the same names."""
    return [replace(pair, name=f"{skill}/{pair.name}") for pair in pairs]


def _check_skills(path: str, skills: list[Path], expected: str) -> None:
    if not skills:
        raise MissingDataError(f"{path}: holds no skill's pictures; expected {expected} for each")
