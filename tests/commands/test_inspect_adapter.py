"""`selma inspect` on adapters whose norms are known by hand."""

import json

import pytest
import torch
from safetensors.torch import save_file

from selma.adapters.factors import LoraFactors
from selma.adapters.files import write_adapter
from selma.adapters.formats.writing import write_peft
from selma.adapters.routers import Router, by_layer, write_router
from selma.commands.cli import main


@pytest.fixture
def path(tmp_path):
    """Updates of norm 5 and 12 in one block, 0 in the middle: 13 in all."""
    path = tmp_path / "x.safetensors"
    zero = torch.zeros(4, 2)
    adapter = {
        "unet.down_blocks.0.attentions.0.to_q": LoraFactors(
            torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0], [0.0]])
        ),
        "unet.down_blocks.0.attentions.1.to_q": LoraFactors(
            torch.tensor([[12.0, 0.0], [0.0, 0.0]]), torch.eye(2)
        ),
        "unet.mid_block.attentions.0.to_k": LoraFactors(torch.ones(2, 3), zero),
    }
    write_adapter(path, adapter, {"name": "count", "seed": 7, "base": "models/pocket/base"})
    return path


def test_layers_ranks_norms_and_origin_are_told(path, capsys):
    assert main(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    head, *rest = said.splitlines()
    assert "3 layers" in head and "norm 13" in head and "alpha ÷ rank 1," in head
    assert "name: count" in rest and "seed: 7" in rest and "base: models/pocket/base" in rest
    down = next(line for line in rest if line.startswith("unet.down_blocks.0"))
    assert down.split() == ["unet.down_blocks.0", "2", "1", "to", "2", "13", "█" * 24]
    middle = next(line for line in rest if line.startswith("unet.mid_block"))
    assert middle.split() == ["unet.mid_block", "1", "2", "0"]
    assert "1 of 3 layers have no effect: unet.mid_block.attentions.0.to_k" in said


def test_json_has_all_of_it(path, capsys):
    assert main(["inspect", "--json", str(path)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["norm"] == pytest.approx(13)
    assert [block["name"] for block in facts["blocks"]] == ["unet.down_blocks.0", "unet.mid_block"]
    assert facts["numbers"] == (2 + 2) + (4 + 4) + (6 + 8)
    assert facts["size"] == path.stat().st_size
    assert facts["without_effect"] == ["unet.mid_block.attentions.0.to_k"]


def test_what_a_merge_is_made_of_is_told(path, tmp_path, capsys):
    out = tmp_path / "m.safetensors"
    assert main(["merge", str(path), "-o", str(out), "--scale", "2"]) == 0
    capsys.readouterr()
    assert main(["inspect", str(out)]) == 0
    said = capsys.readouterr().out
    assert "merged by delta_mean, scale 2: x 1" in said and "norm 26" in said


def test_a_router_is_said_to_be_one(tmp_path, capsys):
    experts = {
        name: {"unet.mid_block.to_k": LoraFactors(torch.ones(2, 3), torch.ones(4, 2))}
        for name in ("common", "count")
    }
    gates = {"unet.mid_block.to_k": torch.tensor([[3.0, 0.0, 0.0], [0.0, 4.0, 0.0]])}
    path = tmp_path / "moe.safetensors"
    made = {"name": "moe", "seed": 3}
    write_router(path, Router(list(experts), by_layer(experts), gates, 2, made))
    assert main(["inspect", str(path)]) == 0
    head, experts, *rest = capsys.readouterr().out.splitlines()
    assert "a router (MoE-LoRA), 1 layers, 34 numbers" in head and "norm of its gates 5" in head
    assert experts == "experts: common, count; 2 for each token"
    assert rest == ["name: moe", "seed: 3"]
    assert main(["inspect", "--json", str(path)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["experts"], facts["gate_norm"]) == (["common", "count"], 5.0)


def test_weights_of_blocks_are_told(path, tmp_path, capsys):
    out, weights = tmp_path / "m.safetensors", tmp_path / "w.yaml"
    weights.write_text("x: {all: 1.0, unet.mid_block: 0.5}")
    assert main(["merge", str(path), "-o", str(out), "--weights", str(weights)]) == 0
    capsys.readouterr()
    assert main(["inspect", str(out)]) == 0
    assert "scale 1: x (all 1, unet.mid_block 0.5)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "record",
    [
        {}, "ties", None, 3, {"method": "ties", "scale": 1.0},
        {"method": "ties", "scale": 1.0, "weights": {"x": "half"}},
        {"method": "ties", "scale": 1.0, "weights": ["x"]},
        {"method": "ties", "scale": None, "weights": {"x": 1.0}},
        {"method": "ties", "scale": 10**400, "weights": {"x": {"all": None}}},
    ],
)  # fmt: skip
def test_a_merge_record_of_other_programs_is_said_not_to_be_understood(tmp_path, capsys, record):
    factors = {"unet.mid_block.to_k": LoraFactors(torch.ones(2, 3), torch.ones(4, 2))}
    write_adapter(tmp_path / "x.safetensors", factors, {"merge": record})
    assert main(["inspect", str(tmp_path / "x.safetensors")]) == 0
    said = capsys.readouterr()
    assert "\nmerge record: not understood\n" in said.out and said.err == ""


@pytest.mark.parametrize("networks", [("unet",), ("text_encoder", "unet")])
def test_a_folder_is_described_as_its_networks_and_the_bytes_of_their_weights(
    tmp_path, capsys, networks
):
    layers = {
        "unet": "mid_block.attentions.0.transformer_blocks.0.attn1.to_q",
        "text_encoder": "text_model.encoder.layers.0.mlp.fc1",
    }
    write_peft(tmp_path / "x", {
        f"{name}.{layers[name]}": LoraFactors(torch.tensor([[3.0, 4.0]]), torch.ones(1, 1))
        for name in networks
    }, {"name": "count"})  # fmt: skip
    assert main(["inspect", str(tmp_path / "x")]) == 0
    said = capsys.readouterr().out
    assert "layout: PEFT folder; float32" in said and "\nname: count\n" in said
    assert f"changes: {', '.join(f'{name} 1 layers' for name in networks)};" in said
    assert main(["inspect", "--json", str(tmp_path / "x")]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["norm"] == pytest.approx(5 * len(networks) ** 0.5)
    sizes = [file.stat().st_size for file in (tmp_path / "x").rglob("*.safetensors")]
    assert len(sizes) == len(networks) and facts["size"] == sum(sizes)


def test_a_file_that_is_no_adapter_is_one_line(tmp_path, capsys):
    (tmp_path / "x.safetensors").write_text("no")
    assert main(["inspect", str(tmp_path / "x.safetensors")]) == 2
    assert main(["inspect", str(tmp_path / "y.safetensors")]) == 3
    assert capsys.readouterr().err.count("selma: error: ") == 2


ATTENTION = "down_blocks_1_attentions_0_transformer_blocks_0_attn2"


def test_a_file_of_kohya_is_described_with_its_base_and_what_looks_wrong(tmp_path, capsys):
    path = tmp_path / "k.safetensors"
    tensors = {}
    for name, alpha, size in (("to_k", 1.0, 1.0), ("to_v", 2.0, 1.0), ("to_q", 1.0, 50.0)):
        inside = 640 if name == "to_q" else 2048
        layer = f"lora_unet_{ATTENTION}_{name}"
        tensors[f"{layer}.lora_down.weight"] = torch.ones(1, inside).half() / inside**0.5
        tensors[f"{layer}.lora_up.weight"] = size * torch.ones(640, 1).half()
        tensors[f"{layer}.alpha"] = torch.tensor(alpha)
    tensors["lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"] = torch.ones(1, 768)
    tensors["lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight"] = torch.ones(3072, 1)
    save_file(tensors, path)
    assert main(["inspect", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "layout: kohya; float32" in lines
    assert "changes: text_encoder 1 layers, unet 3 layers; 0 convolutions" in lines
    assert "made for: sdxl" in lines
    warnings = "\n".join(line for line in lines if line.startswith("warning: "))
    assert "no alpha in tensors or metadata" in warnings
    assert "alphas from 1 to 2: stock diffusers loses" in warnings


def test_a_layer_whose_norm_stands_out_is_named(tmp_path, capsys):
    path = tmp_path / "x.safetensors"
    one = LoraFactors(torch.ones(1, 1), torch.ones(1, 1))
    adapter = {f"unet.a.{number}": one for number in range(4)}
    write_adapter(path, {**adapter, "unet.b.0": LoraFactors(11 * one.lora_a, one.lora_b)}, {})
    assert main(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    assert "warning: 1 layers have more than 10 times the median norm 1: unet.b.0" in said
    assert "made for: none of Stable Diffusion" in said


def test_a_peft_folder_is_described_too(path, tmp_path, capsys):
    folder = tmp_path / "unet"
    assert main(["export", str(path), "--to", "peft", "-o", str(folder)]) == 0
    capsys.readouterr()
    assert main(["inspect", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "layout: PEFT folder; float32" in said and "name: count" in said
