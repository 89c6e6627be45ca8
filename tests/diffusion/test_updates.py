"""Updates are added to a backbone's weights for a while, and taken off without a trace."""

import pytest
import torch

from selma.core.errors import AdapterMismatchError
from selma.diffusion.loading import with_updates

DTYPES = (torch.float32, torch.bfloat16)


@pytest.fixture(params=DTYPES, ids=str)
def network(request):
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Conv2d(2, 3, 3))
    return layers.to(request.param).requires_grad_(False)


def updates(*names, size=0.3):
    shapes = {"unet.0": (4, 5), "unet.1": (3, 2, 3, 3)}
    generator = torch.Generator().manual_seed(1)
    return [(n, size * torch.randn(shapes[n], generator=generator).double()) for n in names]


def test_weights_hold_the_update_meanwhile_and_are_the_same_bits_afterwards(network):
    before = [parameter.clone() for parameter in network.parameters()]
    given = updates("unet.0", "unet.1")
    with with_updates({"unet": network}, iter(given), "mine"):
        for (_, update), layer, weight in zip(given, network, before[::2], strict=True):
            expected = (weight.double() + update).to(weight.dtype)
            assert torch.equal(layer.weight, expected)
    assert all(map(torch.equal, network.parameters(), before))


def test_what_fails_meanwhile_or_an_update_that_does_not_fit_leaves_the_weights_as_they_were(
    network,
):
    before = [parameter.clone() for parameter in network.parameters()]
    with pytest.raises(KeyError), with_updates({"unet": network}, updates("unet.0"), "mine"):
        raise KeyError
    wrong = [*updates("unet.0"), ("unet.2", torch.zeros(2, 2))]
    with (
        pytest.raises(AdapterMismatchError, match=r"mine: unet\.2: the base model has no such"),
        with_updates({"unet": network}, wrong, "mine"),
    ):
        pass
    assert all(map(torch.equal, network.parameters(), before))


def test_a_layer_that_is_updated_twice_goes_back_to_its_first_weights(network):
    before = network[0].weight.clone()
    with with_updates({"unet": network}, updates("unet.0") * 2, "mine"):
        assert not torch.equal(network[0].weight, before)
    assert torch.equal(network[0].weight, before)
