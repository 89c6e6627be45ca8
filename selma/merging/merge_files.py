"""Merges adapter files into one, with its certificate beside it."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selma.adapters.bases import possible_bases
from selma.adapters.factors import Adapter
from selma.adapters.files import read_file, write_adapter
from selma.adapters.targets import check_target
from selma.core.errors import AdapterMismatchError, ConfigError, SelmaError
from selma.core.files import read_json, write_json
from selma.core.fingerprints import content_sha256
from selma.merging.certificate import by_layer, summarise
from selma.merging.merge import Merged, Settings, check_settings, merge
from selma.merging.methods.catalogue import formula
from selma.merging.weights import absolute_weights


def merge_files(
    files: Mapping[str, Path],
    out: Path,
    settings: Settings,
    *,
    certificate: Path,
    device: str = "cpu",
    made: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Merge adapter files as `merge` does; writes the merge and its certificate, and returns this.

    Files without a weight, or of weight 0, are not read. The provenance of what is written holds
    the settings and the experts' hashes and own provenance, so that `verify` can do it again, and
    what else is told of how the settings were `made`. An older certificate goes before its merge
    does, so that none is ever beside another's.

    Returns:
        What `summarise` says, and method, its formula, settings, inputs (name → sha256), sha256 of
        the merged file, and layers, see `by_layer`.

    Raises:
        ConfigError: `out` is one of the files, or is there and holds no adapter, or `certificate`
            is there and is none.
        AdapterMismatchError: the files are of two base models; and as `merge`. In each case nothing
            is written.
    """
    check_target(out, files.values(), "merge")
    _check_certificate(certificate)
    check_settings(settings)
    weighed = absolute_weights(settings.weights, settings.scale)
    used = {name: path for name, path in sorted(files.items()) if name in weighed}
    merged, provenance = merge_read(used, settings, device)
    facts = {
        **summarise(merged.layers, merged.names),
        "settings": provenance["merge"],
        "formula": formula(settings.method),
        "layers": by_layer(merged.layers),
    }
    whole = {**(made or {}), **provenance}
    return write_certified(out, merged.adapter, whole, certificate, facts)


def write_certified(
    out: Path, adapter: Adapter, provenance: Mapping[str, Any], certificate: Path,
    facts: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Write an adapter made of others and, after it, its certificate; returns this.

    `provenance` has the experts' hashes; to the facts come these, as inputs, and the file's own.
    """
    certificate.unlink(missing_ok=True)
    write_adapter(out, adapter, provenance)
    inputs = {name: one["sha256"] for name, one in provenance["experts"].items()}
    whole = {**facts, "inputs": inputs, "sha256": content_sha256(out)}
    write_json(certificate, whole)
    return whole


def read_experts(
    paths: Mapping[str, Path],
) -> tuple[dict[str, Adapter], dict[str, dict[str, Any]]]:
    """Read adapters by name, and the provenance of each with its file's hash.

    Raises:
        AdapterMismatchError: they are of two base models; and as `read_file`.
    """
    files = {name: read_file(path) for name, path in sorted(paths.items())}
    experts: dict[str, Adapter] = {name: file.adapter for name, file in files.items()}
    _check_one_base(experts)
    origins = {
        name: {**file.provenance, "sha256": content_sha256(paths[name])}
        for name, file in files.items()
    }
    return experts, origins


def merge_read(
    paths: Mapping[str, Path], settings: Settings, device: str
) -> tuple[Merged, dict[str, Any]]:
    """Read experts and merge them; returns it with the record that its provenance holds.

    Raises:
        AdapterMismatchError: as `read_experts` and `merge`.
    """
    experts, origins = read_experts(paths)
    merged = merge(experts, settings, device)
    return merged, {"merge": asdict(settings), "experts": origins}


def _check_one_base(experts: Mapping[str, Adapter]) -> None:
    """Refuse adapters of two published models, whose layers have the same names in part."""
    bases = {name: possible_bases(adapter) for name, adapter in experts.items()}
    known = {name: set(found) for name, found in bases.items() if found}
    if known and not set.intersection(*known.values()):
        told = ", ".join(f"{name} of {' or '.join(bases[name])}" for name in sorted(known))
        raise AdapterMismatchError(f"experts are of different base models: {told}")


def _check_certificate(path: Path) -> None:
    """See that nothing but a certificate is written over."""
    if not path.exists():
        return
    try:
        found = read_json(path) if path.is_file() else None
    except SelmaError:
        found = None
    if not isinstance(found, dict) or not {"settings", "inputs", "sha256"} <= set(found):
        raise ConfigError(
            f"{path}: is there and is no certificate of a merge; remove it, or name another file "
            "for the merge"
        )
