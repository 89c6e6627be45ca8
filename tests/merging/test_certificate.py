import pytest
import torch

from selma.core.errors import ConfigError
from selma.merging.certificate import adapter_product, certify, relative_error
from selma.merging.factors import LoraFactors
from selma.merging.methods import absolute_weights, merge

HALVES = {"a": 0.5, "b": 0.5}


def merged_of(experts, weights):
    return merge(experts, method="delta_mean", weights=weights, scale=1.0)[0]


def test_the_relative_error_is_counted_over_all_layers():
    # layer x is right, layer y lacks 3 of (3, 4): the error is 3 of sqrt(0² + 3² + 4²)
    right = LoraFactors(torch.zeros(1, 2), torch.zeros(1, 1))
    whole = LoraFactors(torch.tensor([[3.0, 4.0]]), torch.ones(1, 1))
    part = LoraFactors(torch.tensor([[0.0, 4.0]]), torch.ones(1, 1))
    found = relative_error({"x": right, "y": part}, {"a": {"x": right, "y": whole}}, {"a": 1.0})
    assert found == pytest.approx(0.6)


def test_the_product_of_adapters_adds_up_their_layers(factors):
    left = {"x": factors(0), "y": factors(1, out=3)}
    right = {"x": factors(2), "y": factors(3, out=3)}
    dense = sum(float((left[name].delta() * right[name].delta()).sum()) for name in left)
    assert adapter_product(left, right) == pytest.approx(dense)


@pytest.mark.parametrize("seed", range(5))
def test_experts_that_cancel_out_are_certified_with_the_absolute_error(factors, seed):
    expert = factors(seed, out=48, inside=40, rank=8)
    opposite = LoraFactors(expert.lora_a, -expert.lora_b)
    experts = {"a": {"x": expert}, "b": {"x": opposite}}
    found = certify(merged_of(experts, HALVES), experts, HALVES)
    assert found["relative_error"] < 1e-6
    assert found["merged_norm"] == pytest.approx(0, abs=1e-4)
    assert found["cosine"]["a"]["b"] == -1


def test_the_rank_told_is_the_largest_of_a_layer(factors):
    experts = {"a": {"x": factors(0, rank=1), "y": factors(1, rank=4)}}
    assert certify(experts["a"], experts, {"a": 1.0})["rank"] == 4


def test_a_scale_of_zero_is_refused():
    with pytest.raises(ConfigError, match=r"merge\.scale: .*0"):
        absolute_weights({"a": 1}, 0.0)
