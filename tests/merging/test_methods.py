import pytest
import torch

from selma.core.errors import AdapterMismatchError, ConfigError
from selma.merging.certificate import certify, relative_error
from selma.merging.factors import LoraFactors
from selma.merging.files import read_adapter, read_provenance, write_adapter
from selma.merging.methods import absolute_weights, delta_mean, merge, merge_files


def close(left, right):
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


def merged_of(experts, weights):
    return merge(experts, method="delta_mean", weights=weights, scale=1.0)[0]


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


def test_weight_zero_is_the_same_as_leaving_the_expert_or_its_weight_out(factors):
    experts = {"a": {"x": factors(6)}, "b": {"x": factors(7)}, "c": {"x": factors(8)}}
    two = {skill: experts[skill] for skill in "ab"}
    want = merged_of(two, {"a": 1, "b": 1})["x"]
    for given, weights in (
        (experts, {"a": 1, "b": 1, "c": 0}),
        (experts, {"a": 1, "b": 1}),
        (two, {"a": 1, "b": 1, "c": 0}),
    ):
        found, used = merge(given, method="delta_mean", weights=weights, scale=1.0)
        assert used == {"a": 0.5, "b": 0.5}
        assert torch.equal(found["x"].lora_a, want.lora_a)
        assert torch.equal(found["x"].lora_b, want.lora_b)


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
    assert absolute_weights({"a": 3, "b": 1, "c": 0}, 2.0) == {"a": 1.5, "b": 0.5}


def test_scale_and_weights_reach_the_merged_adapter(factors):
    experts = {"a": {"x": factors(0)}, "b": {"x": factors(1)}}
    found, used = merge(experts, method="delta_mean", weights={"a": 3, "b": 1}, scale=2.0)
    assert used == {"a": 1.5, "b": 0.5}
    close(found["x"].delta(), 1.5 * factors(0).delta() + 0.5 * factors(1).delta())


def test_files_are_merged_certified_and_say_what_they_are_made_of(tmp_path, factors):
    files = {skill: tmp_path / f"{skill}.safetensors" for skill in "abc"}
    for seed, skill in enumerate("ab"):  # c is not there and not read: its weight is 0
        write_adapter(files[skill], {"unet.x": factors(seed)}, {"name": skill})
    how = {"method": "delta_mean", "weights": {"b": 1.0, "a": 3.0, "c": 0.0}, "scale": 0.5}
    out = tmp_path / "merged.safetensors"
    facts = merge_files(files, out, **how)
    close(
        read_adapter(out)["unet.x"].delta(),
        0.375 * factors(0).delta() + 0.125 * factors(1).delta(),
    )
    assert facts["relative_error"] < 1e-6
    assert set(facts["norm"]) == {"a", "b"}
    origins = read_provenance(out)
    assert origins["merge"] == how
    assert {skill: made["name"] for skill, made in origins["experts"].items()} == {
        "a": "a", "b": "b",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("weights", "message"),
    [({"a": 1, "b": -1}, r"merge\.weights\.b.*-1"), ({"a": 0, "b": 0}, "all are 0")],
)
def test_weights_that_leave_nothing_to_merge_are_refused(weights, message):
    with pytest.raises(ConfigError, match=message):
        absolute_weights(weights, 1.0)


def test_an_expert_without_a_layer_is_named_with_the_layer(factors):
    experts = {"a": {"x": factors(0), "y": factors(1)}, "b": {"x": factors(2)}}
    for given in (experts, dict(reversed(experts.items()))):  # whatever their order
        with pytest.raises(AdapterMismatchError, match="y: expert 'b' has no such layer, but 'a'"):
            merged_of(given, {"a": 0.5, "b": 0.5})


def test_an_expert_of_another_base_model_is_named_with_the_layer_and_both_shapes(factors):
    experts = {"a": {"x": factors(0)}, "b": {"x": factors(1, out=7)}}
    for given in (experts, dict(reversed(experts.items()))):
        with pytest.raises(AdapterMismatchError, match=r"\(7, 5\) in expert 'b', \(6, 5\) in 'a'"):
            merged_of(given, {"a": 0.5, "b": 0.5})


def test_a_weight_without_an_expert_is_refused(factors):
    for given in ("a", ""):
        with pytest.raises(ConfigError, match="no expert was given for .*b"):
            merged_of({skill: {"x": factors(0)} for skill in given}, {"a": 0.5, "b": 0.5})
    with pytest.raises(ConfigError, match="nothing is left to merge"):
        merged_of({}, {})


def test_an_unknown_merge_method_is_refused_with_the_list(factors):
    with pytest.raises(ConfigError, match=r"did you mean 'delta_mean'"):
        merge({"a": {"x": factors(0)}}, method="delta_meen", weights={"a": 1}, scale=1.0)


def test_a_certificate_tells_a_true_merge_from_one_that_lost_an_expert(factors):
    experts = {"a": {"x": factors(0)}, "b": {"x": factors(1)}}
    weights = {"a": 0.5, "b": 0.5}
    merged = merged_of(experts, weights)
    assert certify(merged, experts, weights)["relative_error"] < 1e-6
    lost = {"x": LoraFactors(experts["a"]["x"].lora_a, experts["a"]["x"].lora_b, scale=0.5)}
    assert relative_error(lost, experts, weights) > 0.3


def test_cosines_are_one_for_copies_and_zero_for_experts_that_touch_different_outputs():
    top = LoraFactors(torch.ones(1, 3), torch.tensor([[1.0], [0.0]]))
    bottom = LoraFactors(torch.ones(1, 3), torch.tensor([[0.0], [2.0]]))
    experts = {"a": {"x": top}, "b": {"x": bottom}, "c": {"x": top}}
    weights = dict.fromkeys(experts, 1 / 3)
    found = certify(merged_of(experts, weights), experts, weights)
    assert found["cosine"]["a"] == {"a": 1.0, "b": 0.0, "c": 1.0}
    twice = LoraFactors(top.lora_a, 2 * top.lora_b)
    pair = {"a": {"x": top}, "b": {"x": twice}}
    assert certify(pair["a"], pair, {"a": 1.0, "b": 0.0})["cosine"]["a"]["b"] == 1.0
    assert found["norm"] == {"a": 1.7321, "b": 3.4641, "c": 1.7321}  # √3, 2 √3


def test_untrained_experts_merge_to_nothing_without_an_error():
    zero = LoraFactors(torch.ones(2, 5), torch.zeros(6, 2))
    experts = {"a": {"x": zero}, "b": {"x": zero}}
    weights = {"a": 0.5, "b": 0.5}
    found = certify(merged_of(experts, weights), experts, weights)
    assert found["relative_error"] == 0
    assert found["cosine"]["a"]["b"] == 0
