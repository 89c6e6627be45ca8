"""`selma export`: digits that a type loses, and what a file says of how it was exported."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from selma.adapters.factors import LoraFactors
from selma.adapters.files import read_file, write_adapter
from selma.adapters.measures import distance, norm
from selma.commands.cli import main

LAYER = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
OTHER = LAYER.replace("to_q", "to_k")
KOHYA = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
SOURCE = Path("x.safetensors")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def target(to):
    return Path("out" if to == "peft" else "out.safetensors")


def export(to, *arguments):
    return main(["export", str(SOURCE), "--to", to, "-o", str(target(to)), *arguments])


def random_numbers(seed, rows, columns, size):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator) * size


@pytest.mark.parametrize("to", ["kohya", "diffusers", "peft"])
def test_a_small_alpha_beside_a_high_rank_loses_no_digits(to):
    """sd-scripts' file in half precision: alpha 1 of rank 128, B of a thousandth."""
    down, up = random_numbers(0, 128, 320, 0.05).half(), random_numbers(1, 320, 128, 1e-3).half()
    save_file({
        f"{KOHYA}.lora_down.weight": down, f"{KOHYA}.lora_up.weight": up,
        f"{KOHYA}.alpha": torch.tensor(1.0),
    }, SOURCE)  # fmt: skip
    assert export(to) == 0
    wanted = LoraFactors(down, up, 1 / 128)
    file = read_file(target(to))
    assert file.dtype == torch.float16
    assert distance(wanted, file.adapter[LAYER]) < 1e-4 * norm(wanted)


@pytest.mark.parametrize("to", ["kohya", "diffusers", "peft"])
def test_tiny_numbers_are_kept_by_half_precision(to, capsys):
    given = LoraFactors(random_numbers(0, 4, 320, 0.05), random_numbers(1, 320, 4, 1e-9))
    write_adapter(SOURCE, {LAYER: given}, {})
    assert export(to, "--dtype", "float16") == 0
    found = read_file(target(to)).adapter[LAYER]
    error = distance(given, found) / norm(given)
    assert error < 2e-2
    told = capsys.readouterr().out
    assert told == f"{target(to)}: 1 layers, float16, off by {error:.1e} of the norm\n"


def test_the_error_that_is_told_is_that_of_the_whole_update(capsys):
    """1 + 2⁻¹¹ rounds to 1 in half precision: 3 of it beside 4 · 1 are off by 3/5 of 2⁻¹¹."""
    near = 1 + 2.0**-11
    write_adapter(SOURCE, {
        LAYER: LoraFactors(torch.tensor([[3.0, 0.0]]), torch.full((1, 1), near)),
        OTHER: LoraFactors(torch.tensor([[4.0, 0.0]]), torch.full((1, 1), near - 2.0**-11)),
    }, {})  # fmt: skip
    assert export("diffusers", "--dtype", "float16") == 0
    assert capsys.readouterr().out.endswith(f"off by {0.6 * 2**-11:.1e} of the norm\n")
    assert export("diffusers", "--dtype", "float32") == 0
    assert capsys.readouterr().out == "out.safetensors: 2 layers, float32\n"


@pytest.mark.parametrize("to", ["kohya", "diffusers", "peft"])
def test_what_would_become_zero_is_refused_and_nothing_is_written(to, capsys):
    tiny = LoraFactors(torch.full((1, 4), 1e-12), torch.full((4, 1), 1e-12))
    write_adapter(SOURCE, {LAYER: tiny}, {})
    assert export(to, "--dtype", "float16") == 2
    said = capsys.readouterr()
    assert said.err.startswith("selma: error: x.safetensors: would change nothing in float16")
    assert said.out == "" and said.err.count("\n") == 1 and not target(to).exists()
    assert export(to, "--dtype", "bfloat16") == 0


def test_a_layer_that_becomes_zero_is_named(capsys):
    tiny = LoraFactors(torch.full((1, 4), 1e-12), torch.full((4, 1), 1e-12))
    usual = LoraFactors(torch.ones(1, 4), torch.ones(4, 1))
    write_adapter(SOURCE, {LAYER: tiny, OTHER: usual}, {})
    assert export("diffusers", "--dtype", "float16") == 0
    assert f"warning: 1 layers become zero in float16: {LAYER}\n" in capsys.readouterr().out


def test_half_precision_is_copied_as_it_is():
    """Where no digits are lost the factors keep their sizes, however different these are."""
    down, up = random_numbers(0, 4, 320, 0.02).half(), random_numbers(1, 320, 4, 1e-5).half()
    write_adapter(SOURCE, {LAYER: LoraFactors(down, up)}, {})
    assert export("diffusers") == 0
    tensors = load_file("out.safetensors")
    assert torch.equal(tensors[f"{LAYER}.lora_A.weight"], down)
    assert torch.equal(tensors[f"{LAYER}.lora_B.weight"], up)


@pytest.mark.parametrize("to", ["kohya", "diffusers", "peft"])
def test_an_exported_merge_says_that_it_is_an_export(to):
    write_adapter(SOURCE, {LAYER: LoraFactors(torch.ones(1, 4), torch.ones(4, 1))}, {})
    assert main(["merge", str(SOURCE), "-o", "m.safetensors"]) == 0
    merged = read_file(Path("m.safetensors")).provenance
    arguments = ["--to", to, "--dtype", "float16", "-o", str(target(to))]
    assert main(["export", "m.safetensors", *arguments]) == 0
    exported = {"layout": to, "dtype": "float16"}
    assert read_file(target(to)).provenance == {**merged, "exported": exported}


@pytest.mark.parametrize("odd", [["epsilon"], {"of": "v"}, 3, True, None])
@pytest.mark.parametrize("of", ["the file", "an expert"])
def test_a_prediction_type_that_is_no_text_is_ignored(odd, of):
    made = {"prediction_type": odd}
    own = made if of == "the file" else {"experts": {"x": made}}
    factors = {LAYER: LoraFactors(torch.ones(1, 4), torch.ones(4, 1))}
    tensors = {f"{LAYER}.lora_{part}.weight": getattr(factors[LAYER], f"lora_{part.lower()}")
               for part in "AB"}  # fmt: skip
    save_file(tensors, SOURCE, metadata={"selma": json.dumps(own)})
    assert export("kohya") == 0
    assert "modelspec.prediction_type" not in read_file(target("kohya")).metadata


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_a_provenance_with_numbers_that_are_none_is_refused_in_one_line(number, capsys):
    tensors = {
        f"{LAYER}.lora_A.weight": torch.ones(1, 4),
        f"{LAYER}.lora_B.weight": torch.ones(4, 1),
    }
    save_file(tensors, SOURCE, metadata={"selma": f'{{"seed": {number}}}'})
    assert export("kohya") == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and said.out == "" and not target("kohya").exists()
    assert f"x.safetensors: metadata selma must be a JSON object ({number} is no finite" in said.err
