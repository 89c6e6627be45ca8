"""`selma card`: a folder that the Hub and other programs can read, and that says what is in it."""

import json

import pytest
import torch
from ruamel.yaml import YAML
from safetensors import safe_open
from tiny_world import shipped_params, write_params

from selma.commands.cli import main
from selma.core.fingerprints import content_sha256
from selma.merging.factors import LoraFactors
from selma.merging.files import read_adapter, write_adapter

from .conftest import comparison
from .test_markdown import HEADLINE

LAYER = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two experts of Stable Diffusion 1 and their merge, a comparison and a picture."""
    monkeypatch.chdir(tmp_path)
    params = shipped_params()
    pin = {"repo": "owner/sd1", "revision": "0" * 40, "files": ["*.json"]}
    params |= {"hub": {"backbone": pin}}
    params["backbone"]["path"] = "models/hub/backbone"
    params["models"] |= {"one": {"weights": "models/experts/count.safetensors"}}
    write_params(tmp_path, params)
    for seed, name in enumerate(("count", "common")):
        generator = torch.Generator().manual_seed(seed)
        a = torch.randn(2, 768, generator=generator)
        factors = LoraFactors(a, torch.randn(640, 2, generator=generator))
        write_adapter(tmp_path / f"models/experts/{name}.safetensors", {LAYER: factors}, {})
    files = [f"models/experts/{name}.safetensors" for name in ("count", "common")]
    assert main(["merge", *files, "-o", "models/merged/merged.safetensors"]) == 0
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/comparison.json").write_text(json.dumps(comparison()))
    (tmp_path / "metrics/metrics.json").write_text(json.dumps(HEADLINE))
    (tmp_path / "report").mkdir()
    (tmp_path / "report/grid.png").write_bytes(b"a picture")
    return tmp_path


def card(*arguments):
    return main(["card", "--out", "published", *arguments])


def front_matter(project):
    text = (project / "published/README.md").read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    return YAML(typ="safe").load(head), body


def test_the_front_matter_names_the_base_model_its_licence_and_that_it_is_a_lora(project):
    assert card() == 0
    head, _ = front_matter(project)
    assert head["base_model"] == "owner/sd1"
    assert head["license"] == "creativeml-openrail-m"
    assert {"lora", "text-to-image", "diffusers", "template:sd-lora", "stable-diffusion"} == set(
        head["tags"]
    )
    assert head["instance_prompt"] is None and head["library_name"] == "diffusers"
    assert card("--base-model", "someone/else", "--license", "mit") == 0
    head, _ = front_matter(project)
    assert (head["base_model"], head["license"]) == ("someone/else", "mit")


def test_the_card_has_the_results_with_intervals_and_the_certificate(project):
    assert card() == 0
    _, body = front_matter(project)
    assert "**+2.5** (+1.5 to +3.5)" in body
    assert content_sha256(project / "published/merged.safetensors") in body
    found = json.loads((project / "published/merged.certificate.json").read_text())
    assert f"{found['cosine']['common']['count']:.2f}" in body
    assert "| count | 1.0 |" in body and "](grid.png)" in body
    experts = ["models/experts/count.safetensors", "models/experts/common.safetensors"]
    assert main(["merge", "--verify", "published/merged.safetensors", *experts]) == 0


def test_both_layouts_hold_the_same_update(project):
    assert card() == 0
    one, other = (
        read_adapter(project / f"published/merged{n}.safetensors") for n in ("", "_kohya")
    )
    torch.testing.assert_close(one[LAYER].delta(), other[LAYER].delta())
    with safe_open(project / "published/merged_kohya.safetensors", "pt") as file:
        assert any(key.startswith("lora_unet_") for key in file.keys())  # noqa: SIM118
    assert (project / "published/merged.safetensors").read_bytes() == (
        project / "models/merged/merged.safetensors"
    ).read_bytes()


def test_an_expert_has_no_certificate_and_no_picture_of_another_model(project):
    assert card("--model", "one") == 0
    _, body = front_matter(project)
    assert "What was merged" not in body and "grid.png" not in body
    assert not (project / "published/one.certificate.json").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--model", "nobody"), "--model: no row 'nobody' in models"),
        (("--model", "base"), "models.base.weights: models/pocket/base: expected an adapter"),
    ],
)
def test_what_is_no_adapter_is_one_line(project, capsys, arguments, problem):
    assert card(*arguments) == 2
    said = capsys.readouterr().err
    assert problem in said and said.count("\n") == 1
    assert not (project / "published").exists()


def test_a_certificate_of_another_file_is_refused(project, capsys):
    path = project / "models/merged/merged.safetensors"
    path.write_bytes((project / "models/experts/count.safetensors").read_bytes())
    assert card() == 2
    assert "certifies another file" in capsys.readouterr().err
