"""Training-free samplers: whom they leave alone, and what they do to the others."""

import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from selma.core.errors import ConfigError, MissingDependencyError
from selma.diffusion.attention import layers_with_rows, watched
from selma.diffusion.loading import load_backbone
from selma.diffusion.samplers.checks import check_sampler
from selma.diffusion.samplers.loading import SAMPLERS, make_sampler
from selma.diffusion.samplers.phrases import Phrase, load_phrases, phrase_tokens
from selma.diffusion.samplers.structure_diffusion import Copies, copies_of
from selma.diffusion.sampling import draw_batch
from selma.diffusion.steps import Step
from selma.diffusion.tiny import write_tiny_backbone
from selma.diffusion.tokens import Span

# diffusers' Euler scheduler with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")

FOUND = {"kind": "pocket", "model": None}
GUIDED = {"map_size": 4, "step_size": 20.0, "steps_share": 0.5}
REFINED = [{"at_share": 0.0, "attention": 0.9}, {"at_share": 0.25, "attention": 0.9}]
PARAMETERS = {
    "attend_and_excite": {**GUIDED, "refinements": REFINED, "iterations_max": 2},
    "structure_diffusion": {},
    "syngen": GUIDED,
}
# Of 16 tokens, a letter each. CLIP reads from left to right: a phrase at the start of a prompt has
# the states that it has alone, so each prompt has one elsewhere.
SPOKEN = ["red star big ring", "ring a red star", "star blue ring"]
UNSPOKEN = ["dog", "", "the sky at noon"]
HOW = {"guidance_scale": 3.0, "inference_steps": 4}
EVERY = pytest.mark.parametrize("kind", sorted(SAMPLERS))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samplers")
    for kind in ("sd1", "sdxl", "sd3"):
        write_tiny_backbone(kind, folder / kind)
    return folder


@pytest.fixture(params=["sd1", "sdxl"])
def backbone(folders, request):
    return load_backbone(str(folders / request.param), "float32", "cpu")


def sampler(backbone, kind, prompts=(), **changes):
    given = {**PARAMETERS[kind], **changes}
    return make_sampler(backbone, prompts, kind=kind, phrases=FOUND, **given)


def draw(backbone, prompts, take_step=None, *, batch_size=10, seeds=range(100), **changes):
    taken = {} if take_step is None else {"take_step": take_step}
    both = list(zip(prompts, seeds, strict=False))
    batches = [both[k : k + batch_size] for k in range(0, len(both), batch_size)]
    drawn = [
        draw_batch(*zip(*batch, strict=True), backbone, **{**HOW, **changes}, **taken)
        for batch in batches
    ]
    return np.concatenate(drawn)


def levels_apart(one, other):
    """The largest difference of each picture's 256 levels."""
    pair = [np.round(pixels * 255).astype(int) for pixels in (one, other)]
    return np.abs(pair[0] - pair[1]).max(axis=(1, 2, 3))


@EVERY
def test_prompts_without_a_phrase_are_drawn_plainly_to_the_byte(backbone, kind):
    plain = draw(backbone, UNSPOKEN)
    assert np.array_equal(draw(backbone, UNSPOKEN, sampler(backbone, kind)), plain)


@EVERY
def test_pictures_with_phrases_change_and_those_beside_them_do_not(backbone, kind):
    prompts = [SPOKEN[0], *UNSPOKEN, *SPOKEN[1:]]
    plain, other = draw(backbone, prompts), draw(backbone, prompts, sampler(backbone, kind))
    assert [np.array_equal(*pair) for pair in zip(plain, other, strict=True)] == [
        prompt in UNSPOKEN for prompt in prompts
    ]
    assert np.array_equal(draw(backbone, prompts, sampler(backbone, kind)), other)


@EVERY
def test_a_picture_does_not_depend_on_its_batch_or_place(backbone, kind):
    prompts = [*SPOKEN, "dog"]
    together = draw(backbone, prompts, sampler(backbone, kind))
    alone = draw(backbone, prompts, sampler(backbone, kind), batch_size=1)
    backwards = draw(backbone, prompts[::-1], sampler(backbone, kind), seeds=[3, 2, 1, 0])[::-1]
    assert levels_apart(together, alone).max() <= 1
    assert levels_apart(together, backwards).max() <= 1


@EVERY
def test_a_sampler_also_draws_without_guidance_and_leaves_the_model_as_it_was(backbone, kind):
    processors = dict(backbone.denoiser.attn_processors)
    plain = draw(backbone, SPOKEN, guidance_scale=1.0)
    other = draw(backbone, SPOKEN, sampler(backbone, kind), guidance_scale=1.0)
    assert not np.array_equal(other, plain)
    assert np.array_equal(draw(backbone, SPOKEN, guidance_scale=1.0), plain)
    after = backbone.denoiser.attn_processors
    assert all(after[name] is one for name, one in processors.items())


def a_step(backbone, prompts, number=0):
    """A step whose next latents are those that the model was asked about."""
    trajectory = backbone.trajectory(4)
    timestep = trajectory.timesteps[number]
    conditions = backbone.encode_prompts(prompts)
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(len(prompts), *backbone.latent_shape, generator=generator)

    def ask(latents, rows):
        own = {name: values[list(rows)] for name, values in conditions.items()}
        return backbone.predict(trajectory.seen(latents, timestep), timestep, own)

    return Step(
        number, 4, timestep, prompts, latents, predict=lambda seen: seen, ask=ask,
        follow=lambda prediction, latents: prediction,
    )  # fmt: skip


def maps_of(backbone, step, latents, row, rows=4):
    with watched(backbone.denoiser, layers_with_rows(backbone.denoiser, rows)) as maps:
        step.ask(latents, (row,))
    return torch.cat([one[0] for one in maps.values()]).mean(0).T  # (tokens, cells)


def by_torch(seen, modifier, noun, others):
    """SynGen's loss of one pair of words, by torch's own divergences."""
    from torch.distributions import Categorical, kl_divergence

    def apart(one, other):
        p, q = (Categorical(probs=seen[token]) for token in (one, other))
        return (kl_divergence(p, q) + kl_divergence(q, p)) / 2

    def furthest(one, other):
        return torch.stack([apart(i, j) for i, j in itertools.product(one, other)]).max()

    away = [furthest(word, [token]) for token in others for word in (modifier, noun)]
    return furthest(modifier, noun) - torch.stack(away).mean()


def test_syngen_goes_along_the_gradient_of_each_pictures_own_loss(backbone):
    step = a_step(backbone, ["a red heart", "dog", "a blue cross"])
    moved = sampler(backbone, "syngen", step_size=7.0)(step)
    for row, tokens in ((0, ((2, 3, 4), range(5, 10))), (2, ((2, 3, 4, 5), range(6, 11)))):
        own = step.latents[row : row + 1].clone().requires_grad_()
        loss = by_torch(maps_of(backbone, step, own, row), *tokens, [1])
        (gradient,) = torch.autograd.grad(loss, own)
        expected = step.latents[row] - 7.0 * gradient[0]
        torch.testing.assert_close(moved[row], expected, rtol=1e-3, atol=1e-4)
        assert not torch.equal(moved[row], step.latents[row])
    assert torch.equal(moved[1], step.latents[1])


@pytest.mark.parametrize("kind", ["syngen", "attend_and_excite"])
def test_only_the_first_share_of_the_steps_is_guided(backbone, kind):
    guided = sampler(backbone, kind)
    for number in range(4):
        step = a_step(backbone, ["a red heart"], number)
        assert torch.equal(guided(step), step.latents) is (number >= 2)
    never = sampler(backbone, kind, steps_share=0.0)
    assert np.array_equal(draw(backbone, SPOKEN, never), draw(backbone, SPOKEN))


def test_attend_and_excite_refines_until_each_picture_is_there_and_no_longer(backbone):
    """A picture that has enough from the start goes one step; the other, iterations_max more."""
    step = a_step(backbone, ["a red heart", "a blue cross"])
    parts = {"refinements": [], "step_size": 1.0}
    guided = sampler(backbone, "attend_and_excite", **parts)
    found = guided.gaze.look(step, step.latents, [0, 1], [guided._loss(p) for p in step.prompts])
    losses, gradient = found
    once = guided(step)
    torch.testing.assert_close(once, step.latents - gradient)
    between = 1 - float(losses.mean())
    wanted = [{"at_share": 0.0, "attention": between}]
    refined = sampler(
        backbone, "attend_and_excite", **{**parts, "refinements": wanted, "iterations_max": 1}
    )(step)
    again = guided(replace(step, latents=once))
    less, more = (0, 1) if losses[0] < losses[1] else (1, 0)
    torch.testing.assert_close(refined[less], once[less])
    torch.testing.assert_close(refined[more], again[more], rtol=1e-4, atol=1e-5)


def test_a_step_of_attend_and_excite_shrinks_with_the_root_of_a_straight_line(backbone):
    sizes = []
    for number in (0, 1):
        step = a_step(backbone, ["a red heart"], number)
        own = {"refinements": [], "steps_share": 1.0, "step_size": 2.0}
        guided = sampler(backbone, "attend_and_excite", **own)
        loss = guided._loss("a red heart")
        _, gradient = guided.gaze.look(step, step.latents, [0], [loss])
        moved = step.latents - guided(step)
        sizes.append(float(moved.norm() / gradient.norm()))
    assert sizes == pytest.approx([2.0, 2.0 * (1 - 1 / 6) ** 0.5], rel=1e-3)


def test_a_copy_has_a_phrases_states_in_its_place_alone():
    whole = torch.arange(6.0)[:, None]
    phrase = 10 + torch.arange(6.0)[:, None]
    found = copies_of(whole, [(phrase, [(2, 3)]), (phrase + 10, [(1,), (4, 5)])])
    assert found[..., 0].tolist() == [
        [0, 1, 2, 3, 4, 5],
        [0, 1, 11, 12, 4, 5],
        [0, 21, 2, 3, 4, 5],
        [0, 1, 2, 3, 21, 22],
    ]


def test_an_attentions_output_is_the_mean_over_copies_with_the_prompts_keys(backbone):
    """One key, several values: computed copy by copy, beside a picture without any."""
    name = layers_with_rows(backbone.denoiser, 4)[0]
    module = backbone.denoiser.get_submodule(name)
    generator = torch.Generator().manual_seed(2)
    text = torch.randn(4, 5, module.to_k.in_features, generator=generator)  # 2 silent, 2 prompts
    hidden = torch.randn(4, 6, module.to_q.in_features, generator=generator)
    states = torch.stack([text[3], *torch.randn(2, *text.shape[1:], generator=generator)])
    copies = Copies(2, (1,), (3,), states)
    own = module.to_v.forward
    with torch.no_grad():
        plain = module(hidden, encoder_hidden_states=text)
        module.to_v.forward = copies.averaged(own, module.to_v)
        found = module(hidden, encoder_hidden_states=text)
        del module.to_v.forward
        query, key = module.to_q(hidden[3:]), module.to_k(text[3:])
        query, key = (x.unflatten(-1, (module.heads, -1)).transpose(1, 2) for x in (query, key))
        seen = (query @ key.transpose(-1, -2) * module.scale).softmax(-1)
        outputs = []
        for copy in states:
            values = module.to_v(copy[None]).unflatten(-1, (module.heads, -1)).transpose(1, 2)
            outputs.append(module.to_out[0]((seen @ values).transpose(1, 2).flatten(2)))
    assert torch.equal(found[:3], plain[:3])
    torch.testing.assert_close(found[3:], torch.stack(outputs).mean(0), rtol=1e-4, atol=1e-5)


def test_structure_diffusion_reads_phrases_of_several_words_that_are_not_all(backbone):
    """“red star” and “big ring” of one prompt; “a red heart” is the whole of another."""
    reading = sampler(backbone, "structure_diffusion")
    copies = reading._read(("red star big ring", "dog", "a red heart"))
    assert (copies.pictures, copies.rows, copies.numbers) == (3, (0,), (3,))
    texts = ["red star big ring", "red star", "big ring"]
    whole, first, second = backbone.encode_prompts(texts)["text"]
    expected = copies_of(whole, [(first, [range(1, 8)]), (second, [range(8, 15)])])
    torch.testing.assert_close(copies.states, expected)


def test_what_a_long_prompt_loses_is_no_phrase(backbone):
    """Of 14 letters that are read, “a blue ring” has the last one; “the star” has none."""
    tokenizer = backbone.encoders[0].tokenizer
    text = "long beige words blue ring the star"
    phrases = load_phrases(**FOUND)(text)
    assert [text[one.noun.start : one.noun.end] for one in phrases] == ["ring", "star"]
    assert phrase_tokens(tokenizer, text, phrases) == []
    whole = Phrase(Span(0, 10), Span(5, 10), (Span(0, 4), Span(11, 16)))
    (found,) = phrase_tokens(tokenizer, text, [whole])
    assert found.modifiers == ((1, 2, 3, 4), (10, 11, 12, 13, 14))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "syngn"}, "unknown sampler 'syngn' .did you mean 'syngen'.*; choose one of: att"),
        ({"map_size": 5}, r"map_size: no cross-attention of the U-Net has maps of 5 rows; choose"),
        ({"phrases": {"kind": "stanza", "model": None}}, "unknown grammar of phrases 'stanza'; ch"),
        ({"phrases": {"kind": "pocket", "model": "x"}}, "'pocket' is a grammar without a model"),
        ({"phrases": {"kind": "spacy", "model": None}}, "'spacy' needs the name of a pipeline"),
    ],
)
def test_a_wrong_sampler_is_one_line(folders, changes, words):
    backbone = load_backbone(str(folders / "sd1"), "float32", "cpu")
    given = {"kind": "syngen", "phrases": FOUND, **GUIDED, **changes}
    with pytest.raises(ConfigError, match=words) as caught:
        make_sampler(backbone, SPOKEN, **given)
    assert "\n" not in str(caught.value)
    if "kind" not in changes:
        with pytest.raises(ConfigError, match=words):
            check_sampler(folders / "sd1", **given)


@EVERY
def test_a_family_without_cross_attention_is_refused_by_name(folders, kind):
    backbone = load_backbone(str(folders / "sd3"), "float32", "cpu")
    words = f"sampler '{kind}' needs a U-Net with cross-attention.*StableDiffusion3 has none"
    check = partial(check_sampler, folders / "sd3", kind=kind, phrases=FOUND, **PARAMETERS[kind])
    for refused in (partial(sampler, backbone, kind), check):
        with pytest.raises(ConfigError, match=words):
            refused()
    check_sampler(folders / "not there", kind=kind, phrases=FOUND, **PARAMETERS[kind])


def test_spacy_that_is_not_installed_is_one_line_with_what_to_do():
    with pytest.raises(MissingDependencyError, match="spacy download en_core_web_none"):
        load_phrases("spacy", "en_core_web_none")
