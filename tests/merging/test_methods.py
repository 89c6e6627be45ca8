import pytest
import torch

from selma.core.choices import choose
from selma.core.errors import AdapterMismatchError, ConfigError
from selma.merging.certificate import certify, relative_error
from selma.merging.factors import LoraFactors
from selma.merging.methods import MERGE_METHODS, absolute_weights, delta_mean, merge_adapters


def close(left, right):
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


def test_merging_copies_of_one_expert_returns_that_expert(factors):
    expert = factors(0, scale=0.5)
    merged = delta_mean({"a": expert, "b": expert}, {"a": 0.5, "b": 0.5})
    close(merged.delta(), expert.delta())


def test_a_merge_is_the_dense_weighted_sum(factors):
    experts = {"a": factors(1), "b": factors(2, rank=3, scale=2.0), "c": factors(3, rank=1)}
    weights = {"a": 0.2, "b": 0.3, "c": 0.5}
    dense = sum(weights[skill] * experts[skill].delta() for skill in experts)
    close(delta_mean(experts, weights).delta(), dense)


def test_a_merge_does_not_depend_on_how_an_update_is_split_into_factors(factors):
    a, b = factors(4), factors(5)
    mix = torch.tensor([[2.0, 1.0], [0.0, -0.5]])
    refactored = LoraFactors(torch.linalg.inv(mix) @ a.lora_a, a.lora_b @ mix)
    weights = {"a": 0.5, "b": 0.5}
    close(
        delta_mean({"a": a, "b": b}, weights).delta(),
        delta_mean({"a": refactored, "b": b}, weights).delta(),
    )


def test_weight_zero_is_the_same_as_leaving_the_expert_out(factors):
    a, b, c = factors(6), factors(7), factors(8)
    with_zero = delta_mean(
        {"a": a, "b": b, "c": c}, absolute_weights({"a": 1, "b": 1, "c": 0}, 1.0)
    )
    without = delta_mean({"a": a, "b": b}, absolute_weights({"a": 1, "b": 1}, 1.0))
    assert torch.equal(with_zero.lora_a, without.lora_a)
    assert torch.equal(with_zero.lora_b, without.lora_b)


def test_the_rank_of_a_merge_stops_at_the_smaller_side_and_stays_exact(factors):
    experts = {str(seed): factors(seed, rank=2) for seed in range(4)}
    merged = delta_mean(experts, dict.fromkeys(experts, 0.25))
    assert merged.rank == 5
    close(merged.delta(), sum(expert.delta() for expert in experts.values()) / 4)


def test_the_order_of_the_experts_changes_no_byte(factors):
    a, b = factors(9), factors(10)
    one = delta_mean({"a": a, "b": b}, {"a": 0.5, "b": 0.5})
    two = delta_mean({"b": b, "a": a}, {"b": 0.5, "a": 0.5})
    assert torch.equal(one.lora_a, two.lora_a)
    assert torch.equal(one.lora_b, two.lora_b)


def test_weights_are_relative_and_the_scale_is_the_strength():
    assert absolute_weights({"a": 3, "b": 1}, 2.0) == {"a": 1.5, "b": 0.5}


@pytest.mark.parametrize(
    ("weights", "message"),
    [({"a": 1, "b": -1}, r"merge\.weights\.b.*-1"), ({"a": 0, "b": 0}, "all are 0")],
)
def test_weights_that_leave_nothing_to_merge_are_refused(weights, message):
    with pytest.raises(ConfigError, match=message):
        absolute_weights(weights, 1.0)


def test_an_expert_without_a_layer_is_named_with_the_layer(factors):
    experts = {"a": {"x": factors(0), "y": factors(1)}, "b": {"x": factors(2)}}
    with pytest.raises(AdapterMismatchError, match="y: expert 'b' has no such layer, but 'a'"):
        merge_adapters(experts, delta_mean, {"a": 0.5, "b": 0.5})


def test_an_expert_of_another_base_model_is_named_with_the_layer_and_both_shapes(factors):
    experts = {"a": {"x": factors(0)}, "b": {"x": factors(1, out=7)}}
    with pytest.raises(AdapterMismatchError, match=r"x: .*\(7, 5\) in expert 'b', \(6, 5\) in 'a'"):
        merge_adapters(experts, delta_mean, {"a": 0.5, "b": 0.5})


@pytest.mark.parametrize(("given", "weighed"), [("ab", "a"), ("a", "ab"), ("", "")])
def test_experts_and_weights_must_name_the_same_skills(factors, given, weighed):
    experts = {skill: {"x": factors(0)} for skill in given}
    with pytest.raises(ConfigError, match="merge"):
        merge_adapters(experts, delta_mean, dict.fromkeys(weighed, 0.5))


def test_an_unknown_merge_method_is_refused_with_the_list():
    with pytest.raises(ConfigError, match=r"did you mean 'delta_mean'"):
        choose("merge method", "delta_meen", MERGE_METHODS)


def test_a_certificate_tells_a_true_merge_from_one_that_lost_an_expert(factors):
    experts = {"a": {"x": factors(0)}, "b": {"x": factors(1)}}
    weights = {"a": 0.5, "b": 0.5}
    merged = merge_adapters(experts, delta_mean, weights)
    assert certify(merged, experts, weights)["relative_error"] < 1e-6
    lost = {"x": LoraFactors(experts["a"]["x"].lora_a, experts["a"]["x"].lora_b, scale=0.5)}
    assert relative_error(lost, experts, weights) > 0.3


def test_cosines_are_one_for_copies_and_zero_for_experts_that_touch_different_outputs():
    top = LoraFactors(torch.ones(1, 3), torch.tensor([[1.0], [0.0]]))
    bottom = LoraFactors(torch.ones(1, 3), torch.tensor([[0.0], [2.0]]))
    experts = {"a": {"x": top}, "b": {"x": bottom}, "c": {"x": top}}
    weights = dict.fromkeys(experts, 1 / 3)
    found = certify(merge_adapters(experts, delta_mean, weights), experts, weights)
    assert found["cosine"]["a"] == {"a": 1.0, "b": 0.0, "c": 1.0}
    assert found["norm"] == {"a": 1.7321, "b": 3.4641, "c": 1.7321}  # √3, 2 √3


def test_untrained_experts_merge_to_nothing_without_an_error():
    zero = LoraFactors(torch.ones(2, 5), torch.zeros(6, 2))
    experts = {"a": {"x": zero}, "b": {"x": zero}}
    weights = {"a": 0.5, "b": 0.5}
    found = certify(merge_adapters(experts, delta_mean, weights), experts, weights)
    assert found["relative_error"] == 0
    assert found["cosine"]["a"]["b"] == 0
