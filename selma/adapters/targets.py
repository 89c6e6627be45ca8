"""Where an adapter may be written: over no input, and over nothing that is no adapter."""

from collections.abc import Iterable
from pathlib import Path

from selma.adapters.formats.reading import read_file
from selma.core.errors import ConfigError, SelmaError


def check_target(out: Path, inputs: Iterable[Path], what: str) -> None:
    """Check that a file may be written; `what` it is of, e.g. "merge".

    ConfigError if it is no .safetensors, is an input, or is there and holds no adapter.
    """
    if out.suffix != ".safetensors":
        raise ConfigError(f"{out}: expected the name of a .safetensors file to write")
    _check_apart(out, inputs, what)
    if out.exists():
        _check_adapter(out)


def check_folder_target(out: Path, inputs: Iterable[Path], what: str) -> None:
    """Check that a PEFT folder may be written: it is not there, is empty, or holds an adapter."""
    if out.suffix == ".safetensors" or out.is_file():
        raise ConfigError(f"{out}: expected the name of a folder to write")
    _check_apart(out, inputs, what)
    if out.is_dir() and any(out.iterdir()):
        _check_adapter(out)


def _check_apart(out: Path, inputs: Iterable[Path], what: str) -> None:
    for path in inputs:
        near = {path.resolve(), path.resolve().parent}  # a folder's weights are in it
        if out.exists() and path.exists() and (out.resolve() in near or out.samefile(path)):
            raise ConfigError(f"{out}: is an input of this {what}; name another file to write")
        if path.is_dir() and path.resolve() in out.resolve().parents:
            raise ConfigError(f"{out}: is an input of this {what}; name another file to write")


def _check_adapter(out: Path) -> None:
    try:
        read_file(out)
    except SelmaError as error:
        raise ConfigError(
            f"{out}: is there and holds no adapter; remove it, or name another file to write"
        ) from error
