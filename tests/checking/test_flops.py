"""The published figures of what a picture and a training sample cost, from configs alone."""

import pytest

from bench.backbones import UNETS, VAE
from selma.checking.flops import count_costs


@pytest.mark.parametrize(
    ("unet", "predict", "train", "encode", "decode"),
    [
        ("sd14", 0.803, 1.82, 1.117, 2.515),
        ("sd2", 2.149, 5.12, 2.609, 5.754),
        ("sdxl", 6.761, 15.05, 4.879, 10.470),
    ],
    ids=["SD1.4 at 512", "SD2 at 768", "SDXL at 1024"],
)
def test_a_models_costs_are_the_published_ones(unet, predict, train, encode, decode):
    costs = count_costs(UNETS[unet], VAE, rank=128)
    found = [count / 1e12 for count in (costs.predict, costs.train, costs.encode, costs.decode)]
    assert found == pytest.approx([predict, train, encode, decode], rel=0.01)


def test_each_token_of_the_prompt_costs_its_keys_and_values_and_its_products_with_the_picture():
    short, long = (count_costs(UNETS["sd14"], VAE, 4, tokens=n).predict for n in (16, 77))
    blocks = [(5, 320, 64), (5, 640, 32), (5, 1280, 16), (1, 1280, 8)]  # number, width, side
    expected = sum(n * (4 * 768 * width + 4 * side**2 * width) for n, width, side in blocks)
    assert long - short == (77 - 16) * expected
