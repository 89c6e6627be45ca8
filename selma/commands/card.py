"""`selma card`: a folder to publish: the adapter in two layouts, its certificate, a model card."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.errors import ConfigError, RecordError

if TYPE_CHECKING:
    from selma.report.card_merge import Certificate
    from selma.runtime.whole import Params


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("card", help="write a model card and the files it speaks of")
    add = command.add_argument
    add("-o", "--out", type=Path, required=True, metavar="FOLDER")
    add("--model", help="a row of models whose weights are an adapter; default: compare.subject")
    add("--base-model", metavar="OWNER/NAME", help="on the Hub; default: what `hub` brought")
    add("--license", help="its name on the Hub; default: the base model's")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the folder; what is in it under these names is written over."""
    from selma.adapters.bases import find_base
    from selma.adapters.exporting import export
    from selma.adapters.files import read_file
    from selma.adapters.targets import check_target
    from selma.core.files import write_bytes_atomic
    from selma.report.card_folder import check_card_folder
    from selma.report.markdown import table_of_model
    from selma.report.model_card import Card, model_card
    from selma.runtime.params import load_params

    params = load_params()
    name = args.model or params.compare.subject
    source, grid = _weights(params, name), Path("report/grid.png")
    file, place = read_file(source), source.with_suffix(".certificate.json")
    card = Card(
        name=name, base=find_base(file.adapter), base_model=_base_model(args.base_model, params),
        base_path=params.backbone.path, license=args.license, weights=f"{name}.safetensors",
        kohya=f"{name}_kohya.safetensors", certificate=f"{name}.certificate.json",
        grid="grid.png" if grid.is_file() and name == params.compare.subject else None,
    )  # fmt: skip
    check_card_folder(args.out)
    for weights in (card.weights, card.kohya):
        check_target(args.out / weights, [source], "card")
    certificate = _certificate(place, source, file.provenance) if place.is_file() else None
    text = model_card(card, table_of_model(name), certificate, file.provenance)
    export(source, args.out / card.kohya, to="kohya")
    write_bytes_atomic(args.out / card.weights, source.read_bytes())
    if certificate is not None:
        write_bytes_atomic(args.out / card.certificate, place.read_bytes())
    if card.grid:
        write_bytes_atomic(args.out / card.grid, grid.read_bytes())
    write_bytes_atomic(args.out / "README.md", text.encode())
    print(f"{args.out}: README.md and what it speaks of")
    if card.base_model is None:
        print("no base model on the Hub is named; --base-model OWNER/NAME makes it usable there")


def _certificate(place: Path, source: Path, made: Mapping[str, Any]) -> "Certificate":
    from selma.core.fingerprints import content_sha256
    from selma.report.card_merge import origins, read_certificate

    certificate = read_certificate(place)
    of_file = {one.name: one.sha256 for one in origins(made)} == certificate.inputs
    if certificate.sha256 != content_sha256(source) or not of_file:
        raise RecordError(f"{place}: certifies another file than {source}; run `dvc repro`")
    return certificate


def _weights(params: "Params", name: str) -> Path:
    if name not in params.models:
        raise ConfigError(f"--model: no row {name!r} in models; rows: {', '.join(params.models)}")
    path = Path(params.models[name].weights)
    if path.suffix != ".safetensors":
        raise ConfigError(f"models.{name}.weights: {path}: expected an adapter's file")
    return path


def _base_model(given: str | None, params: "Params") -> str | None:
    """The Hub's name of the backbone: the one that is given, or that a row of `hub` brought."""
    from selma.runtime.sections import REPOSITORY

    if given is not None and not re.fullmatch(REPOSITORY, given):
        raise ConfigError(f"--base-model: expected OWNER/NAME as on the Hub, got {given!r}")
    path = Path(params.backbone.path)
    row = params.hub.get(path.name) if path.parent == Path("models/hub") else None
    return given or (row.repo if row else None)
