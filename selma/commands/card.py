"""`selma card`: a folder to publish: the adapter in two layouts, its certificate, a model card."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from selma.core.errors import ConfigError, RecordError

if TYPE_CHECKING:
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
    from selma.core.files import read_json, write_bytes_atomic
    from selma.core.fingerprints import content_sha256
    from selma.merging.bases import find_base
    from selma.merging.exporting import export
    from selma.merging.files import read_adapter
    from selma.report.markdown import table_of
    from selma.report.model_card import Card, model_card
    from selma.runtime.params import load_params

    params = load_params()
    name = args.model or params.compare.subject
    source = _weights(params, name)
    base = find_base(read_adapter(source))
    place, grid = source.with_suffix(".certificate.json"), Path("report/grid.png")
    certificate = read_json(place) if place.is_file() else None
    if certificate is not None and certificate["sha256"] != content_sha256(source):
        raise RecordError(f"{place}: certifies another file than {source}; run `dvc repro`")
    card = Card(
        name=name, base=base, base_model=args.base_model or _repository(params),
        base_path=params.backbone.path, license=args.license, weights=f"{name}.safetensors",
        kohya=f"{name}_kohya.safetensors", certificate=f"{name}.certificate.json",
        grid="grid.png" if grid.is_file() and name == params.compare.subject else None,
    )  # fmt: skip
    text = model_card(card, table_of(), certificate)
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


def _weights(params: "Params", name: str) -> Path:
    if name not in params.models:
        raise ConfigError(f"--model: no row {name!r} in models; rows: {', '.join(params.models)}")
    path = Path(params.models[name].weights)
    if path.suffix != ".safetensors":
        raise ConfigError(f"models.{name}.weights: {path}: expected an adapter's file")
    return path


def _repository(params: "Params") -> str | None:
    """The Hub's name of the backbone, if a row of `hub` brought it."""
    path = Path(params.backbone.path)
    row = params.hub.get(path.name) if path.parent == Path("models/hub") else None
    return row.repo if row else None
