import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from test_sampling import PROMPTS, SEEDS, draw, largest_difference, load_stock, stock_pictures

from selma.core.errors import AdapterMismatchError, ConfigError, MissingDataError, RecordError
from selma.diffusion.loading import add_updates, load_backbone

LAYER = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
OTHER = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"


@pytest.fixture
def copied(model_directory, tmp_path):
    return shutil.copytree(model_directory, tmp_path / "model")


def load(directory):
    return load_backbone(str(directory), "float32", "cpu")


def adapter(scale=1.0):
    """Two layers' factors: rank 2, strong enough to change the picture."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return {
        LAYER: (torch.randn(2, 16, generator=generator), torch.randn(32, 2, generator=generator)),
        OTHER: (torch.randn(2, 32, generator=generator), torch.randn(32, 2, generator=generator)),
    }


def test_an_adapter_added_to_the_weights_draws_what_stock_diffusers_draws(
    backbone, model_directory, tmp_path
):
    from safetensors.torch import save_file

    before = draw(backbone)
    factors = adapter()
    tensors = {f"{name}.lora_A.weight": a for name, (a, b) in factors.items()}
    tensors |= {f"{name}.lora_B.weight": b for name, (a, b) in factors.items()}
    save_file(tensors, tmp_path / "adapter.safetensors")
    stock = load_stock(model_directory)
    stock.load_lora_weights(tmp_path, weight_name="adapter.safetensors")

    updates = [(name, b.double() @ a.double()) for name, (a, b) in factors.items()]
    add_updates(backbone.components, updates, "adapter.safetensors")
    after = draw(backbone)
    assert largest_difference(after, before) > 5
    assert largest_difference(after, stock_pictures(stock, PROMPTS, SEEDS, 3.0)) <= 1


def test_an_adapter_of_another_base_model_is_refused(backbone):
    import torch

    with pytest.raises(
        AdapterMismatchError, match=r"x\.safetensors: unet\.mid_block\.nope: .*no such"
    ):
        add_updates(
            backbone.components, [("unet.mid_block.nope", torch.zeros(32, 16))], "x.safetensors"
        )
    with pytest.raises(AdapterMismatchError, match=r"update is \(3, 3\).*weight is \(32, 16\)"):
        add_updates(backbone.components, [(LAYER, torch.zeros(3, 3))], "x.safetensors")


def test_updates_of_a_half_precision_model_are_rounded_once():
    import torch

    layer = torch.nn.Linear(1, 1, dtype=torch.bfloat16)
    layer.weight.data.fill_(1.0)
    unet = SimpleNamespace(named_modules=lambda: [("layer", layer)])
    add_updates(
        {"unet": unet}, [("unet.layer", torch.full((1, 1), 0.006, dtype=torch.float64))], "x"
    )
    assert layer.weight.item() == 1.0078125  # the bfloat16 nearest to 1.006


def test_a_missing_directory_says_what_to_pull(tmp_path):
    with pytest.raises(MissingDataError, match="nothing: no such folder; run `dvc pull`"):
        load(tmp_path / "nothing")


def test_an_unknown_dtype_is_refused(model_directory):
    with pytest.raises(ConfigError, match="unknown dtype 'float23'"):
        load_backbone(str(model_directory), "float23", "cpu")


@pytest.mark.parametrize(
    "file",
    [
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "unet/config.json",
        "scheduler/scheduler_config.json",
    ],
)
@pytest.mark.parametrize("keep", [0.5, None])
def test_a_cut_or_missing_file_names_the_part(copied, file, keep):
    path = copied / file
    data = path.read_bytes()
    path.unlink()
    if keep is not None:
        path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(RecordError, match=f"model/{file.split('/')[0]}: cannot be loaded") as told:
        load(copied)
    assert "\n" not in str(told.value)


def test_a_missing_tokenizer_is_refused(copied):
    shutil.rmtree(copied / "tokenizer")
    with pytest.raises(RecordError, match="model/tokenizer: cannot be loaded"):
        load(copied)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_that_lack_a_tensor_are_refused(copied, part):
    from safetensors.torch import load_file, save_file

    (path,) = (copied / part).glob("*.safetensors")
    tensors = load_file(path)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(RecordError, match=f"model/{part}: cannot be loaded"):
        load(copied)


def test_a_scheduler_that_draws_its_own_noise_is_refused(copied):
    path = copied / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "_class_name": "EulerAncestralDiscreteScheduler"}))
    with pytest.raises(ConfigError, match="unknown noise scheduler 'EulerAncestral"):
        load(copied)


def test_a_bfloat16_model_draws_about_the_same(model_directory, backbone):
    half = load_backbone(str(model_directory), "bfloat16", "cpu")
    difference = np.abs(draw(half, steps=1).astype(int) - draw(backbone, steps=1).astype(int))
    assert difference.mean() < 40
