import pytest
import torch

from selma.adapters.factors import LoraFactors
from selma.adapters.measures import compare, distance, inner_products, norm
from selma.merging.lowrank import (
    compact,
    factor_svd,
    joint_svd,
    least_rank,
    tail,
    times,
    weighted_sum,
)


@pytest.mark.parametrize("rank", [1, 3, 5, 9])
def test_the_singular_values_are_those_of_the_dense_update(factors, rank):
    layer = factors(0, rank=rank, scale=0.7)
    found = factor_svd(layer)
    dense = torch.linalg.svdvals(layer.delta())
    torch.testing.assert_close(found.s, dense[: len(found.s)], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close((found.u * found.s) @ found.vt, layer.delta(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_error_of_a_truncation_is_its_distance_to_the_update(factors, rank):
    layer = factors(1, rank=4)
    found = factor_svd(layer)
    truncated, error = found.truncate(rank), tail(found.s, rank)
    assert truncated.rank == rank
    assert error == pytest.approx(float((truncated.delta() - layer.delta()).norm()), rel=1e-5)


def test_no_update_of_that_rank_is_nearer_than_the_truncation():
    # diag(3, 2, 1): the best rank 2 is diag(3, 2, 0), at distance 1
    layer = LoraFactors(lora_a=torch.diag(torch.tensor([3.0, 2.0, 1.0])), lora_b=torch.eye(3))
    truncated, error = factor_svd(layer).truncate(2), tail(factor_svd(layer).s, 2)
    expected = torch.diag(torch.tensor([3.0, 2.0, 0.0])).double()
    torch.testing.assert_close(truncated.delta(), expected, rtol=0, atol=1e-6)
    assert error == pytest.approx(1.0)


def test_truncating_at_the_full_rank_loses_nothing(factors):
    layer = factors(2, rank=3)
    truncated = factor_svd(layer).truncate(3)
    assert tail(factor_svd(layer).s, 3) == pytest.approx(0.0, abs=1e-9)
    torch.testing.assert_close(truncated.delta(), layer.delta(), rtol=1e-5, atol=1e-5)


def test_truncated_factors_share_the_singular_values_evenly(factors):
    truncated = factor_svd(factors(3, rank=4)).truncate(2)
    torch.testing.assert_close(truncated.lora_b.norm(dim=0), truncated.lora_a.norm(dim=1))


def test_flipping_the_sign_of_both_factors_changes_no_byte_of_a_truncation(factors):
    layer = factors(4, rank=3)
    flipped = LoraFactors(-layer.lora_a, -layer.lora_b)
    one, two = factor_svd(layer).truncate(2), factor_svd(flipped).truncate(2)
    torch.testing.assert_close(one.lora_a, two.lora_a)
    torch.testing.assert_close(one.lora_b, two.lora_b)


def test_a_weighted_sum_is_the_dense_one_with_scales_and_weights(factors):
    layers = [factors(5, scale=0.5), factors(6, rank=3, scale=2.0)]
    total = weighted_sum(layers, [0.25, -3.0])
    assert total.rank == 5
    dense = 0.25 * layers[0].delta() - 3.0 * layers[1].delta()
    torch.testing.assert_close(total.delta(), dense, rtol=1e-6, atol=1e-6)


def test_compacting_lowers_the_rank_to_the_smaller_side_and_keeps_the_update(factors):
    layer = factors(7, rank=12)
    small = compact(layer)
    assert small.rank == 5
    torch.testing.assert_close(small.delta(), layer.delta(), rtol=1e-5, atol=1e-5)


def test_compacting_leaves_a_small_rank_alone(factors):
    layer = factors(8, rank=5)
    assert compact(layer) is layer


def test_the_inner_product_is_that_of_the_dense_updates(factors):
    left, right = factors(9, rank=2, scale=0.5), factors(10, rank=3, scale=3.0)
    dense = float((left.delta() * right.delta()).sum())
    found = inner_products([left, right])
    assert float(found[0, 1]) == pytest.approx(dense, rel=1e-9)
    assert float(found[1, 0]) == pytest.approx(dense, rel=1e-9)
    assert float(found[1, 1]) == pytest.approx(float(right.delta().square().sum()), rel=1e-9)


@pytest.mark.parametrize("rank", [1, 2, 4, 9])
def test_updates_side_by_side_are_decomposed_together(factors, rank):
    layers = [factors(seed, rank=rank, scale=0.5 + seed) for seed in range(3)]
    u, s, parts = joint_svd(layers)
    dense = torch.cat([layer.delta() for layer in layers], dim=1)
    wanted = torch.linalg.svdvals(dense)
    torch.testing.assert_close(s, wanted[: len(s)], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close((u * s) @ torch.cat(parts, dim=1), dense, rtol=1e-9, atol=1e-9)


def test_the_least_rank_loses_no_more_than_the_share():
    s = torch.tensor([4.0, 3.0, 0.0], dtype=torch.float64)  # of norm 5; without 3 it loses 0.6
    assert [least_rank(s, share) for share in (0.59, 0.61, 0.99)] == [2, 1, 1]
    assert least_rank(torch.zeros(3, dtype=torch.float64), 0.1) == 1


@pytest.mark.parametrize("shape", [(6, 5), (40, 5), (5, 40), (40, 48)])
@pytest.mark.parametrize("rank", [3, 12])
def test_fewer_vectors_are_the_first_of_all(factors, shape, rank):
    layer = factors(11, out=shape[0], inside=shape[1], rank=rank)
    few, whole = factor_svd(layer, 2), factor_svd(layer)
    torch.testing.assert_close(few.s, whole.s)
    torch.testing.assert_close(few.u, whole.u[:, :2])
    torch.testing.assert_close(few.vt, whole.vt[:2])
    dense = factor_svd(layer.delta())
    torch.testing.assert_close(dense.u[:, :2], few.u, rtol=1e-7, atol=1e-9)


def test_distance_norm_and_product_are_the_dense_ones(factors):
    left, right = factors(12, rank=2, scale=0.5), factors(13, rank=4, scale=3.0)
    columns = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    for one in (left, left.delta()):
        assert distance(one, right) == pytest.approx(float((left.delta() - right.delta()).norm()))
        assert norm(one) == pytest.approx(float(left.delta().norm()))
        torch.testing.assert_close(times(one, columns), left.delta() @ columns.double())
    assert distance(left, left) < 1e-12


def test_thin_and_dense_comparisons_agree(factors):
    left, right = (factors(seed, out=40, inside=50, rank=3, scale=0.5) for seed in (14, 15))
    thin, whole = compare(left, right), compare(left.delta(), right)
    assert thin == pytest.approx(whole, rel=1e-12)
    assert thin[1] == pytest.approx(float(left.delta().norm()))
