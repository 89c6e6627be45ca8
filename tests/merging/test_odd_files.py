"""`selma merge` on files that are no adapter, or one with a flaw: one line, nothing written."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from selma.commands.cli import main

A, B = "unet.a.lora_A.weight", "unet.a.lora_B.weight"
GOOD = {A: torch.ones(2, 3), B: torch.ones(4, 2)}
NAN, INF = float("nan"), float("inf")


MIDDLE = "mid_block.attentions.0.proj_in"
FLAT = MIDDLE.replace(".", "_")


def pair(layer, down="lora_down", up="lora_up"):
    return {f"{layer}.{down}.weight": torch.ones(2, 3), f"{layer}.{up}.weight": torch.ones(4, 2)}


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
    "alpha true": ({**GOOD, "unet.a.alpha": torch.tensor(True)}, "alpha is of type torch.bool"),
    "complex alpha": ({**GOOD, "unet.a.alpha": torch.tensor(4j)}, "alpha is of type"),
    "int64": ({**GOOD, B: torch.ones(4, 2, dtype=torch.int64)}, "of type torch.int64"),
    "half a pair": ({A: GOOD[A]}, "lora_B.weight is missing"),
    "alpha alone": ({**GOOD, "text_encoder.a.alpha": torch.ones(1)}, "lora_A.weight is missing"),
    "a kernel in B": ({A: torch.ones(2, 3, 3, 3), B: torch.ones(4, 2, 3, 3)}, "do not fit"),
    "a kernel and a matrix": ({A: torch.ones(2, 3, 3, 3), B: torch.ones(4, 2)}, "do not fit"),
    "five axes": ({A: torch.ones(2, 3, 1, 1, 1), B: torch.ones(4, 2, 1, 1, 1)}, "do not fit"),
    "too large": ({**GOOD, A: torch.ones(2, 3).double() * 1e300}, "lora_A.weight is not finite"),
    "complex": ({**GOOD, A: torch.ones(2, 3, dtype=torch.complex64)}, "of type torch.complex64"),
    "of no layer of a U-Net": (pair("lora_unet_a"), "lora_unet_a.lora_down.weight: not a LoRA"),
    "of no component": (pair("vae.a", "lora_A", "lora_B"), "vae.a.lora_A.weight: not a LoRA"),
    "of a third encoder": (pair("text_encoder_3.a", "lora_A", "lora_B"), "not a LoRA factor"),
    "a weight beside": ({**GOOD, "unet.a.weight": torch.ones(3)}, "unet.a.weight: not a LoRA"),
    "an optimiser's": ({**GOOD, "step": torch.ones(1)}, "step: not a LoRA factor"),
    "twice, in two layouts": (
        {**pair(f"unet.{MIDDLE}", "lora_A", "lora_B"), **pair(f"lora_unet_{FLAT}")},
        "is named twice",
    ),
    "twice, in two namings": (
        {**pair("lora_unet_middle_block_1_proj_in"), **pair(f"lora_unet_{FLAT}")},
        "is named twice, by lora_unet_mid",
    ),
    "empty": ({}, "holds no LoRA factors"),
}
OTHER_KINDS = {  # a key and what it is
    "lora_unet_a.dora_scale": "DoRA", "unet.a.lora_magnitude_vector": "DoRA",
    "lora_unet_a.hada_w1_a": "LoHa", "lora_unet_a.lokr_w1": "LoKr",
    "lora_unet_a.lora_mid.weight": "Tucker", "lora_unet_a.diff": "full difference",
    "lora_unet_a.diff_b": "full difference", "unet.a.set_weight": "full difference",
    "lora_unet_a.w_norm": "normalisation", "lora_unet_a.oft_blocks": "OFT",
    "lora_unet_a.on_input": "(IA)³", "lora_unet_a.a1.weight": "GLoRA",
    "unet.a.lora_B.bias": "a bias", "lora_unet_a.lora_up.bias": "a bias",
    "bundle_emb.x.string_to_param.*": "an embedding", "emb_params": "an embedding",
    "clip_g": "an embedding", "unet.a.modules_to_save.weight": "trained in full",
    "unet.a.processor.to_k_custom_diffusion.weight": "Custom Diffusion",
    "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": "Flux",
    "lora_unet_a.scalar": "LyCORIS", "unet.a.vera_lambda_b": "VeRA",
    "text_encoder.a.lora_embedding_A": "an embedding",
}  # fmt: skip
METADATA = {
    "no JSON": "{", "a list": "[]", "a number": "3",
    "alpha in words": {"unet.lora_alpha": "eight"}, "alpha null": {"unet.lora_alpha": None},
    "alpha true": {"unet.lora_alpha": True}, "alpha infinite": {"unet.lora_alpha": INF},
    "patterns in a list": {"unet.alpha_pattern": [1]},
    "a pattern that is none": {"unet.alpha_pattern": {"(": 2}},
    "a pattern without a number": {"unet.alpha_pattern": {"a": "x"}},
    "DoRA": {"unet.use_dora": True}, "of another kind": {"unet.peft_type": "LOHA"},
    "of a changed base": {"unet.init_lora_weights": "pissa"},
    "with a bias": {"text_encoder.lora_bias": True}, "with biases": {"unet.bias": "all"},
    "with whole modules": {"unet.modules_to_save": ["conv_out"]},
    "an unknown option": {"unet.new_maths": 1}, "a record in a list": {"selma": [1]},
    "NaN in a record": {"selma": {"seed": NAN}}, "a record too large": '{"selma": {"seed": 1e999}}',
    "an alpha too large": {"unet.lora_alpha": 10**400}, "too deep": "[" * 10**5,
}  # fmt: skip
HEADER = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'


def framed(header, data=b"\0" * 8, length=None):
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


BYTES = {
    "of no bytes": b"", "of seven bytes": b"\1" * 7, "a text": b"# notes\n" * 9,
    "a header longer than the file": framed(HEADER, length=10**6),
    "a header of 16 EiB": framed(HEADER, length=2**63), "a header cut short": framed(HEADER[:-9]),
    "a header that is a list": framed(b"[1]"), "numbers missing": framed(HEADER, b"\0" * 7),
    "numbers too many": framed(HEADER, b"\0" * 9),
    "places that overlap": framed(HEADER[:-1] + b',"b":' + HEADER[5:]),
    "a place that does not fit its shape": framed(HEADER.replace(b"[2]", b"[3]")),
    "an unknown type": framed(HEADER.replace(b"F32", b"F33")),
    "a negative place": framed(HEADER.replace(b"[0,", b"[-1,")),
    "metadata that are no text": framed(HEADER.replace(b'{"a"', b'{"__metadata__":{"x":1},"a"')),
    "a zip, as a pickle is": b"PK\3\4" + b"\0" * 60,
}  # fmt: skip
CONFIGS = {
    "no JSON": "{", "a list": "[]", "of (IA)³": '{"peft_type": "IA3"}',
    "DoRA": '{"peft_type": "LORA", "use_dora": true}', "alpha in words": '{"lora_alpha": "two"}',
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file(GOOD, "good.safetensors")
    return tmp_path


def refused(capsys, *arguments):
    """The one line that a merge is refused with; it leaves the folder as it was."""
    before = held()
    code = main(["merge", *arguments])
    said = capsys.readouterr()
    assert code in (2, 3) and said.out == ""
    assert said.err.startswith("selma: error: ") and said.err.count("\n") == 1
    assert held() == before
    return said.err


def held():
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


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


@pytest.mark.parametrize("key", OTHER_KINDS)
def test_what_is_no_lora_is_refused_and_called_by_its_name(capsys, key):
    save_file({**GOOD, key: torch.ones(2)}, "odd.safetensors")
    said = refused(capsys, "good.safetensors", "odd.safetensors", "-o", "m.safetensors")
    assert f"odd.safetensors: {key}: is " in said and OTHER_KINDS[key] in said


@pytest.mark.parametrize("name", BYTES)
def test_a_file_that_is_no_safetensors_is_refused_by_name(capsys, folder, name):
    (folder / "odd.safetensors").write_bytes(BYTES[name])
    said = refused(capsys, "good.safetensors", "odd.safetensors", "-o", "m.safetensors")
    assert "odd.safetensors: not a whole safetensors file" in said


def test_a_pickle_is_told_apart(capsys, folder):
    (folder / "odd.ckpt").write_bytes(BYTES["a zip, as a pickle is"])
    said = refused(capsys, "good.safetensors", "odd.ckpt", "-o", "m.safetensors")
    assert "convert it to safetensors" in said


@pytest.mark.parametrize("name", CONFIGS)
def test_a_folder_whose_config_is_odd_is_refused_by_name(capsys, folder, name):
    (folder / "odd").mkdir()
    (folder / "odd/adapter_config.json").write_text(CONFIGS[name])
    save_file({f"base_model.model.{MIDDLE}.{n[7:]}": t for n, t in GOOD.items()},
              folder / "odd/adapter_model.safetensors")  # fmt: skip
    said = refused(capsys, "good.safetensors", "odd", "-o", "m.safetensors")
    assert "odd/adapter_" in said


def test_a_folder_that_lacks_a_file_or_is_of_no_known_network_is_refused(capsys, folder):
    (folder / "odd").mkdir()
    arguments = ("good.safetensors", "odd", "-o", "m.safetensors")
    assert "odd: a folder without adapter_config.json" in refused(capsys, *arguments)
    (folder / "odd/adapter_config.json").write_text("{}")
    assert "odd/adapter_model.safetensors: no such file" in refused(capsys, *arguments)
    save_file(pair("base_model.model.h.0.attn", "lora_A", "lora_B"),
              folder / "odd/adapter_model.safetensors")  # fmt: skip
    assert "are of no U-Net" in refused(capsys, *arguments)


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


@pytest.mark.parametrize("numbers", [("nan",), ("inf",), ("1e10",), ("0",)])
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
