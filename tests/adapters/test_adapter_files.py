import hashlib
import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from selma.adapters.factors import LoraFactors
from selma.adapters.files import factors_of, read_adapter, read_provenance, write_adapter
from selma.core.errors import AdapterMismatchError, MissingDataError, RecordError

PROVENANCE = {"name": "count", "seed": 3, "lora": {"rank": 2}}


def layer(seed, out, inside, rank, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(rank, inside, generator=generator)
    return LoraFactors(a, torch.randn(out, rank, generator=generator), scale)


def adapter():
    return {"unet.a.to_q": layer(0, 4, 6, 2), "unet.a.to_out.0": layer(1, 6, 4, 3, scale=0.5)}


def test_what_is_written_is_read_back_with_the_scale_in_b(tmp_path):
    path = tmp_path / "x.safetensors"
    write_adapter(path, adapter(), PROVENANCE)
    found = read_adapter(path)
    assert sorted(found) == ["unet.a.to_out.0", "unet.a.to_q"]
    for name, factors in adapter().items():
        assert found[name].scale == 1
        torch.testing.assert_close(found[name].delta(), factors.delta())
    assert read_provenance(path) == {"format": 1, **PROVENANCE}


def test_the_bytes_depend_on_the_content_alone(tmp_path):
    write_adapter(tmp_path / "x", adapter(), PROVENANCE)
    backwards = dict(reversed(adapter().items()))
    write_adapter(tmp_path / "y", backwards, dict(reversed(PROVENANCE.items())))
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_the_header_has_diffusers_metadata_and_what_other_programs_read(tmp_path):
    from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY

    path = tmp_path / "x.safetensors"
    write_adapter(path, adapter(), PROVENANCE)
    with safe_open(path, framework="pt") as handle:
        metadata = handle.metadata()
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8:end]), data[end:]
    assert list(header) == sorted(header)
    assert list(header["__metadata__"]) == sorted(metadata)
    assert set(metadata) - {LORA_ADAPTER_METADATA_KEY} == {
        "format", "modelspec.hash_sha256", "modelspec.implementation",
        "modelspec.sai_model_spec", "modelspec.title",
    }  # fmt: skip
    assert metadata["modelspec.title"] == "count"
    assert metadata["modelspec.hash_sha256"] == f"0x{hashlib.sha256(body).hexdigest()}"


WRITE = """
import sys
from pathlib import Path
import torch
from selma.adapters.factors import LoraFactors
from selma.adapters.formats.writing import write_diffusers, write_kohya, write_peft
name = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
adapter = {name: LoraFactors(torch.arange(6.0).view(2, 3), torch.ones(4, 2), 0.5)}
out = Path(sys.argv[1])
write_diffusers(out / "d.safetensors", adapter, {"name": "count"})
write_kohya(out / "k.safetensors", adapter, {"name": "count"})
write_peft(out / "peft", adapter, {"name": "count"})
"""


def test_every_process_writes_the_same_bytes(tmp_path):
    """The writer of safetensors puts several metadata keys in the order of a random hash."""
    for run in "123":
        (tmp_path / run).mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": run, "PYTHONPATH": os.getcwd()}
        subprocess.run(
            [sys.executable, "-c", WRITE, str(tmp_path / run)], check=True, env=environment
        )
    for name in ("d.safetensors", "k.safetensors", "peft/adapter_model.safetensors"):
        assert len({(tmp_path / run / name).read_bytes() for run in "123"}) == 1


def test_a_missing_file_says_how_to_get_it(tmp_path):
    with pytest.raises(MissingDataError, match="dvc pull"):
        read_adapter(tmp_path / "x.safetensors")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_file_cut_short_is_refused_in_one_line_that_names_it(tmp_path, share):
    path = tmp_path / "count.safetensors"
    write_adapter(path, adapter(), PROVENANCE)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(RecordError, match=r"count\.safetensors") as caught:
        read_adapter(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"unet.a.lora_A.weight": torch.ones(2, 3)}, r"a: lora_B\.weight is missing"),
        ({"unet.a.lora_B.weight": torch.ones(3, 2)}, r"a: lora_A\.weight is missing"),
        ({"vae.a.lora_A.weight": torch.ones(2, 3)}, "not a LoRA factor of Stable Diffusion"),
        ({}, "holds no LoRA factors"),
        (
            {"unet.a.lora_A.weight": torch.ones(2, 3), "unet.a.lora_B.weight": torch.ones(3, 4)},
            r"a: .*\(2, 3\).*\(3, 4\)",
        ),
    ],
)
def test_keys_that_are_no_pair_of_factors_are_refused(tmp_path, tensors, message):
    path = tmp_path / "x.safetensors"
    save_file(tensors, path)
    with pytest.raises(AdapterMismatchError, match=message):
        read_adapter(path)


PAIR = {"unet.a.lora_A.weight": torch.ones(4, 3), "unet.a.lora_B.weight": torch.ones(3, 4)}


@pytest.mark.parametrize(
    ("extra", "header", "scale"),
    [
        ({}, {}, 1.0),
        ({}, {"unet.r": 4, "unet.lora_alpha": 8}, 2.0),
        ({}, {"unet.r": 4, "unet.lora_alpha": 8, "unet.use_rslora": True}, 4.0),
        ({}, {"unet.r": 4, "unet.lora_alpha": 8, "unet.alpha_pattern": {"a": 2}}, 0.5),
        ({"unet.a.alpha": torch.tensor(1.0)}, {}, 0.25),
    ],
)
def test_the_scale_of_other_peoples_adapters_is_alpha_over_rank(tmp_path, extra, header, scale):
    path = tmp_path / "x.safetensors"
    metadata = {"lora_adapter_metadata": json.dumps(header)} if header else None
    save_file({**PAIR, **extra}, path, metadata=metadata)
    assert read_adapter(path)["unet.a"].scale == scale


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_an_alpha_may_be_an_integer(tmp_path, dtype):
    save_file({**PAIR, "unet.a.alpha": torch.tensor(2, dtype=dtype)}, tmp_path / "x.safetensors")
    assert read_adapter(tmp_path / "x.safetensors")["unet.a"].scale == 2 / 4


def test_what_diffusers_converts_to_kohya_is_read_and_means_alpha_is_the_rank(tmp_path):
    from diffusers.utils import convert_state_dict_to_kohya

    name = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    updates = {name: layer(0, 8, 8, 4), name.replace("to_q", "to_out.0"): layer(1, 8, 8, 2)}
    write_adapter(tmp_path / "x.safetensors", updates, {})
    converted = convert_state_dict_to_kohya(load_file(tmp_path / "x.safetensors"))
    assert {one.dtype for key, one in converted.items() if key.endswith(".alpha")} == {torch.int64}
    save_file(converted, tmp_path / "k.safetensors")
    found = read_adapter(tmp_path / "k.safetensors")
    assert set(found) == set(updates)
    for key, one in updates.items():
        assert found[key].scale == 1
        torch.testing.assert_close(found[key].delta(), one.delta(), rtol=0, atol=0)


def test_tensors_are_paired_up_by_module():
    pairs = factors_of(
        {"b.lora_A.weight": torch.ones(2, 3), "b.lora_B.weight": torch.ones(5, 2)}, "unet"
    )
    assert pairs["unet.b"].shape == (5, 3)


def build_unet():
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=6,
        attention_head_dim=2,
        norm_num_groups=4,
    ).eval()


def adapter_of(unet):
    """Give an adapter whose ranks differ from layer to layer."""
    modules = [
        (name, module)
        for name, module in unet.named_modules()
        if name.endswith(("to_q", "to_k", "to_v", "to_out.0"))
    ]
    return {
        f"unet.{name}": layer(seed, module.out_features, module.in_features, 1 + seed % 4)
        for seed, (name, module) in enumerate(modules)
    }


def forward(unet):
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, 4, 4, generator=generator).double()
    text = torch.randn(2, 5, 6, generator=generator).double()
    unet.double()  # so that the order of float32 sums does not blur the comparison
    with torch.no_grad():
        return unet(latents, torch.tensor([10, 900]), encoder_hidden_states=text).sample


@pytest.mark.parametrize("metadata", [True, False], ids=["with-metadata", "tensors-alone"])
def test_stock_diffusers_loads_mixed_ranks_and_computes_the_dense_update(tmp_path, metadata):
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    dense, unet = build_unet(), build_unet()
    updates = adapter_of(dense)
    write_adapter(tmp_path / "x.safetensors", updates, PROVENANCE)
    if not metadata:
        save_file(load_file(tmp_path / "x.safetensors"), tmp_path / "x.safetensors")
    before = forward(dense)
    with torch.no_grad():
        for name, factors in updates.items():
            dense.get_submodule(name.removeprefix("unet.")).weight += factors.delta()
    pipeline = StableDiffusionPipeline(
        vae=None,
        text_encoder=None,
        tokenizer=None,
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.load_lora_weights(str(tmp_path), weight_name="x.safetensors")
    torch.testing.assert_close(forward(pipeline.unet), forward(dense), rtol=0, atol=1e-5)
    assert (forward(dense) - before).abs().max() > 1e-3
