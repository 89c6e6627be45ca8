"""Verifies a merged file by doing the merge again."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.adapters.factors import Adapter
from selma.adapters.files import read_adapter, read_provenance, write_adapter
from selma.adapters.measures import compare
from selma.core.errors import ConfigError, DifferenceError, InconclusiveError
from selma.core.fingerprints import content_sha256
from selma.merging.merge import Settings
from selma.merging.merge_files import merge_read

ROUNDING = 1e-4  # of a layer's norm: what another processor or library may change


def verify(merged: Path, inputs: Sequence[Path]) -> str:
    """Merge again what a merged file says it was made of, and compare it byte by byte.

    `inputs` are found by their hashes, whatever their names. Returns what was found in a line.

    Raises:
        InconclusiveError: an input is missing, the file's record is not enough, or the bytes differ
            by rounding alone, as on another processor.
        DifferenceError: the file is not that merge.
        ConfigError: it was not made by `selma merge`.
    """
    made = read_provenance(merged)
    made.pop("format", None)
    if not {"merge", "fit"} & set(made):
        raise ConfigError(f"{merged}: holds no record of a merge; it was not made by selma merge")
    if "exported" in made:
        raise InconclusiveError(
            f"{merged}: inconclusive: it was exported from a merge; verify the merge itself"
        )
    settings, experts = _record(merged, made)
    found = {content_sha256(path): path for path in inputs}
    paths = {name: found.get(digest) for name, digest in experts.items()}
    if missing := [name for name, path in paths.items() if path is None]:
        wanted = ", ".join(f"{n} ({experts[n][:12]}…)" for n in missing)
        raise InconclusiveError(f"{merged}: inconclusive: no file given is {wanted}")
    given = {name: path for name, path in paths.items() if path is not None}
    again, provenance = merge_read(given, settings, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        replay = Path(folder) / "replay.safetensors"
        write_adapter(replay, again.adapter, {**made, **provenance})
        if replay.read_bytes() == merged.read_bytes():
            return f"{merged}: verified: the same bytes, of {len(given)} experts"
        _compare(merged, read_adapter(merged), read_adapter(replay))
    raise AssertionError("unreachable: a difference was not told")


def _record(path: Path, made: Mapping[str, Any]) -> tuple[Settings, dict[str, str]]:
    """Read a record: the settings, and the experts' hashes by name."""
    from pydantic import TypeAdapter, ValidationError

    try:
        settings = TypeAdapter(Settings).validate_python(made["merge"])
        origins = TypeAdapter(dict[str, dict[str, Any]]).validate_python(made["experts"])
        return settings, {name: str(one["sha256"]) for name, one in origins.items()}
    except (ValidationError, KeyError) as error:
        raise InconclusiveError(
            f"{path}: inconclusive: its record lacks what a replay needs (it is of another "
            "version of selma, or was fitted to data); merge again"
        ) from error


def _compare(path: Path, found: Adapter, wanted: Adapter) -> None:
    """Say how two adapters differ whose files do, by the error that it is."""
    if set(found) != set(wanted):
        layer = min(set(found) ^ set(wanted))
        raise DifferenceError(f"{path}: differs from the merge: {layer} is in one of them alone")
    worst, where = 0.0, ""
    for layer, own in found.items():
        if own.shape != wanted[layer].shape:
            raise DifferenceError(f"{path}: differs from the merge: {layer} has another shape")
        error, size = compare(wanted[layer], own)
        error /= size or 1.0
        worst, where = max((worst, where), (error, layer))
    if worst > ROUNDING:
        raise DifferenceError(
            f"{path}: differs from the merge of these experts by {worst:.1e} of the norm in {where}"
        )
    raise InconclusiveError(
        f"{path}: inconclusive: no byte-for-byte replay, but the same up to rounding (at most "
        f"{worst:.1e} of a layer's norm): another processor, library or version made it"
    )
