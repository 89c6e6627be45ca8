"""The model card of an adapter: README.md with Hugging Face's front matter."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from selma.report.card_merge import Certificate, how_made, is_taught, origins

LICENSES = {  # of the published base models, which adapters of theirs inherit
    "sd1": "creativeml-openrail-m", "sd2": "openrail++", "sdxl": "openrail++",
}  # fmt: skip
FAMILIES = {"sd1": "stable-diffusion", "sd2": "stable-diffusion", "sdxl": "stable-diffusion-xl"}


@dataclass(frozen=True)
class Card:
    """What a card tells beside results and certificate; names of files are in the card's folder."""

    name: str
    base: str | None  # sd1, sd2, sdxl
    base_model: str | None  # on the Hub
    base_path: str
    license: str | None  # None: the base's
    weights: str
    kohya: str
    certificate: str
    grid: str | None


def model_card(
    card: Card, table: str, certificate: Certificate | None, made: Mapping[str, Any]
) -> str:
    """Write the card.

    Args:
        card: names and places.
        table: the results in Markdown, see `results_table` and `model_table`.
        certificate: of the merge, if there is one.
        made: the adapter's provenance; empty if its file does not say it.
    """
    environment = Environment(
        loader=PackageLoader("selma.report"),
        autoescape=False,  # Markdown of names that params.yaml allows
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    settings, experts = certificate.settings if certificate else {}, origins(made)
    return environment.get_template("model_card.md.j2").render(
        card=card,
        front_matter=_front_matter(card),
        how=how_made(made),
        taught=is_taught(made),
        table=table.rstrip(),
        certificate=certificate,
        method=settings.get("method") or settings.get("kind"),
        scale=settings.get("scale"),
        verifiable="merge" in made and all(one.sha256 for one in experts),
        origins=experts,
    )


def _front_matter(card: Card) -> str:
    """What the Hub reads: as an adapter it is served with `base_model` and the tag lora."""
    from ruamel.yaml import YAML

    tags = ["text-to-image", "lora", "diffusers", "template:sd-lora"]
    values: dict[str, Any] = {
        "base_model": card.base_model,
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "license": card.license or LICENSES.get(card.base or "", "other"),
        "instance_prompt": None,
        "tags": [*tags, *([FAMILIES[card.base]] if card.base else [])],
    }
    if card.base_model is None:
        del values["base_model"]
    text = StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    yaml.dump(values, text)
    return f"---\n{text.getvalue()}---"
