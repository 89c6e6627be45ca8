"""What a file makes a stock model compute is what our dense updates make it compute."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from stock_pipelines import (
    KINDS,
    adapter_of,
    assert_same_effect,
    components,
    loaded,
    tiny,
    updated,
    with_sgm_blocks,
)

from selma.adapters.files import read_adapter, read_file, write_adapter
from selma.adapters.formats.writing import kohya_tensors, write_kohya, write_peft
from selma.diffusion.loading import add_updates

pytestmark = pytest.mark.filterwarnings(  # peft with transformers 5.23
    "ignore:`is_gradient_checkpointing`:FutureWarning"
)
# all layers with a matrix, convolutions and text encoders too, of mixed ranks and alpha ≠ rank
MIXED = {"ranks": (1, 2, 4), "scales": (1.0, 0.5, 2.5)}


@pytest.fixture(scope="module")
def pipelines():
    return {kind: tiny(kind) for kind in KINDS}


def without_conv(name):
    return "conv" not in name and not name.startswith("unet.add_embedding")


def attention_and_mlp(name):
    return "attn" in name or "mlp" in name


def write_sgm(path, adapter, provenance):
    save_file(kohya_tensors(adapter, sgm=True)[0], path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("write", [write_adapter, write_kohya])
def test_stock_diffusers_computes_with_what_is_written_as_with_the_dense_updates(
    pipelines, tmp_path, kind, write
):
    adapter = adapter_of(pipelines[kind], **MIXED)
    write(tmp_path / "x.safetensors", adapter, {})
    changed = loaded(pipelines[kind], tmp_path / "x.safetensors")
    assert_same_effect(pipelines[kind], changed, adapter)


def test_stock_diffusers_reads_sgms_names_of_sdxl(tmp_path):
    pipeline = with_sgm_blocks("sdxl")
    adapter = adapter_of(pipeline, **MIXED)
    write_sgm(tmp_path / "x.safetensors", adapter, {})
    assert_same_effect(pipeline, loaded(pipeline, tmp_path / "x.safetensors"), adapter)


@pytest.mark.parametrize("write", [write_adapter, write_kohya])
def test_a_text_encoder_whose_mlp_alone_is_changed_loads_too(pipelines, tmp_path, write):
    pipeline = pipelines["sd1"]
    adapter = adapter_of(pipeline, keep=lambda name: "mlp" in name or name.endswith("to_q"))
    write(tmp_path / "x.safetensors", adapter, {})
    assert_same_effect(pipeline, loaded(pipeline, tmp_path / "x.safetensors"), adapter)


@pytest.mark.parametrize("kind", KINDS)
def test_peft_computes_with_a_folder_as_with_the_dense_updates(pipelines, tmp_path, kind):
    import copy

    from peft import PeftModel

    pipeline = pipelines[kind]
    adapter = adapter_of(pipeline, **MIXED)
    write_peft(tmp_path, adapter, {})
    changed = copy.deepcopy(pipeline)
    for name, network in components(pipeline).items():
        model = PeftModel.from_pretrained(copy.deepcopy(network), tmp_path / name)
        setattr(changed, name, model.merge_and_unload())
    assert_same_effect(pipeline, changed, adapter)


def old_names(adapter, processors):
    """Names of diffusers before PEFT, by hand: attention processors, or .lora. beside the layer."""
    for layer, one in adapter.items():
        component, _, module = layer.partition(".")
        place, _, last = module.rpartition(".")
        if "self_attn" in place and processors:
            stem = f"{place}.to_{last.removesuffix('_proj')}_lora"
        elif component != "unet":
            stem = f"{module}.lora_linear_layer"
        elif processors:
            place = module.removesuffix(".to_out.0").rpartition(".")[0] if "to_" in module else ""
            last = "to_out" if module.endswith("to_out.0") else last
            place = module.removesuffix(".to_out.0") if last == "to_out" else place
            stem = f"{place}.processor.{last}_lora"
        else:
            stem = f"{module}.lora"
        yield f"{component}.{stem}.down.weight", one.lora_a
        yield f"{component}.{stem}.up.weight", one.lora_b


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("processors", [False, True], ids=["layers", "processors"])
def test_diffusers_older_layouts_are_read_as_stock_diffusers_reads_them(
    pipelines, tmp_path, kind, processors
):
    keep = {False: attention_and_mlp, True: lambda name: "attn" in name}[processors]
    adapter = adapter_of(pipelines[kind], keep=keep, ranks=(2,))
    path = tmp_path / "x.safetensors"
    save_file(dict(old_names(adapter, processors)), path)
    assert_same_effect(pipelines[kind], loaded(pipelines[kind], path), read_adapter(path))
    assert set(read_adapter(path)) == set(adapter)


@pytest.mark.parametrize("kind", KINDS)
def test_kohyas_alpha_is_read_as_stock_diffusers_reads_it(pipelines, tmp_path, kind):
    adapter = adapter_of(pipelines[kind], ranks=(4,))
    path = tmp_path / "x.safetensors"
    tensors, alpha = kohya_tensors(adapter)
    assert alpha == 4
    other = {k: torch.tensor(1.0) if k.endswith("alpha") else t for k, t in tensors.items()}
    save_file(other, path)
    found = read_adapter(path)
    assert {one.scale for one in found.values()} == {0.25}
    assert_same_effect(pipelines[kind], loaded(pipelines[kind], path), found)


@pytest.mark.parametrize("options", [
    {"lora_alpha": 3}, {"lora_alpha": 3, "use_rslora": True},
    {"lora_alpha": 3, "alpha_pattern": {"unet": {"attn2.to_k": 1}, "text": {"q_proj": 6}}},
])  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_the_metadata_of_others_are_read_as_stock_diffusers_reads_them(
    pipelines, tmp_path, kind, options
):
    pipeline = pipelines[kind]
    adapter = adapter_of(pipeline, keep=attention_and_mlp, ranks=(4,))
    path = tmp_path / "x.safetensors"
    write_adapter(path, adapter, {})

    def patterns(component):
        found = options.get("alpha_pattern", {}).get(component.partition("_")[0])
        return {"alpha_pattern": found} if found else {}

    header = {
        f"{component}.{key}": value
        for component in components(pipeline)
        for key, value in {
            "r": 4, **options, **patterns(component),
            "target_modules": ["to_q", "to_k", "to_v", "to_out.0"] if component == "unet"
            else ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
        }.items()
    }  # fmt: skip
    save_file(load_file(path), path, metadata={"lora_adapter_metadata": json.dumps(header)})
    found = read_adapter(path)
    assert {one.scale for one in found.values()} != {1.0}
    assert_same_effect(pipeline, loaded(pipeline, path), found)


@pytest.mark.parametrize("use_rslora", [False, True])
def test_a_folder_that_peft_wrote_is_read_as_peft_reads_it(pipelines, tmp_path, use_rslora):
    import copy

    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    unet = copy.deepcopy(pipelines["sdxl"].unet)
    config = LoraConfig(
        r=4, lora_alpha=6, target_modules=["to_q", "to_k", "conv1", "ff.net.2"],
        rank_pattern={"attn2.to_k": 2}, alpha_pattern={"conv1": 3}, use_rslora=use_rslora,
        init_lora_weights=False,
    )  # fmt: skip
    model = get_peft_model(unet, config)
    model.save_pretrained(tmp_path / "lora")
    changed = copy.deepcopy(pipelines["sdxl"])
    changed.unet = model.merge_and_unload()
    wanted = dict(changed.unet.named_parameters())
    found = read_file(tmp_path / "lora")
    assert found.layouts == ("PEFT folder",)
    ours = updated(pipelines["sdxl"], found.adapter)
    for name, parameter in ours.unet.named_parameters():
        torch.testing.assert_close(parameter, wanted[name], rtol=0, atol=1e-5)
    assert {one.rank for one in found.adapter.values()} == {2, 4}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("write", [write_adapter, write_kohya, write_peft])
def test_what_is_written_is_read_back(pipelines, tmp_path, kind, write):
    adapter = adapter_of(pipelines[kind], **MIXED)
    path = tmp_path / ("folder" if write is write_peft else "x.safetensors")
    write(path, adapter, {"name": "count"})
    found = read_file(path)
    assert set(found.adapter) == set(adapter) and found.provenance["name"] == "count"
    assert not found.alpha_assumed
    for name, one in adapter.items():
        assert found.adapter[name].weight_shape == one.weight_shape
        torch.testing.assert_close(found.adapter[name].delta(), one.delta(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_updates_of_text_encoders_are_added_to_a_backbone(tmp_path, kind):
    from selma.diffusion.loading import load_backbone
    from selma.diffusion.tiny import write_tiny_backbone

    write_tiny_backbone(kind, tmp_path / "base")
    backbone = load_backbone(str(tmp_path / "base"), "float32", "cpu")
    before = backbone.encode_prompts(["a red cat"])["text"]
    adapter = adapter_of(tiny(kind), keep=lambda name: name.startswith("text_encoder"))
    updates = ((name, one.delta().view(one.weight_shape)) for name, one in adapter.items())
    add_updates(backbone.components, updates, "x")
    after = backbone.encode_prompts(["a red cat"])["text"]
    stock = updated(tiny(kind), adapter)
    wanted = load_backbone(str(tmp_path / "base"), "float32", "cpu")
    for number, encoder in enumerate(wanted.encoders, 1):
        network = getattr(stock, f"text_encoder{'_2' if number == 2 else ''}")
        encoder.model.load_state_dict(network.state_dict())
    torch.testing.assert_close(after, wanted.encode_prompts(["a red cat"])["text"])
    assert (after - before).abs().max() > 0.01


def test_stable_diffusion_3_loads_what_is_written(tmp_path):
    pipeline, path = tiny("sd3"), tmp_path / "x.safetensors"
    adapter = adapter_of(pipeline, keep=attention_and_mlp, **MIXED)
    assert {name.partition(".")[0] for name in adapter} == {
        "transformer", "text_encoder", "text_encoder_2",
    }  # fmt: skip
    write_adapter(path, adapter, {})
    changed = loaded(pipeline, path)
    changed.fuse_lora(components=["transformer", "text_encoder", "text_encoder_2"])
    changed.unload_lora_weights()
    dense = updated(pipeline, adapter)
    for name, network in components(dense).items():
        wanted, found = network.state_dict(), getattr(changed, name).state_dict()
        assert set(found) == set(wanted)
        for key, value in wanted.items():
            torch.testing.assert_close(found[key], value, rtol=0, atol=1e-5)
