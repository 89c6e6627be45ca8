"""What the samplers follow, on maps of a few cells that can be reckoned by hand."""

import itertools
import math

import pytest
import torch

from selma.diffusion.samplers.attend_and_excite import neglect_loss, smoothed
from selma.diffusion.samplers.phrases import TokenPhrase
from selma.diffusion.samplers.syngen import binding_loss, divergences

LEFT, RIGHT = (0.75, 0.25), (0.25, 0.75)
APART = 0.5 * math.log(3)  # ½ [KL + KL] of them: (0.75 − 0.25) · ln 3 each


def maps(*rows):
    """Maps of one row of cells; the first is the start token's."""
    return torch.tensor(rows)[:, None]


def group(noun, *modifiers):
    return TokenPhrase((), noun, modifiers)


def test_the_divergence_of_two_maps_is_the_mean_of_both_directions():
    found = divergences(torch.tensor([LEFT, RIGHT, (0.5, 0.5)]))
    half = 0.125 * math.log(3)  # ½ Σ (p − q)(ln p − ln q), p of a quarter and three, q even
    expected = [[0, APART, half], [APART, 0, half], [half, half, 0]]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_divergences_are_those_of_torchs_distributions_whatever_the_maps_sums():
    from torch.distributions import Categorical, kl_divergence

    seen = torch.rand(5, 9, generator=torch.Generator().manual_seed(0)) * torch.rand(5, 1) * 7
    found = divergences(seen)
    for one, other in itertools.product(range(5), repeat=2):
        p, q = Categorical(probs=seen[one]), Categorical(probs=seen[other])
        expected = (kl_divergence(p, q) + kl_divergence(q, p)) / 2
        torch.testing.assert_close(found[one, other], expected, rtol=1e-4, atol=1e-6)


def test_a_map_of_nothing_in_a_cell_is_no_infinity():
    found = divergences(torch.tensor([(1.0, 0.0), (0.0, 1.0)]))
    assert found.isfinite().all() and float(found[0, 1]) > 10


def test_a_modifier_is_drawn_to_its_noun_and_both_from_other_words():
    """Tokens 1, 2: modifier and noun, apart; 3 is another word that looks where 1 does."""
    seen = maps((0.9, 0.1), LEFT, RIGHT, LEFT)
    loss = binding_loss(seen, [group((2,), (1,))], range(1, 4))
    assert float(loss) == pytest.approx(APART - (0 + APART) / 2)


def test_without_other_words_only_the_pair_counts():
    seen = maps((0.9, 0.1), LEFT, RIGHT, (0.3, 0.7))  # the last is padding
    assert float(binding_loss(seen, [group((2,), (1,))], range(1, 3))) == pytest.approx(APART)


def test_other_words_are_averaged_and_groups_and_pairs_are_added():
    """Two groups, (1 | 2) and (3, 4 | 5): each pair is pushed from the other group's words."""
    seen = maps((0.9, 0.1), LEFT, LEFT, RIGHT, RIGHT, LEFT)
    loss = binding_loss(seen, [group((2,), (1,)), group((5,), (3,), (4,))], range(1, 6))
    first = 0 - (APART + APART + 0) / 3  # of 1 from 3, 4, 5; the same for 2: their mean is that
    each = APART - ((APART + APART) / 2 + 0) / 2  # of 3 or 4 from 1, 2; 5 is where they are
    assert float(loss) == pytest.approx(first + 2 * each)


def test_of_a_word_of_several_tokens_the_furthest_counts():
    """A modifier of tokens 1, 2, of which 1 looks where the noun 3 does; 4 is another word."""
    seen = maps((0.9, 0.1), LEFT, RIGHT, LEFT, RIGHT)
    loss = binding_loss(seen, [group((3,), (1, 2))], range(1, 5))
    assert float(loss) == pytest.approx(APART - (APART + APART) / 2)


def test_going_along_the_gradient_brings_a_modifier_to_its_noun():
    seen = torch.rand(4, 2, 2, generator=torch.Generator().manual_seed(1)).requires_grad_()
    pair = [group((2,), (1,))]
    (gradient,) = torch.autograd.grad(binding_loss(seen, pair, range(1, 4)), seen)
    moved = seen.detach() - 1e-3 * gradient
    assert binding_loss(moved, pair, range(1, 4)) < binding_loss(seen, pair, range(1, 4))
    assert gradient[0].abs().max() == 0  # the start token plays no part


def kernel():
    side = math.exp(-1)
    return side / (1 + 2 * side), 1 / (1 + 2 * side)


def test_a_map_is_smoothed_over_its_neighbours_and_mirrored_at_the_border():
    side, middle = kernel()
    one = torch.zeros(1, 3, 3)
    one[0, 1, 1] = 1.0
    corner, edge = 4 * side * side, 2 * side * middle  # mirrored: the middle is there four times
    expected = [[corner, edge, corner], [edge, middle**2, edge], [corner, edge, corner]]
    torch.testing.assert_close(smoothed(one)[0], torch.tensor(expected))
    torch.testing.assert_close(smoothed(torch.ones(2, 4, 5)), torch.ones(2, 4, 5))


def test_the_least_seen_noun_counts_by_its_strongest_cell():
    """Token 1 has the middle cell alone and token 2 all others; 0 and 3 are left out."""
    side, middle = kernel()
    seen = torch.zeros(4, 3, 3)
    seen[2] = 1.0
    seen[1, 1, 1], seen[2, 1, 1] = 1.0, 0.0
    seen[[0, 3]] = 9.0
    one, other = 1 - middle**2, 4 * side * side  # of 2 a corner sees all but the mirrored middle
    assert float(neglect_loss(seen, [1])) == pytest.approx(one)
    assert float(neglect_loss(seen, [2])) == pytest.approx(other)
    assert float(neglect_loss(seen, [1, 2])) == pytest.approx(max(one, other))


def test_attention_is_shared_out_sharply_among_the_words():
    """Equal attention is halved; a hundredth more is e times as much."""
    seen = torch.full((4, 3, 3), 0.2)
    assert float(neglect_loss(seen, [1])) == pytest.approx(0.5)
    seen[1] += 0.01
    assert float(neglect_loss(seen, [1])) == pytest.approx(1 / (1 + math.e))
