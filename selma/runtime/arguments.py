"""A stage's arguments, and the machine settings that decide its last bits."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selma.runtime.params import PARAMS_PATH, load_section
from selma.runtime.sections import Threads


def stage_arguments(
    argv: Sequence[str] | None, doc: str | None, *, params: Path = PARAMS_PATH, **options: Any
) -> Any:
    """Parse a stage's required arguments and `--params`; `doc` says what the stage does.

    `options` has the type of each value by name; a type in a list takes several values.
    """
    parser = argparse.ArgumentParser(description=doc)
    for name, kind in options.items():
        flag = f"--{name.replace('_', '-')}"
        value_type, number = (kind[0], "+") if isinstance(kind, list) else (kind, None)
        parser.add_argument(flag, type=value_type, required=True, nargs=number)
    parser.add_argument("--params", type=Path, default=params)
    return parser.parse_args(argv)


def prepare_machine(params: Path) -> dict[str, int | bool]:
    """Set the threads of params.yaml; return them with `same_bytes`, which `stages` has obeyed."""
    from selma.core.devices import set_threads

    threads = load_section("threads", Threads, params)
    same_bytes = load_section("same_bytes", bool, params)
    set_threads(threads)
    return {"threads": threads, "same_bytes": same_bytes}
