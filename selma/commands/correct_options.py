"""The options of `selma correct` and `selma edit`, laid over the params file's sections."""

import argparse
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from selma.commands.score_options import positive
from selma.core.errors import ConfigError

LLM = ("backend", "model", "revision", "base_url", "temperature")  # options that are its keys
OWN = ("keep", "objects_max", "retries")  # options that are keys of the section correct


def add_options(command: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add = command.add_argument
    add("--json-file", type=Path, metavar="FILE", help="a list of entries as SLD reads them")
    add("--input-dir", type=Path, metavar="DIR", help="the pictures that --json-file names")
    add("--picture", type=Path, metavar="FILE", help="one picture, with --prompt")
    add("--prompt", metavar="TEXT", help="what the picture shall show, or how it shall change")
    add(
        "--draw",
        action="store_true",
        help="draw the picture of --prompt first, as the sections backbone and images say",
    )
    add("--out", type=Path, required=True, metavar="DIR",
        help="a folder for each entry; index.html shows them, replies.jsonl keeps what the LLM "
        "said")  # fmt: skip
    add(
        "--params",
        type=Path,
        default=Path("params.yaml"),
        metavar="FILE",
        help="its sections correct and llm say all that no option does (default params.yaml)",
    )
    add("--set", nargs="+", default=[], metavar="KEY=VALUE",
        help="values of the section correct, as detector.path=models/hub/owlv2")  # fmt: skip
    add("--rounds", type=positive, help="at most; default: the section's, or 1 if that is 0")
    add("--keep", help="all, passing, fixed_or_original: whose result becomes final_NAME.png")
    add("--objects-max", type=positive, help="how many objects a layout may have")
    add("--generator", metavar="NAME",
        help="of --picture, whose thresholds the detector takes: dalle, lmdplus, sdxl")  # fmt: skip
    add("--ignore-generators", action="store_true", help="take the section's thresholds for all")
    add("--vocabulary", type=Path, metavar="FILE.yaml",
        help="words of LMD prompts, which have a pass rule; default: the section's")  # fmt: skip
    add("--plan-only", action="store_true", help="say what would be done; load no editor")
    add("--backend", help="of the LLM; replay: what --replies holds alone")
    add("--model", help="of the LLM")
    add("--revision", help="of the LLM; another one asks anew")
    add("--base-url", help="of the LLM's server")
    add("--temperature", type=float, help="of the LLM")
    add("--retries", type=int, help="further tries for a reply that cannot be read")
    add("--replies", type=Path, metavar="FILE.jsonl", help="default: OUT/replies.jsonl")
    add("--seed", type=int, help="default: that of the params file")


def laid_over(
    read: Mapping[str, Any], given: Mapping[str, Any], pairs: Sequence[str]
) -> dict[str, Any]:
    """Lay options that are not None, then KEY.KEY=VALUE pairs, over a section not yet checked."""
    values = {name: _copied(value) for name, value in read.items()}
    values |= {name: value for name, value in given.items() if value is not None}
    for keys, value in _pairs(pairs):
        place: Any = values
        for key in keys[:-1]:
            place = place.get(key) if isinstance(place, MutableMapping) else None
        if not isinstance(place, MutableMapping):
            raise ConfigError(f"--set {'.'.join(keys)}: {'.'.join(keys[:-1])} holds no keys")
        place[keys[-1]] = value
    return values


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    return value


def _pairs(given: Sequence[str]) -> list[tuple[list[str], Any]]:
    """Read KEY.KEY=VALUE, a value as in YAML."""
    from selma.runtime.yaml_files import parse_yaml

    pairs = [text.partition("=") for text in given]
    for key, sign, _ in pairs:
        if not all(key.split(".")) or not sign:
            raise ConfigError(f"--set: expected KEY=VALUE, got {key!r}")
    return [(key.split("."), parse_yaml(value, f"--set {key}")) for key, _, value in pairs]
