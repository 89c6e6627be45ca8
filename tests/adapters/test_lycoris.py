"""LyCORIS as an independent reader and writer of kohya's layout."""

import copy

import pytest
import torch
from safetensors.torch import load_file
from stock_pipelines import adapter_of, assert_same_effect, tiny

from selma.adapters.files import read_adapter
from selma.adapters.formats.writing import write_kohya
from selma.core.errors import AdapterMismatchError

lycoris = pytest.importorskip("lycoris", reason="lycoris-lora is not installed")


def saved(unet, path, **options):
    """Save a network of LyCORIS with random weights, and merge it into a copy of the U-Net."""
    changed = copy.deepcopy(unet)
    network = lycoris.create_lycoris(
        changed, 1.0, linear_dim=4, linear_alpha=2, conv_dim=2, conv_alpha=1, **options
    )
    network.apply_to()  # only then are the factors its parameters
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.data = torch.randn_like(parameter) / 4
    network.save_weights(str(path), torch.float32, {})
    network.restore()
    network.merge_to()
    return changed


@pytest.mark.parametrize("scalar", [False, True])  # which is saved in B
@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_what_lycoris_trains_as_lora_and_convolutions_is_read(tmp_path, kind, scalar):
    pipeline, path = tiny(kind), tmp_path / "x.safetensors"
    changed = copy.deepcopy(pipeline)
    changed.unet = saved(pipeline.unet, path, algo="lora", use_scalar=scalar)
    found = read_adapter(path)
    assert {(one.rank, one.scale) for one in found.values()} == {(4, 0.5), (2, 0.5)}
    changed.text_encoder = copy.deepcopy(pipeline.text_encoder)
    assert_same_effect(pipeline, changed, found, ("unet",))


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"algo": "lora", "dora_wd": True}, "DoRA"), ({"algo": "loha"}, "LoHa"),
        ({"algo": "lokr"}, "LoKr"), ({"algo": "lora", "use_tucker": True}, "Tucker"),
        ({"algo": "full"}, "full difference"), ({"algo": "ia3"}, "(IA)³"),
        ({"algo": "glora"}, "GLoRA"), ({"algo": "diag-oft"}, "OFT"), ({"algo": "boft"}, "OFT"),
        ({"algo": "lora", "train_norm": True}, "normalisation"),
    ],
)  # fmt: skip
def test_what_lycoris_trains_otherwise_is_refused_by_name(tmp_path, options, kind):
    path = tmp_path / "x.safetensors"
    saved(tiny("sd1").unet, path, **options)
    with pytest.raises(AdapterMismatchError) as caught:
        read_adapter(path)
    assert kind in str(caught.value)


def test_lycoris_merges_our_kohya_file_as_the_dense_updates(tmp_path):
    pipeline, path = tiny("sdxl"), tmp_path / "x.safetensors"
    keep = lambda name: not name.startswith(("text_encoder.", "unet.add_embedding"))  # noqa: E731
    adapter = adapter_of(pipeline, keep=keep, ranks=(1, 2, 4), scales=(1.0, 0.5))
    write_kohya(path, adapter, {})
    tensors, changed = load_file(path), copy.deepcopy(pipeline)
    for prefix, name in (("lora_unet_", "unet"), ("lora_te2_", "text_encoder_2")):
        own = {
            key.replace(prefix, "lycoris_"): tensor
            for key, tensor in tensors.items()
            if key.startswith(prefix)
        }
        network = getattr(changed, name)
        merged, _ = lycoris.create_lycoris_from_weights(1.0, None, network, own)
        assert len(merged.loras) == sum(layer.startswith(f"{name}.") for layer in adapter)
        merged.merge_to()
    assert_same_effect(pipeline, changed, adapter, ("unet", "text_encoder_2"))
