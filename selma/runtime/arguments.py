"""A stage's arguments, and how the machine is prepared before a model is loaded."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selma.runtime.params import PARAMS_PATH, Threads, load_section


def stage_arguments(
    argv: Sequence[str] | None, doc: str | None, *, params: Path = PARAMS_PATH, **options: Any
) -> Any:
    """Parse a stage's arguments.

    Args:
        argv: None for the process's own.
        doc: what the stage does.
        params: where `--params` lies if it is not given.
        options: required arguments, name → type of the value; a type in a list takes several
            values.
    """
    parser = argparse.ArgumentParser(description=doc)
    for name, kind in options.items():
        several: dict[str, Any] = {"nargs": "+"} if isinstance(kind, list) else {}
        value_type = kind[0] if isinstance(kind, list) else kind
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=value_type, required=True, **several)
    parser.add_argument("--params", type=Path, default=params)
    return parser.parse_args(argv)


def prepare_machine(params: Path) -> dict[str, int | bool]:
    """Pin instruction set and threads as params.yaml says, before torch is loaded.

    Returns:
        What decides the last bits of a sum: `threads` and `same_bytes`.
    """
    from selma.core.devices import set_threads

    threads = load_section("threads", Threads, params)
    same_bytes = load_section("same_bytes", bool, params)
    set_threads(threads)
    return {"threads": threads, "same_bytes": same_bytes}
