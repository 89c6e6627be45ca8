"""`selma card`: a folder that the Hub and other programs can read, and that says what is in it."""

import json

import pytest
import torch
from ruamel.yaml import YAML
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_world import shipped_params, write_params

from selma.adapters.factors import LoraFactors
from selma.adapters.files import read_adapter, write_adapter
from selma.commands.cli import main
from selma.core.fingerprints import content_sha256
from selma.merging.merge import Settings
from selma.merging.merge_files import merge_files
from selma.report.card_merge import weight_in_words

from .conftest import comparison

HEADLINE = {
    f"{name}{key}": value * scale
    for name, scale in (("dsg_a", 1), ("pick", 0.2))
    for key, value in (("", 60.0), ("_base", 50.0), ("_one", 70.0))
} | {"dsg_a_gain": 2.5, "pick_gain": 2.5}
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
    params["models"] |= {"new": {"weights": "models/experts/common.safetensors"}}
    write_params(tmp_path, params)
    for seed, name in enumerate(("count", "common")):
        generator = torch.Generator().manual_seed(seed)
        a = torch.randn(2, 768, generator=generator)
        factors = LoraFactors(a, torch.randn(640, 2, generator=generator))
        made = {"name": name, "lora": {"rank": 2}}
        write_adapter(tmp_path / f"models/experts/{name}.safetensors", {LAYER: factors}, made)
    files = [f"models/experts/{name}.safetensors" for name in ("count", "common")]
    assert main(["merge", *files, "-o", "models/merged/merged.safetensors"]) == 0
    (tmp_path / "metrics").mkdir()
    compared = comparison(("base", "merged", "one"), "merged", "base", ())
    (tmp_path / "metrics/comparison.json").write_text(json.dumps(compared))
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
    assert "owner/sd1: one training. Made with [selma]" in body
    assert not (project / "published/one.certificate.json").exists()


def test_a_model_that_is_not_the_subject_has_its_own_numbers_alone(project):
    """Its score is 70 ± 10 %, its difference to the reference −0.5; the subject's 60, 2.5."""
    assert card("--model", "one") == 0
    _, body = front_matter(project)
    (header,) = [line for line in body.splitlines() if line.startswith("| metric")]
    assert [cell.strip() for cell in header.strip("|").split("|")] == [
        "metric", "one", "one − base", "n"
    ]  # fmt: skip
    (row,) = [line for line in body.splitlines() if line.startswith("| DSG, %")]
    assert "70.0 (63.0 to 77.0)" in row and "−0.5 (−2.5 to +1.5)" in row
    assert "merged" not in body and "60.0" not in body and "2.5 (+" not in body
    assert "95 % intervals" in body


def test_a_model_that_was_not_compared_with_the_reference_has_its_scores(project):
    path = project / "metrics/comparison.json"
    found = json.loads(path.read_text())
    found["comparisons"] = [one for one in found["comparisons"] if one["model"] != "one"]
    path.write_text(json.dumps(found))
    assert card("--model", "one") == 0
    _, body = front_matter(project)
    assert "70.0 (63.0 to 77.0)" in body and "one − base" not in body and "verdict" not in body


def test_a_merge_without_a_certificate_says_what_it_was_merged_from(project):
    (project / "models/merged/merged.certificate.json").unlink()
    assert card() == 0
    _, body = front_matter(project)
    sha256 = content_sha256(project / "models/experts/common.safetensors")
    assert "2 experts, merged. Made with" in body
    assert f"| common | 1.0 | `{sha256[:12]}…` |" in body


def test_what_is_not_known_of_an_adapter_is_not_told(project):
    path = project / "models/experts/count.safetensors"
    save_file(load_file(path), path)  # as another program writes it, without selma's record
    assert card("--model", "one") == 0
    _, body = front_matter(project)
    assert "its file does not say how it was made.\n" in body and "Made with" not in body


def test_weights_by_block_are_readable(project):
    path = project / "models/merged/merged.safetensors"
    files = {n: project / f"models/experts/{n}.safetensors" for n in ("count", "common")}
    blocks = {"all": 1.0, LAYER.rpartition(".")[0]: 0.5}
    settings = Settings(
        method="delta_mean", weights={"count": blocks, "common": 2.0}, scale=1.0, rank=None,
        error_max=None, match_norm=False, parameters={}, dtype="float32", seed=0,
    )  # fmt: skip
    merge_files(files, path, settings, certificate=path.with_suffix(".certificate.json"))
    assert card() == 0
    _, body = front_matter(project)
    block = LAYER.rpartition(".")[0]
    assert f"| count | 0.5 in `{block}`, 1.0 elsewhere |" in body and "| common | 2.0 |" in body


def test_of_many_blocks_the_range_of_their_weights_is_told():
    blocks = {"all": 0.5, "a": 0.25, "b": 0.5, "c": 0.5, "d": 0.75}
    assert weight_in_words(blocks) == "0.25 to 0.75 in 4 blocks, 0.5 elsewhere"


def files_of(project):
    return {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("folder", "problem"),
    [
        (".", "holds params.yaml, so it is a project"),
        ("models/merged", "lies in the project's own models/"),
        ("report", "lies in the project's own report/"),
        ("release/new/deep", "lies in the project's own release/"),
        ("params.yaml", "expected the name of a folder"),
        ("notes", "README.md: is there and is no model card"),
        ("table", "README.md: is there and is no model card"),
        ("taken", "merged.safetensors: is there and holds no adapter"),
        ("also", "merged_kohya.safetensors: is there and holds no adapter"),
    ],
)
def test_a_folder_of_other_things_is_refused_and_nothing_is_written(
    project, capsys, folder, problem
):
    for name in ("README.md", "notes/README.md", "taken/merged.safetensors"):
        put(project / name, "of mine")
    put(project / "also/merged_kohya.safetensors", "of mine")
    put(project / "table/README.md", "---\nlibrary_name: diffusers\ntags: [lora\n---\n")
    before = files_of(project)
    assert main(["card", "-o", folder]) == 2
    said = capsys.readouterr().err
    assert problem in said and said.count("\n") == 1
    assert files_of(project) == before


def put(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"sha256": 1, "settings": []}'])
def test_what_is_no_certificate_is_one_line(project, capsys, content):
    (project / "models/merged/merged.certificate.json").write_text(content)
    assert card() == 2
    said = capsys.readouterr().err
    assert "merged.certificate.json: " in said and said.count("\n") == 1
    assert "this is no certificate" in said and not (project / "published").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--model", "nobody"), "--model: no row 'nobody' in models"),
        (("--model", "new"), "new was not compared, so there are no numbers to publish"),
        (("--base-model", 'x"'), "--base-model: expected OWNER/NAME as on the Hub, got 'x\"'"),
        (("--base-model", "a/b\n"), "--base-model: expected OWNER/NAME"),
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
