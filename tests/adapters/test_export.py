"""`selma export`: what it writes, and what it refuses."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from selma.adapters.factors import LoraFactors
from selma.adapters.files import read_file, write_adapter
from selma.adapters.formats.architecture import layers_of
from selma.commands.cli import main

LAYER = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
KOHYA = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
SGM = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
PROVENANCE = {"name": "count", "prediction_type": "epsilon"}


def random_factors(seed, out, inside, rank, scale=1.0, kernel=None):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(rank, inside, generator=generator).half().float()
    return LoraFactors(a, torch.randn(out, rank, generator=generator).half().float(), scale, kernel)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An SDXL adapter of three layers, of alpha ÷ rank ½, a convolution among them."""
    monkeypatch.chdir(tmp_path)
    adapter = {
        LAYER: random_factors(0, 640, 2048, 2, 0.5),
        LAYER.replace("to_k", "to_v"): random_factors(1, 640, 2048, 2),
        "unet.down_blocks.1.resnets.0.conv2": random_factors(2, 640, 640 * 9, 1, 0.5, (3, 3)),
    }
    write_adapter(Path("x.safetensors"), adapter, PROVENANCE)
    save_file({k: t.half() for k, t in load_file("x.safetensors").items()}, "half.safetensors")
    return tmp_path


def export(*arguments):
    return main(["export", *arguments])


def refused(capsys, *arguments):
    def held():
        return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}

    before = held()
    assert export(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert held() == before
    return said.err


def metadata(path):
    with safe_open(path, framework="pt") as handle:
        return handle.metadata()


@pytest.mark.parametrize("to", ["kohya", "diffusers", "peft"])
def test_an_export_is_the_same_adapter(to, capsys):
    out = "out" if to == "peft" else "out.safetensors"
    assert export("x.safetensors", "--to", to, "-o", out) == 0
    assert capsys.readouterr().out == f"{out}: 3 layers, float32\n"
    before, after = read_file(Path("x.safetensors")), read_file(Path(out))
    assert set(after.adapter) == set(before.adapter)
    exported = {"layout": to, "dtype": "float32"}
    assert after.provenance == {**before.provenance, "exported": exported}
    for name, one in before.adapter.items():
        torch.testing.assert_close(after.adapter[name].delta(), one.delta())


def test_kohyas_file_has_its_names_one_alpha_and_what_programs_look_for():
    assert export("x.safetensors", "--to", "kohya", "-o", "k.safetensors") == 0
    tensors, header = load_file("k.safetensors"), metadata("k.safetensors")
    conv = "lora_unet_down_blocks_1_resnets_0_conv2"
    assert tensors[f"{KOHYA}.lora_down.weight"].shape == (2, 2048)
    assert tensors[f"{conv}.lora_down.weight"].shape == (1, 640, 3, 3)
    assert tensors[f"{conv}.lora_up.weight"].shape == (640, 1, 1, 1)
    assert {float(tensors[k]) for k in tensors if k.endswith(".alpha")} == {2.0}
    wanted = {
        "ss_network_module": "networks.lora", "ss_network_dim": "2", "ss_network_alpha": "2",
        "ss_base_model_version": "sdxl_base_v1-0", "ss_v2": "False",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.prediction_type": "epsilon", "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": "count", "modelspec.resolution": "1024x1024",
        "modelspec.implementation": "diffusers",
    }  # fmt: skip
    assert {key: header.get(key) for key in wanted} == wanted
    assert json.loads(header["ss_network_args"]) == {"conv_dim": "1", "conv_alpha": "2"}
    assert "date" not in "".join(header) and str(Path.cwd()) not in str(header)


def test_diffusers_own_converter_gives_the_same_tensors():
    """It knows no alpha but the rank, and names SD1's text encoder as SDXL's first."""
    from diffusers.utils import convert_state_dict_to_kohya

    adapter = {
        name: random_factors(seed, *shape[:2], 2)
        for seed, (name, shape) in enumerate(layers_of("sd1").items())
        if "attn" in name and len(shape) == 2 and ("blocks.1." in name or "layers.1." in name)
    }
    write_adapter(Path("x.safetensors"), adapter, {})
    assert export("x.safetensors", "--to", "kohya", "-o", "k.safetensors") == 0
    converted = convert_state_dict_to_kohya(load_file("x.safetensors"))
    wanted = {name.replace("lora_te1_", "lora_te_"): one for name, one in converted.items()}
    found = load_file("k.safetensors")
    assert set(found) == set(wanted) and len(found) > 100
    for name, tensor in found.items():
        assert torch.equal(tensor.float(), wanted[name].float())


def test_sgms_names_are_written_if_asked_for():
    assert export("x.safetensors", "--to", "kohya", "--names", "sgm", "-o", "k.safetensors") == 0
    assert f"{SGM}.lora_up.weight" in load_file("k.safetensors")
    assert set(read_file(Path("k.safetensors")).adapter) == set(
        read_file(Path("x.safetensors")).adapter
    )


def test_the_dtype_is_the_files_or_the_one_asked_for():
    assert export("half.safetensors", "--to", "kohya", "-o", "k.safetensors") == 0
    assert load_file("k.safetensors")[f"{KOHYA}.lora_up.weight"].dtype == torch.float16
    assert (
        export("x.safetensors", "--to", "kohya", "--dtype", "bfloat16", "-o", "b.safetensors") == 0
    )
    tensors = load_file("b.safetensors")
    assert tensors[f"{KOHYA}.lora_up.weight"].dtype == torch.bfloat16
    assert tensors[f"{KOHYA}.alpha"].dtype == torch.float32


def test_half_precision_keeps_a_small_rank_beside_a_large_one():
    """What a rank of 1 lacks beside alpha 128 is shared by both factors, so none becomes tiny."""
    small = LoraFactors(torch.full((1, 8), 1e-3), torch.full((8, 1), 1e-3))
    large = random_factors(0, 128, 128, 128)
    attention = LAYER.removesuffix("attn2.to_k")
    adapter = {attention + "attn1.to_q": small, **{
        f"{attention}attn2.{name}": large for name in ("to_q", "to_out.0")
    }}  # fmt: skip
    write_adapter(Path("m.safetensors"), adapter, {})
    assert (
        export("m.safetensors", "--to", "kohya", "--dtype", "float16", "-o", "k.safetensors") == 0
    )
    found = read_file(Path("k.safetensors")).adapter[attention + "attn1.to_q"].delta()
    torch.testing.assert_close(found, small.delta(), rtol=2e-3, atol=0)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--to", "webui", "-o", "y.safetensors"), "unknown layout 'webui'"),
        (("--to", "kohya", "-o", "y.safetensors", "--dtype", "int8"), "unknown dtype 'int8'"),
        (("--to", "kohya", "-o", "y.safetensors", "--names", "ldm"), "unknown names 'ldm'"),
        (("--to", "diffusers", "-o", "y.safetensors", "--names", "sgm"), "use --to kohya"),
        (("--to", "kohya", "-o", "x.safetensors"), "is an input of this export"),
        (("--to", "kohya", "-o", "y.ckpt"), "expected the name of a .safetensors file"),
        (("--to", "peft", "-o", "y.safetensors"), "expected the name of a folder"),
        (("--to", "peft", "-o", "notes"), "is there and holds no adapter"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(capsys, folder, arguments, problem):
    (folder / "notes").mkdir()
    (folder / "notes/mine.txt").write_text("mine")
    assert problem in refused(capsys, "x.safetensors", *arguments)


def test_sgms_names_are_refused_to_another_base(capsys):
    write_adapter(Path("x.safetensors"), {LAYER: random_factors(0, 640, 768, 2)}, {})
    said = refused(
        capsys, "x.safetensors", "--to", "kohya", "--names", "sgm", "-o", "y.safetensors"
    )
    assert "is of no Stable Diffusion XL" in said


def test_an_adapter_that_changes_nothing_is_refused(capsys):
    still = LoraFactors(torch.tensor([[1.0, 0.0]]), torch.zeros(3, 1))
    crossed = LoraFactors(torch.zeros(1, 2), torch.ones(3, 1))
    write_adapter(Path("still.safetensors"), {LAYER: still, LAYER + "2": crossed}, {})
    said = refused(capsys, "still.safetensors", "--to", "diffusers", "-o", "y.safetensors")
    assert "still.safetensors: changes nothing" in said


def test_numbers_that_the_dtype_does_not_hold_are_refused(capsys):
    large = LoraFactors(torch.full((1, 2048), 1e5), torch.full((640, 1), 1e5))
    write_adapter(Path("large.safetensors"), {LAYER: large}, {})
    said = refused(
        capsys, "large.safetensors", "--to", "kohya", "--dtype", "float16", "-o", "y.safetensors"
    )
    assert "too large for float16" in said


def test_a_layer_that_kohya_has_no_name_for_is_refused(capsys):
    write_adapter(Path("o.safetensors"), {"unet.other.to_q": random_factors(0, 4, 3, 1)}, {})
    said = refused(capsys, "o.safetensors", "--to", "kohya", "-o", "y.safetensors")
    assert "unet.other.to_q: no layer of a Stable Diffusion" in said


def test_a_folder_is_an_input_too_and_is_written_over_as_an_adapter(capsys):
    assert export("x.safetensors", "--to", "peft", "-o", "lora") == 0
    assert export("x.safetensors", "--to", "peft", "-o", "lora") == 0
    assert export("lora", "--to", "kohya", "-o", "k.safetensors") == 0
    capsys.readouterr()
    said = refused(capsys, "lora", "--to", "kohya", "-o", "lora/adapter_model.safetensors")
    assert "is an input of this export" in said
    assert "is an input" in refused(capsys, "lora", "--to", "peft", "-o", "lora")


def test_a_folder_of_other_networks_is_replaced_whole():
    text = "text_encoder.text_model.encoder.layers.0.mlp.fc1"
    write_adapter(Path("t.safetensors"), {
        LAYER: random_factors(5, 640, 2048, 1), text: random_factors(6, 3072, 768, 1),
    }, {})  # fmt: skip
    for source in ("x.safetensors", "t.safetensors", "x.safetensors"):
        assert export(source, "--to", "peft", "-o", "lora") == 0
        wanted = read_file(Path(source)).adapter
        found = read_file(Path("lora")).adapter
        assert set(found) == set(wanted)
        torch.testing.assert_close(found[LAYER].delta(), wanted[LAYER].delta())


def test_no_folder_is_left_if_a_later_network_cannot_be_written(capsys):
    write_adapter(Path("t.safetensors"), {
        "text_encoder.text_model.encoder.layers.0.mlp.fc1": random_factors(6, 3072, 768, 1),
        LAYER: LoraFactors(torch.full((1, 2048), 1e5), torch.full((640, 1), 1e5)),
    }, {})  # fmt: skip
    refused(capsys, "t.safetensors", "--to", "peft", "--dtype", "float16", "-o", "lora")
    assert not Path("lora").exists()


def test_one_adapter_in_three_layouts_merges_to_itself(capsys):
    assert export("x.safetensors", "--to", "kohya", "-o", "k.safetensors") == 0
    assert export("x.safetensors", "--to", "peft", "-o", "lora") == 0
    files = ["x.safetensors", "k.safetensors", "lora"]
    assert main(["merge", *files, "-o", "m.safetensors"]) == 0
    wanted, found = (read_file(Path(f"{name}.safetensors")).adapter for name in "xm")
    assert set(found) == set(wanted)
    for name, one in wanted.items():
        torch.testing.assert_close(found[name].delta(), one.delta(), rtol=1e-5, atol=1e-4)
