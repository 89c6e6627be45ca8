"""`selma merge` on files that are no adapter, or one with a flaw: one line, nothing written."""

import json

import pytest
import torch
from safetensors.torch import save_file

from selma.commands.cli import main

A, B = "unet.a.lora_A.weight", "unet.a.lora_B.weight"
GOOD = {A: torch.ones(2, 3), B: torch.ones(4, 2)}
NAN, INF = float("nan"), float("inf")


def with_value(name, value):
    tensor = GOOD[name].clone()
    tensor[0, 0] = value
    return {**GOOD, name: tensor}


TENSORS = {
    "NaN in A": (with_value(A, NAN), "lora_A.weight is not finite"),
    "NaN in B": (with_value(B, NAN), "lora_B.weight is not finite"),
    "infinite": (with_value(B, -INF), "lora_B.weight is not finite"),
    "NaN in half precision": ({n: t.half() for n, t in with_value(A, NAN).items()}, "not finite"),
    "int8": ({**GOOD, A: torch.ones(2, 3, dtype=torch.int8)}, "of type torch.int8"),
    "bool": ({**GOOD, B: torch.ones(4, 2, dtype=torch.bool)}, "of type torch.bool"),
    "rank 0": ({A: torch.ones(0, 3), B: torch.ones(4, 0)}, "do not fit"),
    "three axes": ({A: torch.ones(2, 3, 1), B: torch.ones(4, 2, 1)}, "do not fit"),
    "one axis": ({A: torch.ones(2), B: torch.ones(4, 2)}, "do not fit"),
    "other ranks": ({**GOOD, A: torch.ones(3, 3)}, "do not fit"),
    "alpha of three": ({**GOOD, "unet.a.alpha": torch.ones(3)}, "alpha has 3 numbers"),
    "alpha of none": ({**GOOD, "unet.a.alpha": torch.ones(0)}, "alpha has 0 numbers"),
    "alpha NaN": ({**GOOD, "unet.a.alpha": torch.tensor(NAN)}, "alpha is not finite"),
    "alpha of integers": ({**GOOD, "unet.a.alpha": torch.tensor(4)}, "alpha is of type"),
    "half a pair": ({A: GOOD[A]}, "lora_B.weight is missing"),
    "of kohya": ({"lora_unet_a.lora_down.weight": torch.ones(2, 3)}, "not a LoRA factor"),
    "of a text encoder": ({**GOOD, "text_encoder.a.alpha": torch.ones(1)}, "not a LoRA factor"),
    "empty": ({}, "holds no LoRA factors"),
}
METADATA = {
    "no JSON": "{", "a list": "[]", "a number": "3",
    "alpha in words": {"unet.lora_alpha": "eight"}, "alpha null": {"unet.lora_alpha": None},
    "alpha true": {"unet.lora_alpha": True}, "alpha infinite": {"unet.lora_alpha": INF},
    "patterns in a list": {"unet.alpha_pattern": [1]},
    "a pattern that is none": {"unet.alpha_pattern": {"(": 2}},
    "a pattern without a number": {"unet.alpha_pattern": {"a": "x"}},
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file(GOOD, "good.safetensors")
    return tmp_path


def refused(capsys, *arguments):
    """The one line that a merge is refused with; it leaves the folder as it was."""
    from pathlib import Path

    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    code = main(["merge", *arguments])
    said = capsys.readouterr()
    assert code in (2, 3) and said.out == ""
    assert said.err.startswith("selma: error: ") and said.err.count("\n") == 1
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before
    return said.err


@pytest.mark.parametrize("name", TENSORS)
def test_a_file_with_a_flaw_is_refused_by_name(capsys, name):
    tensors, problem = TENSORS[name]
    save_file(tensors, "odd.safetensors")
    said = refused(capsys, "good.safetensors", "odd.safetensors", "-o", "m.safetensors")
    assert problem in said and "odd.safetensors" in said


@pytest.mark.parametrize("name", METADATA)
def test_metadata_that_say_nothing_are_refused_by_name(capsys, name):
    text = METADATA[name] if isinstance(METADATA[name], str) else json.dumps(METADATA[name])
    save_file(GOOD, "odd.safetensors", metadata={"lora_adapter_metadata": text})
    said = refused(capsys, "good.safetensors", "odd.safetensors", "-o", "m.safetensors")
    assert "odd.safetensors" in said


@pytest.mark.parametrize("out", ["good.safetensors", "./good.safetensors", "link.safetensors"])
def test_an_input_is_never_written_over(capsys, folder, out):
    (folder / "link.safetensors").symlink_to(folder / "good.safetensors")
    assert "is an input of this merge" in refused(capsys, "good.safetensors", "-o", out)


@pytest.mark.parametrize("out", ["notes.md", "notes", "m.ckpt"])
def test_only_safetensors_are_written(capsys, folder, out):
    (folder / out).write_text("mine")
    assert "expected the name of a .safetensors file" in refused(
        capsys, "good.safetensors", "-o", out
    )


def test_a_file_that_is_no_adapter_is_not_written_over_and_an_adapter_is(capsys, folder):
    save_file({"weight": torch.ones(3)}, "model.safetensors")
    said = refused(capsys, "good.safetensors", "-o", "model.safetensors")
    assert "is there and holds no adapter" in said
    for _ in range(2):
        assert main(["merge", "good.safetensors", "-o", "m.safetensors"]) == 0


@pytest.mark.parametrize("numbers", [("nan",), ("inf",), ("-1",), ("0",)])
def test_weights_that_are_no_weights_are_refused(capsys, numbers):
    said = refused(capsys, "good.safetensors", "-o", "m.safetensors", "--weights", *numbers)
    assert "merge.weights" in said


def test_a_merge_that_is_not_finite_is_not_written(capsys):
    save_file({**GOOD, B: torch.full((4, 2), 3e38)}, "large.safetensors")
    said = refused(capsys, "large.safetensors", "-o", "m.safetensors", "--scale", "100")
    assert "a: the merged update is not finite" in said


@pytest.mark.parametrize("scale", ["nan", "inf", "0"])
def test_scales_that_are_no_scales_are_refused(capsys, scale):
    said = refused(capsys, "good.safetensors", "-o", "m.safetensors", f"--scale={scale}")
    assert "merge.scale" in said
