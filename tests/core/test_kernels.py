import numpy as np
import pytest
import torch

from selma.core.kernels import use_portable_kernels

use_portable_kernels()


def numbers(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


PAIRS = {
    "plain": (numbers(5, 7), numbers(7, 9)),
    "transposed": (numbers(7, 5).t(), numbers(9, 7).t()),
    "strided": (numbers(10, 7)[::2], numbers(7, 18)[:, ::2]),
    "expanded": (numbers(5, 1).expand(5, 7), numbers(1, 9).expand(7, 9)),
    "one number": (numbers(1, 7), numbers(7, 1)),
    "no rows": (numbers(0, 7), numbers(7, 9)),
    "nothing to sum": (numbers(5, 0), numbers(0, 9)),
    "float64": (numbers(5, 7, dtype=torch.float64), numbers(7, 9, dtype=torch.float64)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_products_are_those_of_numpy(name):
    left, right = PAIRS[name]
    expected = left.double().numpy() @ right.double().numpy()
    np.testing.assert_allclose((left @ right).numpy(), expected, rtol=1e-5, atol=1e-5)
    bias = numbers(right.shape[1], dtype=left.dtype, seed=1)
    with_bias = torch.addmm(bias, left, right)
    np.testing.assert_allclose(with_bias.numpy(), expected + bias.numpy(), rtol=1e-5, atol=1e-5)
    scaled = torch.addmm(bias, left, right, alpha=2, beta=3)
    np.testing.assert_allclose(
        scaled.numpy(), 2 * expected + 3 * bias.numpy(), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("bias", [True, False])
def test_products_of_float32_come_from_onednn(bias):
    from torch.profiler import profile

    with profile() as seen:
        torch.nn.functional.linear(numbers(2, 3, 7), numbers(9, 7), numbers(9) if bias else None)
    assert "mkldnn::_linear_pointwise" in {event.name for event in seen.events()}


def test_shapes_that_do_not_fit_are_refused_as_ever():
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        numbers(5, 7) @ numbers(6, 9)


def test_the_gradients_of_a_linear_layer_are_the_products_by_hand():
    states, weight, out = numbers(4, 7), numbers(3, 7, seed=1), numbers(4, 3, seed=2)
    states.requires_grad_(True)
    weight.requires_grad_(True)
    (torch.nn.functional.linear(states, weight) * out).sum().backward()
    torch.testing.assert_close(states.grad, torch.einsum("no,oi->ni", out, weight.detach()))
    torch.testing.assert_close(weight.grad, torch.einsum("no,ni->oi", out, states.detach()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_square_roots_are_rounded_correctly(dtype):
    values = numbers(1000, dtype=dtype).exp()
    for root in (values.sqrt(), values**0.5, values.clone().sqrt_()):
        assert root.dtype is dtype
        assert np.array_equal(root.numpy(), np.sqrt(values.numpy()))
    assert torch.tensor(2.0, dtype=dtype).sqrt().shape == ()
    assert torch.equal(values.reshape(2, 500).t().sqrt(), values.sqrt().reshape(2, 500).t())


def test_a_square_root_has_its_gradient_and_a_negative_number_none():
    values = torch.tensor([4.0, 16.0], requires_grad=True)
    values.sqrt().sum().backward()
    assert values.grad.tolist() == [0.25, 0.125]
    assert torch.tensor([-1.0]).sqrt().isnan().all()


def test_other_types_keep_their_square_root():
    assert torch.tensor([4], dtype=torch.int64).sqrt().tolist() == [2.0]
    assert torch.tensor([9.0], dtype=torch.bfloat16).sqrt().dtype is torch.bfloat16
