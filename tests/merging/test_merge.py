"""Whole adapters are merged layer by layer, in memory."""

import pytest
import torch
from method_parameters import PARAMETERS

from selma.adapters.factors import LoraFactors
from selma.core.errors import AdapterMismatchError, ConfigError
from selma.merging.certificate import by_layer, summarise
from selma.merging.lowrank import factor_svd
from selma.merging.merge import merge
from selma.merging.methods.catalogue import METHODS

A = {"a": 1.0, "b": 1.0}
NAN = float("nan")


def close(left, right, tolerance=1e-6):
    torch.testing.assert_close(left, right, rtol=0, atol=tolerance * float(right.norm()) + 1e-12)


def summary_of(experts, settings):
    merged = merge(experts, settings)
    return summarise(merged.layers, merged.names)


def test_one_expert_is_given_back_bit_for_bit(factors, settings):
    experts = {name: {"unet.x": factors(seed)} for seed, name in enumerate("abcde")}
    weights = {"a": 1.0, "b": 0.0, "c": 0.0, "d": 0.0, "e": 0.0}
    for method in ("delta_mean", "concat"):
        found = merge(experts, settings(weights, method=method)).adapter["unet.x"]
        assert torch.equal(found.lora_a, experts["a"]["unet.x"].lora_a)
        assert torch.equal(found.lora_b, experts["a"]["unet.x"].lora_b)
        assert found.scale == 1


def test_weight_zero_is_the_same_as_leaving_the_expert_or_its_weight_out(factors, settings):
    experts = {name: {"unet.x": factors(seed)} for seed, name in enumerate("abc")}
    two = {name: experts[name] for name in "ab"}
    want = merge(two, settings(A)).adapter["unet.x"]
    for given, weights in ((experts, {**A, "c": 0.0}), (experts, A), (two, {**A, "c": 0.0})):
        merged = merge(given, settings(weights))
        assert merged.names == ["a", "b"]
        assert torch.equal(merged.adapter["unet.x"].lora_a, want.lora_a)
        assert torch.equal(merged.adapter["unet.x"].lora_b, want.lora_b)


def test_the_rank_of_a_mean_stops_at_the_smaller_side_and_stays_exact(factors, settings):
    experts = {str(seed): {"unet.x": factors(seed, rank=2)} for seed in range(4)}
    weights = dict.fromkeys(experts, 1.0)
    merged = merge(experts, settings(weights)).adapter["unet.x"]
    assert merged.rank == 5
    dense_mean = sum(expert["unet.x"].delta() for expert in experts.values()) / 4
    close(merged.delta(), dense_mean)
    stacked = merge(experts, settings(weights, method="concat")).adapter["unet.x"]
    assert stacked.rank == 8
    close(stacked.delta(), dense_mean)


@pytest.mark.parametrize("method", ["svd", "delta_mean", "ties"])
@pytest.mark.parametrize("rank", [1, 3, 5])
def test_a_rank_loses_the_discarded_singular_values_and_the_certificate_says_so(
    factors, settings, method, rank
):
    experts = {name: {"unet.x": factors(seed, rank=3)} for seed, name in enumerate("ab")}
    parameters = {"density": 0.5} if method == "ties" else {}
    whole = merge(experts, settings(A, method="delta_mean" if method == "svd" else method,
                                    parameters=parameters))  # fmt: skip
    merged = merge(experts, settings(A, method=method, parameters=parameters, rank=rank))
    s = torch.linalg.svdvals(whole.adapter["unet.x"].delta())
    lost = float(s[rank:].square().sum().sqrt() / s.norm())
    assert merged.adapter["unet.x"].rank == rank
    assert merged.layers["unet.x"].relative_error == pytest.approx(lost, abs=2e-6)


def test_an_error_bound_takes_the_least_rank_that_keeps_it(factors, settings):
    experts = {name: {"unet.x": factors(seed, out=20, inside=20, rank=6)}
               for seed, name in enumerate("ab")}  # fmt: skip
    s = factor_svd(merge(experts, settings(A)).adapter["unet.x"]).s
    shares = [float(s[rank:].norm() / s.norm()) for rank in range(len(s))]
    for rank in (1, 4, 9):
        for error_max, wanted in ((shares[rank] * 1.001, rank), (shares[rank] * 0.999, rank + 1)):
            merged = merge(experts, settings(A, method="svd", error_max=error_max))
            assert merged.adapter["unet.x"].rank == wanted
            assert merged.layers["unet.x"].relative_error <= error_max * (1 + 1e-6)


def test_float64_steps_in_where_experts_nearly_cancel_out(factors, settings):
    """Their sum is a hundred-thousandth of each, where float32 has but two digits left."""
    one, small = factors(0, out=30, inside=30, rank=4), factors(1, out=30, inside=30, rank=4)
    a = {"unet.x": LoraFactors(torch.cat([one.lora_a, small.lora_a]),
                               torch.cat([one.lora_b, 1e-5 * small.lora_b], dim=1))}  # fmt: skip
    b = {"unet.x": LoraFactors(one.lora_a, -one.lora_b)}
    merged = merge({"a": a, "b": b}, settings(A, method="svd", rank=4))
    assert merged.layers["unet.x"].relative_error < 1e-4
    close(merged.adapter["unet.x"].delta(), 5e-6 * small.delta(), 1e-4)


def test_a_layer_that_an_expert_lacks_counts_as_zero_there(factors, settings):
    experts = {"a": {"unet.x": factors(0)}, "b": {"unet.x": factors(1), "unet.y": factors(2)}}
    merged = merge(experts, settings(A))
    close(merged.adapter["unet.y"].delta(), 0.5 * factors(2).delta())
    assert merged.adapter["unet.y"].rank == 2
    assert summarise(merged.layers, merged.names)["absent"] == {"a": 1, "b": 0}
    assert by_layer(merged.layers)["unet.y"]["absent"] == ["a"]
    for method, parameters in (("ties", {"density": 1.0}), ("tsv", {}), ("factor_mean", {})):
        merge(experts, settings(A, method=method, parameters=parameters))


def test_blocks_have_weights_of_their_own_the_longest_that_fits(factors, settings):
    layers = ("unet.down_blocks.1.q", "unet.down_blocks.10.q", "unet.mid_block.q")
    experts = {name: {layer: factors(seed) for layer in layers} for seed, name in enumerate("ab")}
    weights = {"a": {"all": 1.0, "unet.down_blocks": 0.0, "unet.down_blocks.1": 3.0}, "b": 1.0}
    merged = merge(experts, settings(weights)).adapter
    a, b = factors(0).delta(), factors(1).delta()
    for layer, share in zip(layers, (1.5, 0.0, 0.5), strict=True):
        close(merged[layer].delta(), share * a + 0.5 * b)


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ({"a": {"all": 1.0, "unet.z": 1.0}}, r"merge\.weights\.a\.unet\.z: no layer lies in"),
        ({"a": {"unet.x": 1.0}}, r"merge\.weights\.a: lacks 'all'"),
        ({"a": {"all": 1.0, "unet.x": NAN}}, r"merge\.weights\.a\.unet\.x: must be from"),
        ({"a": NAN}, r"merge\.weights\.a: must be from"),
        ({"a": 0.0}, "nothing is left to merge"),
        ({}, "nothing is left to merge"),
        ({"a": 1.0, "c": 1.0}, "no expert was given for c"),
    ],
)
def test_wrong_weights_are_one_line(factors, settings, weights, problem):
    with pytest.raises(ConfigError, match=problem):
        merge({"a": {"unet.x": factors(0)}}, settings(weights))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"scale": 0.0}, r"merge\.scale: is 0"),
        ({"scale": float("inf")}, r"merge\.scale: must be finite"),
        ({"method": "svd"}, "expected one of them, got None and None"),
        ({"rank": 2, "error_max": 0.1}, "expected one of them at most, got 2 and 0.1"),
        ({"method": "concat", "rank": 2}, "concat keeps every rank"),
        (
            {"method": "ties", "parameters": {"density": 1.0}, "weights": {"a": 2.0, "b": -1.0}},
            "ties takes none below 0; the sums do: delta_mean",
        ),
    ],
)
def test_wrong_settings_are_one_line(factors, settings, changes, problem):
    with pytest.raises(ConfigError, match=problem):
        merge({"a": {"unet.x": factors(0)}}, settings(**{"weights": {"a": 1.0}, **changes}))


def test_a_negative_weight_takes_an_expert_away_and_amplifies_neither(factors, settings):
    experts = {name: {"unet.x": factors(seed)} for seed, name in enumerate("ab")}
    merged = merge(experts, settings({"a": 3.0, "b": -1.0}, method="svd", rank=4))
    close(merged.adapter["unet.x"].delta(), 0.75 * factors(0).delta() - 0.25 * factors(1).delta())
    assert merged.layers["unet.x"].relative_error < 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_a_scale_below_0_gives_the_negative_of_the_merge(factors, settings, method):
    experts = {name: {"unet.x": factors(seed)} for seed, name in enumerate("ab")}
    given = {"method": method, "parameters": PARAMETERS.get(method, {})}
    given["rank"] = 3 if method == "svd" else None
    plus, minus = (merge(experts, settings(A, scale=scale, **given)) for scale in (0.7, -0.7))
    close(minus.adapter["unet.x"].delta(), -plus.adapter["unet.x"].delta())
    found = summarise(minus.layers, minus.names)
    assert found["cosine_to_mean"] == summarise(plus.layers, plus.names)["cosine_to_mean"]


@pytest.mark.parametrize("method", METHODS)
def test_a_block_that_no_expert_takes_part_in_becomes_zero(factors, settings, method):
    experts = {
        name: {"unet.x": factors(seed), "unet.y": factors(seed + 5)}
        for seed, name in enumerate("ab")
    }
    given = {"method": method, "parameters": PARAMETERS.get(method, {})}
    given["rank"] = 3 if method == "svd" else None
    merged = merge(experts, settings(dict.fromkeys("ab", {"all": 1.0, "unet.y": 0.0}), **given))
    assert not merged.adapter["unet.y"].lora_b.any()
    assert merged.layers["unet.y"].relative_error == 0
    assert merged.layers["unet.x"].norm > 0.1


def test_the_certificate_of_a_mean_counts_what_float32_rounds(factors, settings):
    experts = {name: {"unet.x": factors(seed)} for seed, name in enumerate("ab")}
    weights = {"a": 1.0, "b": 2.0}
    merged = merge(experts, settings(weights))
    true = (factors(0).delta() + 2 * factors(1).delta()) / 3
    off = float((merged.adapter["unet.x"].delta() - true).norm() / true.norm())
    assert merged.layers["unet.x"].relative_error == pytest.approx(off, rel=1e-3)
    assert 1e-9 < off < 1e-6


def test_matched_norm_in_half_precision_is_certified_as_it_is_written(factors, settings):
    experts = {name: {"unet.x": factors(seed, out=40, inside=40)} for seed, name in enumerate("ab")}
    merged = merge(experts, settings(A, method="iso_core", match_norm=True, dtype="bfloat16"))
    whole = merge(experts, settings(A, method="iso_core", match_norm=True))
    true = whole.adapter["unet.x"].delta()
    off = float((merged.adapter["unet.x"].delta() - true).norm() / true.norm())
    assert merged.layers["unet.x"].relative_error == pytest.approx(off, rel=1e-2)


def test_numbers_that_overflow_are_told_before_they_are_decomposed(settings):
    large = LoraFactors(torch.full((1, 3), 3e38), torch.full((2, 1), 3e38), scale=1e300)
    with pytest.raises(AdapterMismatchError, match=r"unet\.x: the merged update is not finite"):
        merge({"a": {"unet.x": large}}, settings({"a": 1.0}, method="svd", rank=1))


def test_experts_of_other_shapes_are_refused_by_name(factors, settings):
    experts = {"a": {"unet.x": factors(0)}, "b": {"unet.x": factors(1, out=7)}}
    for given in (experts, dict(reversed(experts.items()))):
        with pytest.raises(AdapterMismatchError, match=r"\(7, 5\) in expert 'b', \(6, 5\) in 'a'"):
            merge(given, settings(A))


def test_a_convolution_stays_one(factors, settings):
    conv = LoraFactors(*(getattr(factors(0, inside=18), n) for n in ("lora_a", "lora_b")),
                       kernel=(3, 3))  # fmt: skip
    merged = merge({"a": {"unet.x": conv}, "b": {"unet.x": conv}}, settings(A, rank=1))
    assert merged.adapter["unet.x"].weight_shape == (6, 2, 3, 3)
    linear = LoraFactors(conv.lora_a, conv.lora_b)
    with pytest.raises(AdapterMismatchError, match=r"\(6, 18\).*\(6, 2, 3, 3\)"):
        merge({"a": {"unet.x": conv}, "b": {"unet.x": linear}}, settings(A))


def test_half_precision_rounds_once_and_the_certificate_counts_it(factors, settings):
    experts = {name: {"unet.x": factors(seed, out=40, inside=40)} for seed, name in enumerate("ab")}
    merged = merge(experts, settings(A, dtype="float16"))
    assert merged.adapter["unet.x"].lora_a.dtype == torch.float16
    assert 1e-5 < merged.layers["unet.x"].relative_error < 1e-3
    large = {"a": {"unet.x": LoraFactors(torch.full((1, 2), 7e4), torch.full((2, 1), 7e4))}}
    with pytest.raises(AdapterMismatchError, match=r"unet\.x: .* not finite in float16"):
        merge(large, settings({"a": 1.0}, dtype="float16"))


@pytest.mark.parametrize("method", ["ties", "iso_core", "peft_linear", "released"])
def test_at_matched_norm_a_merge_is_as_strong_as_the_mean(factors, settings, method):
    parameters = {"ties": {"density": 0.3}, "released": {"model_id": "twenty"}}.get(method, {})
    experts = {
        name: {"unet.x": factors(seed), "unet.y": factors(seed + 9, out=3)}
        for seed, name in enumerate("ab")
    }

    def norm(adapter):
        return sum(float(one.delta().square().sum()) for one in adapter.values()) ** 0.5

    mean = merge(experts, settings(A))
    plain = merge(experts, settings(A, method=method, parameters=parameters))
    matched = merge(experts, settings(A, method=method, parameters=parameters, match_norm=True))
    assert norm(matched.adapter) == pytest.approx(norm(mean.adapter), rel=1e-5)
    ratio = norm(mean.adapter) / norm(plain.adapter)
    close(matched.adapter["unet.y"].delta(), ratio * plain.adapter["unet.y"].delta())
    found = summarise(matched.layers, matched.names)
    assert found["merged_norm"] == pytest.approx(norm(mean.adapter), abs=1e-3)
    assert found["relative_error"] < 1e-6


def test_the_summary_tells_a_method_from_the_mean(factors, settings):
    experts = {name: {"unet.x": factors(seed)} for seed, name in enumerate("ab")}
    assert summary_of(experts, settings(A))["cosine_to_mean"] == 1
    pruned = merge(experts, settings(A, method="ties", parameters={"density": 0.3}))
    mean = merge(experts, settings(A)).adapter["unet.x"].delta()
    own = pruned.adapter["unet.x"].delta()
    cosine = float((own * mean).sum() / own.norm() / mean.norm())
    found = summarise(pruned.layers, pruned.names)
    assert found["cosine_to_mean"] == pytest.approx(cosine, abs=1e-4)


def test_cosines_are_one_for_copies_and_zero_for_experts_that_touch_different_outputs(settings):
    top = LoraFactors(torch.ones(1, 3), torch.tensor([[1.0], [0.0]]))
    bottom = LoraFactors(torch.ones(1, 3), torch.tensor([[0.0], [2.0]]))
    experts = {"a": {"unet.x": top}, "b": {"unet.x": bottom}, "c": {"unet.x": top}}
    found = summary_of(experts, settings(dict.fromkeys(experts, 1.0)))
    assert found["cosine"]["a"] == {"a": 1.0, "b": 0.0, "c": 1.0}
    assert found["norm"] == {"a": 1.7321, "b": 3.4641, "c": 1.7321}  # √3, 2 √3


def test_experts_that_are_zero_or_cancel_out_merge_to_nothing(factors, settings):
    zero = {"unet.x": LoraFactors(torch.ones(2, 5), torch.zeros(6, 2))}
    found = summary_of({"a": zero, "b": zero}, settings(A))
    assert found["relative_error"] == found["merged_norm"] == found["cosine"]["a"]["b"] == 0
    for rank in (None, 2):
        one = factors(3, out=48, inside=40, rank=8)
        pair = {"a": {"unet.x": one}, "b": {"unet.x": LoraFactors(one.lora_a, -one.lora_b)}}
        found = summary_of(pair, settings(A, rank=rank))
        assert found["relative_error"] < 1e-6 and found["cosine"]["a"]["b"] == -1
        assert found["merged_norm"] == pytest.approx(0, abs=1e-4)


def test_bytes_do_not_depend_on_the_number_of_workers(factors, settings, monkeypatch):
    experts = {
        name: {f"unet.{n}": factors(10 * n + seed, out=64, inside=48, rank=9) for n in range(8)}
        for seed, name in enumerate("abc")
    }
    wanted = settings(dict.fromkeys(experts, 1.0), method="svd", rank=7)
    results = []
    for number in (1, 2, 5):
        monkeypatch.setattr("os.cpu_count", lambda number=number: number)
        results.append(merge(experts, wanted).adapter)
    for layer, first in results[0].items():
        for other in results[1:]:
            assert torch.equal(other[layer].lora_a, first.lora_a)
            assert torch.equal(other[layer].lora_b, first.lora_b)
