"""Merges adapter files into one, certifies it, and verifies such a file by doing it again."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from selma.core.errors import (
    AdapterMismatchError,
    ConfigError,
    DifferenceError,
    InconclusiveError,
)
from selma.core.fingerprints import content_sha256
from selma.merging.bases import possible_bases
from selma.merging.certificate import by_layer, summarise
from selma.merging.factors import Adapter
from selma.merging.files import read_adapter, read_file, read_provenance, write_adapter
from selma.merging.lowrank import distance, norm
from selma.merging.merge import Merged, Settings, check_settings, merge
from selma.merging.methods.catalogue import formula
from selma.merging.targets import check_target

ROUNDING = 1e-4  # of a layer's norm: what another processor or library may change


def merge_files(
    files: Mapping[str, Path],
    out: Path,
    settings: Settings,
    device: str = "cpu",
    made: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Merge adapter files as `merge` does and return the certificate.

    Files without a weight, or of weight 0, are not read. The provenance of what is written holds
    the settings and the experts' hashes and own provenance, so that `verify` can do it again, and
    what else is told of how the settings were `made`.

    Returns:
        What `summarise` says, and method, its formula, settings, inputs (name → sha256), sha256 of
        the merged file, and layers, see `by_layer`.

    Raises:
        ConfigError: `out` is one of the files, or is there and holds no adapter.
        AdapterMismatchError: the files are of two base models; and as `merge`. In each case nothing
            is written.
    """
    check_target(out, files.values(), "merge")
    check_settings(settings)
    used = {name: path for name, path in sorted(files.items()) if _has_weight(settings, name)}
    merged, provenance = _merge_read(used, settings, device)
    write_adapter(out, merged.adapter, {**(made or {}), **provenance})
    return {
        **summarise(merged.layers, merged.names),
        "settings": provenance["merge"],
        "formula": formula(settings.method),
        "inputs": {name: made["sha256"] for name, made in provenance["experts"].items()},
        "sha256": content_sha256(out),
        "layers": by_layer(merged.layers),
    }


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
    known = {field.name for field in fields(Settings)}
    record, experts = made.get("merge", {}), made.get("experts", {})
    if not record and "fit" not in made:
        raise ConfigError(f"{merged}: holds no record of a merge; it was not made by selma merge")
    if set(record) != known or not all("sha256" in one for one in experts.values()):
        raise InconclusiveError(
            f"{merged}: inconclusive: its record lacks what a replay needs (it is of another "
            "version of selma, or was fitted to data); merge again"
        )
    found = {content_sha256(path): path for path in inputs}
    paths = {name: found.get(one["sha256"]) for name, one in experts.items()}
    if missing := [name for name, path in paths.items() if path is None]:
        wanted = ", ".join(f"{n} ({experts[n]['sha256'][:12]}…)" for n in missing)
        raise InconclusiveError(f"{merged}: inconclusive: no file given is {wanted}")
    given = {name: path for name, path in paths.items() if path is not None}
    again, provenance = _merge_read(given, Settings(**record), "cpu")
    with tempfile.TemporaryDirectory() as folder:
        replay = Path(folder) / "replay.safetensors"
        write_adapter(replay, again.adapter, {**made, **provenance})
        if replay.read_bytes() == merged.read_bytes():
            return f"{merged}: verified: the same bytes, of {len(given)} experts"
        _compare(merged, read_adapter(merged), read_adapter(replay))
    raise AssertionError("unreachable: a difference was not told")


def _compare(path: Path, found: Adapter, wanted: Adapter) -> None:
    """Say how two adapters differ whose files do, by the error that it is."""
    if set(found) != set(wanted):
        layer = min(set(found) ^ set(wanted))
        raise DifferenceError(f"{path}: differs from the merge: {layer} is in one of them alone")
    worst, where = 0.0, ""
    for layer, own in found.items():
        if own.shape != wanted[layer].shape:
            raise DifferenceError(f"{path}: differs from the merge: {layer} has another shape")
        error = distance(wanted[layer], own) / (norm(wanted[layer]) or 1.0)
        worst, where = max((worst, where), (error, layer))
    if worst > ROUNDING:
        raise DifferenceError(
            f"{path}: differs from the merge of these experts by {worst:.1e} of the norm in {where}"
        )
    raise InconclusiveError(
        f"{path}: inconclusive: no byte-for-byte replay, but the same up to rounding (at most "
        f"{worst:.1e} of a layer's norm): another processor, library or version made it"
    )


def _merge_read(
    paths: Mapping[str, Path], settings: Settings, device: str
) -> tuple[Merged, dict[str, Any]]:
    files = {name: read_file(path) for name, path in paths.items()}
    experts = {name: file.adapter for name, file in files.items()}
    _check_one_base(experts)
    merged = merge(experts, settings, device)
    origins = {
        name: {**file.provenance, "sha256": content_sha256(paths[name])}
        for name, file in files.items()
    }
    return merged, {"merge": asdict(settings), "experts": origins}


def _check_one_base(experts: Mapping[str, Adapter]) -> None:
    """Refuse adapters of two published models, whose layers have the same names in part."""
    bases = {name: possible_bases(adapter) for name, adapter in experts.items()}
    known = {name: set(found) for name, found in bases.items() if found}
    if known and not set.intersection(*known.values()):
        told = ", ".join(f"{name} of {' or '.join(bases[name])}" for name in sorted(known))
        raise AdapterMismatchError(f"experts are of different base models: {told}")


def _has_weight(settings: Settings, name: str) -> bool:
    given = settings.weights.get(name, 0.0)
    return any(given.values()) if isinstance(given, Mapping) else bool(given)
