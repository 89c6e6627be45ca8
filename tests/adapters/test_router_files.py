"""A router's file holds experts and gates, and says what is wrong with it."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from selma.adapters.factors import LoraFactors
from selma.adapters.files import write_adapter
from selma.adapters.routers import (
    ROUTER_KEY,
    Router,
    by_layer,
    is_router,
    read_router,
    write_router,
)
from selma.core.errors import AdapterMismatchError, MissingDataError, RecordError

LAYERS = ("unet.a.to_q", "unet.mid_block.to_out.0")


def router_of(factors, *, reverse=False):
    """Two experts, of ranks 2 and 3; the second lacks a layer."""
    experts = {
        "count": {name: factors(k) for k, name in enumerate(LAYERS)},
        "my-skill_2": {LAYERS[0]: factors(7, rank=3, scale=0.5)},
    }
    names = sorted(experts, reverse=reverse)
    layers = by_layer({name: experts[name] for name in names})
    gates = {name: torch.full((2, 5), float(k)) for k, name in enumerate(LAYERS)}
    return Router(["count", "my-skill_2"], layers, gates, 2, {"name": "moe", "seed": 3})


@pytest.fixture
def path(tmp_path, factors):
    path = tmp_path / "moe.safetensors"
    write_router(path, router_of(factors))
    return path


def test_what_is_written_is_read(path, factors):
    read, made = read_router(path), router_of(factors)
    assert (list(read.experts), read.top_k) == (["count", "my-skill_2"], 2)
    assert read.provenance == {"format": 1, "name": "moe", "seed": 3}
    assert read.layers.keys() == read.gates.keys() == set(LAYERS)
    assert list(read.layers[LAYERS[1]]) == ["count"]
    for layer, experts in made.layers.items():
        assert read.gates[layer].equal(made.gates[layer])
        for name, (lora_a, lora_b) in experts.items():
            assert read.layers[layer][name][0].equal(lora_a)
            assert read.layers[layer][name][1].equal(lora_b)


def test_an_experts_scale_is_folded_into_b(path, factors):
    lora_a, lora_b = read_router(path).layers[LAYERS[0]]["my-skill_2"]
    expected = factors(7, rank=3, scale=0.5).delta()
    torch.testing.assert_close(lora_b.double() @ lora_a.double(), expected, rtol=1e-6, atol=1e-6)


def test_the_bytes_depend_on_no_order(path, tmp_path, factors):
    other = tmp_path / "other.safetensors"
    write_router(other, router_of(factors, reverse=True))
    assert other.read_bytes() == path.read_bytes()


def test_factors_are_kept_in_half_precision_where_that_loses_nothing(tmp_path):
    half = LoraFactors(torch.randn(2, 5).half(), torch.randn(6, 2).half())
    layers = by_layer({"count": {LAYERS[0]: half}, "common": {LAYERS[0]: LoraFactors(
        torch.full((1, 5), 0.1), torch.ones(6, 1))}})  # fmt: skip
    path = tmp_path / "moe.safetensors"
    write_router(path, Router(["common", "count"], layers, {LAYERS[0]: torch.ones(2, 5)}, 2, {}))
    with safe_open(path, framework="pt") as file:
        types = {key: file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
    assert types == {
        f"{LAYERS[0]}.common.lora_A.weight": "F32",
        f"{LAYERS[0]}.common.lora_B.weight": "F16",
        f"{LAYERS[0]}.count.lora_A.weight": "F16",
        f"{LAYERS[0]}.count.lora_B.weight": "F16",
        f"{LAYERS[0]}.gate.weight": "F32",
    }
    assert read_router(path).layers[LAYERS[0]]["count"][0].equal(half.lora_a.float())


def test_a_file_says_itself_whether_it_is_a_router(path, tmp_path, factors):
    adapter = tmp_path / "adapter.safetensors"
    write_adapter(adapter, {LAYERS[0]: factors(0)}, {})
    (tmp_path / "note").write_text("no weights")
    assert is_router(path)
    assert not any(is_router(tmp_path / name) for name in ("adapter.safetensors", "note", "none"))


def test_a_convolution_is_refused_by_its_name(factors):
    conv = LoraFactors(torch.ones(1, 9), torch.ones(4, 1), kernel=(3, 3))
    with pytest.raises(AdapterMismatchError, match=r"unet\.conv: is a convolution in expert 'c'"):
        by_layer({"c": {"unet.conv": conv}})


def rewritten(path, change):
    """Change the file's tensors in place."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata=header)


def spoil(key, value):
    return lambda tensors: tensors.update({key: value})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop(f"{LAYERS[0]}.count.lora_A.weight"), "needs a gate and both factors"),
        (lambda t: t.pop(f"{LAYERS[0]}.gate.weight"), "needs a gate and both factors"),
        (spoil("unet.b.gate.weight", torch.ones(2, 5)), r"unet\.b: needs a gate and both"),
        (spoil("unet.b.nobody.lora_A.weight", torch.ones(1)), "nobody.*: is no part of a router"),
        (spoil("unet.b.alpha", torch.ones(1)), "alpha: is no part of a router"),
        (spoil(f"{LAYERS[0]}.gate.weight", torch.full((2, 5), torch.nan)), "not finite"),
    ],
)
def test_a_router_that_lacks_a_part_or_has_a_strange_one_is_one_line(path, change, words):
    rewritten(path, change)
    with pytest.raises(AdapterMismatchError, match=words) as caught:
        read_router(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_router_is_one_line(path, tmp_path, factors):
    adapter = tmp_path / "adapter.safetensors"
    write_adapter(adapter, {LAYERS[0]: factors(0)}, {})
    for broken in (adapter, tmp_path / "note"):
        (tmp_path / "note").write_text("no weights")
        with pytest.raises(RecordError, match="not a whole router file"):
            read_router(broken)
    save_file(load_file(path), adapter, metadata={ROUTER_KEY: '{"format": 9}'})
    with pytest.raises(RecordError, match="is not of format 1"):
        read_router(adapter)
    with pytest.raises(MissingDataError, match="no such file"):
        read_router(tmp_path / "nowhere.safetensors")
