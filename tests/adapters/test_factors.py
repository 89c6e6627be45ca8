"""Rounding of factors to a type: what is kept, and by which powers of two."""

import math

import pytest
import torch

from selma.adapters.factors import HIGH, LOW, LoraFactors
from selma.adapters.measures import distance, norm

HALF = torch.float16


def halves(seed, rows, columns, top):
    """Numbers that float16 holds, of size `top` at most."""
    generator = torch.Generator().manual_seed(seed)
    values = (torch.rand(rows, columns, generator=generator) * 2 - 1).half().float()
    return values / values.abs().max() * top


def log2_of_ratio(new, old):
    """The power of two by which all numbers but zeros were multiplied, exactly."""
    used = old != 0
    (ratio,) = set((new.double()[used] / old.double()[used]).tolist())
    return math.log2(ratio)


def test_a_power_of_two_goes_from_one_factor_to_the_other():
    """Of tops 1 and 2⁻²⁰ both become 2⁻¹⁰, and ΔW stays the same to the last digit.

    The last digit of B is 2⁻²⁸, where float16 ends at 2⁻²⁴.
    """
    a, b = torch.tensor([[1.0, 0.5, 0.0]]), torch.tensor([[-1.0], [0.75 + 2**-8]]) * 2.0**-20
    found = LoraFactors(a, b).cast(HALF)
    assert found.scale == 1 and found.lora_a.dtype == found.lora_b.dtype == HALF
    assert log2_of_ratio(found.lora_a, a) == -10 and log2_of_ratio(found.lora_b, b) == 10
    assert torch.equal(found.delta(), LoraFactors(a, b).delta())


def test_a_factor_that_is_too_large_for_half_precision_gives_to_the_other():
    a, b = torch.full((1, 2), 2.0**18), torch.full((3, 1), 2.0**-8)
    found = LoraFactors(a, b).cast(HALF)
    assert set(found.lora_a.flatten().tolist()) == {2.0**5}
    assert set(found.lora_b.flatten().tolist()) == {2.0**5}


@pytest.mark.parametrize("scale", [2.0**-7, 0.01, -3.0, 1e6])
def test_the_scale_is_folded_in_and_digits_are_kept(scale):
    """A number rounds by 2⁻¹² of itself at most; the few subnormal ones weigh little."""
    given = LoraFactors(halves(0, 8, 40, 0.05), halves(1, 30, 8, 1e-3), scale)
    found = given.cast(HALF)
    assert found.scale == 1
    assert distance(given, found) <= 2 * 2**-12 * norm(given)


def test_a_scale_of_a_power_of_two_costs_half_precision_next_to_nothing():
    """Rank 128 and alpha 1, B of a thousandth: folded into B alone it is off by a few per mille."""
    given = LoraFactors(halves(0, 128, 40, 0.05).half(), halves(1, 30, 128, 1e-3).half(), 1 / 128)
    alone = LoraFactors(given.lora_a, given.lora_b * given.scale)
    assert distance(given, alone) > 1e-3 * norm(given)
    assert distance(given, given.cast(HALF)) < 1e-4 * norm(given)


@pytest.mark.parametrize("tops", [(1.0, 1.0), (0.05, 0.02), (2 * LOW, HIGH / 2)])
def test_factors_of_usual_size_are_rounded_as_they_are(tops):
    a, b = halves(0, 4, 9, tops[0]) * 1.0001, halves(1, 7, 4, tops[1]) * 1.0001
    found = LoraFactors(a, b, 1.0).cast(HALF)
    assert torch.equal(found.lora_a, a.half()) and torch.equal(found.lora_b, b.half())


def test_what_half_precision_holds_already_is_left_as_it_is():
    """Also where one factor is small: a shift could only lose digits of the other."""
    a, b = halves(0, 4, 9, 0.02).half(), halves(1, 7, 4, 1e-5).half()
    for given in (LoraFactors(a, b), LoraFactors(a.float(), b.float())):
        found = given.cast(HALF)
        assert torch.equal(found.lora_a, a) and torch.equal(found.lora_b, b)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_types_with_more_exponents_need_no_shift(dtype):
    a, b = halves(0, 4, 9, 1.0), halves(1, 7, 4, 1e-20)
    found = LoraFactors(a, b, 0.5).cast(dtype)
    assert torch.equal(found.lora_a, a.to(dtype))
    assert torch.equal(found.lora_b, (b * 0.5).to(dtype))


@pytest.mark.parametrize("scale", [0.0, 1e-3])
@pytest.mark.parametrize("zero", ["a", "b"])
def test_an_update_of_zero_stays_zero(zero, scale):
    factors = {"lora_a": halves(0, 4, 9, 1.0), "lora_b": halves(1, 7, 4, 1e-9)}
    found = LoraFactors(**{**factors, f"lora_{zero}": factors[f"lora_{zero}"] * 0}, scale=scale)
    assert not found.cast(HALF).delta().any()


def test_numbers_that_are_not_finite_stay_so():
    found = LoraFactors(torch.tensor([[math.inf, 1.0]]), torch.full((1, 1), 1e-9)).cast(HALF)
    assert found.lora_a.isinf().any()


def test_a_kernel_is_kept():
    given = LoraFactors(torch.ones(1, 18), torch.full((4, 1), 1e-8), 0.5, (3, 3))
    assert given.cast(HALF).weight_shape == (4, 2, 3, 3)
