"""Tests of the preference scorers' training: tiny sets, few steps."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from selma.core.errors import ConfigError
from selma.foundation.params import ScorerParams
from selma.foundation.preference_pairs import PreferenceSet, build_preference_set
from selma.foundation.scorer_files import Lesson, build_scorer, make_scorer, save_scorer
from selma.foundation.scorer_models import RewardScorer, to_pixels, tokenize
from selma.foundation.scorers import (
    pair_accuracies,
    pairs_of,
    pictures_of,
    preference_loss_at,
    wilson,
)

NAMES = ("hps", "imagereward", "pickscore")
TEXTS = ["a red circle", "two blue stars on a white background", "a pink ring above a green heart"]
PLAN = ScorerParams(
    twins=6,
    rankings=6,
    held_out_rankings=4,
    pretrain_steps=4,
    pretrain_learning_rate=1e-3,
    train_steps=3,
    learning_rate=1e-3,
    batch_size=3,
    checkpoint_every_steps=2,
)


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import CLIPTokenizer

    alphabet = [chr(code) for code in range(33, 127)]
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet), "re", "red</w>"]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=[("r", "e"), ("re", "d</w>")],
    )


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def two_threads():
    """The foundation's own number: with two, gradients could be summed in any order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def _make(name, tokenizer, folder, plan=PLAN):
    scorer, accuracies, losses = make_scorer(
        name, tokenizer, frozenset(), plan, seed=1, work=folder / "work"
    )
    save_scorer(scorer, tokenizer, folder / name)
    return folder / name, accuracies, losses


def _bytes(folder: Path):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_files(name, tokenizer, tmp_path):
    first, accuracies, losses = _make(name, tokenizer, tmp_path / "a")
    second, *others = _make(name, tokenizer, tmp_path / "b")
    assert _bytes(first) == _bytes(second)
    assert [accuracies, losses] == others
    overall = accuracies["overall"]
    assert overall.n >= 4
    assert overall.low <= overall.accuracy <= overall.high


class _StoppedError(Exception):
    pass


class _Stopping:
    """A scorer that stops the process, so to speak, when it has been asked `calls` times."""

    def __init__(self, scorer, calls):
        self.scorer, self.calls = scorer, itertools.count(calls, -1)

    @property
    def feature_width(self):
        return self.scorer.feature_width

    def parameters(self):
        return self.scorer.parameters()

    def pretraining_loss(self, *batch):
        return self._unless_stopped(self.scorer.pretraining_loss, *batch)

    def scores(self, *batch):
        return self._unless_stopped(self.scorer.scores, *batch)

    def _unless_stopped(self, function, *batch):
        if next(self.calls) == 0:
            raise _StoppedError
        return function(*batch)


def _train(name, tokenizer, work, stop_after=10**6):
    rankings = build_preference_set(0, name, "train", 6, frozenset(), lambda number: None)
    tokens = tokenize(tokenizer, rankings.prompts)
    scorer = build_scorer(name, tokenizer, 1)
    stopping = _Stopping(scorer, stop_after)
    lesson = Lesson(name, stopping, tokenizer, PLAN, 1, work)
    losses = lesson.pretrain(frozenset()) + lesson.train_on_rankings(rankings, tokens)
    return losses, {key: value.detach() for key, value in scorer.parameters().items()}


@pytest.mark.parametrize("name", ["imagereward", "pickscore"])
def test_a_training_that_was_stopped_ends_in_the_same_weights(name, tokenizer, tmp_path):
    import torch

    losses, weights = _train(name, tokenizer, tmp_path / "whole")
    for steps in (3, 6):  # in the middle of either phase
        with pytest.raises(_StoppedError):
            _train(name, tokenizer, tmp_path / str(steps), stop_after=steps)
        resumed_losses, resumed = _train(name, tokenizer, tmp_path / str(steps))
        assert resumed_losses == losses
        assert all(torch.equal(resumed[key], weights[key]) for key in weights)


def test_stock_transformers_loads_a_saved_clip_and_scores_the_same(tokenizer, pictures, tmp_path):
    import torch
    from transformers import AutoTokenizer, CLIPModel

    scorer = build_scorer("pickscore", tokenizer, 3)
    save_scorer(scorer, tokenizer, tmp_path / "clip")
    clip = CLIPModel.from_pretrained(tmp_path / "clip").eval()
    stock = AutoTokenizer.from_pretrained(tmp_path / "clip")
    batch = stock(TEXTS, padding=True, return_tensors="pt")
    tokens = tokenize(tokenizer, TEXTS)
    with torch.inference_mode():
        logits = clip(pixel_values=to_pixels(pictures), **batch).logits_per_image.diagonal()
        own = scorer.scores(to_pixels(pictures), tokens.ids, tokens.mask, np.arange(3))
    torch.testing.assert_close(logits, own, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "factor"), [("pickscore", 1.0), ("hps", None), ("imagereward", 1)]
)
def test_the_evaluation_loads_a_saved_scorer_and_scores_the_same(
    name, factor, tokenizer, pictures, tmp_path
):
    import torch

    from selma.scorers.preference import SCORERS

    scorer = build_scorer(name, tokenizer, 3)
    if isinstance(scorer, RewardScorer):
        scorer.model.set_scale(2.0, 0.5)
    save_scorer(scorer, tokenizer, tmp_path / name)
    loaded = SCORERS[name](tmp_path / name, "pocket")
    tokens = tokenize(tokenizer, TEXTS)
    with torch.inference_mode():
        own = scorer.scores(to_pixels(pictures), tokens.ids, tokens.mask, np.arange(3))
        if isinstance(scorer, RewardScorer):
            own = (own - 2.0) / 0.5
        elif factor is None:
            own = 100 * own / scorer.clip.logit_scale.exp()
        scores = loaded.score(to_pixels(pictures), loaded.tokenize(TEXTS))
    torch.testing.assert_close(scores, own, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_score_does_not_depend_on_what_else_is_in_the_batch(name, tokenizer, pictures):
    import torch

    scorer = build_scorer(name, tokenizer, 3)
    tokens = tokenize(tokenizer, TEXTS)
    with torch.inference_mode():
        together = scorer.scores(to_pixels(pictures), tokens.ids, tokens.mask, np.arange(3))
        alone = scorer.scores(to_pixels(pictures[1:2]), *tokens.rows(np.array([1])), np.array([0]))
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-4)


def test_the_reward_models_pretraining_compares_own_picture_with_others(tokenizer):
    import torch

    scorer = build_scorer("imagereward", tokenizer, 3)
    texts = [*TEXTS, "a green star"]
    tokens = tokenize(tokenizer, texts)
    generator = np.random.default_rng(0)
    pixels = to_pixels(generator.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8))
    with torch.inference_mode():
        out = scorer.pretraining_loss(pixels, tokens.ids, tokens.mask)
        scores = torch.stack(
            [scorer.scores(pixels, tokens.ids, tokens.mask, np.array([k] * 4)) for k in range(4)]
        )
        network = scorer.model.network
        seen = network["vision"](pixel_values=pixels).last_hidden_state[:, 0]
        read = [
            network["text"](input_ids=tokens.rows(np.array([k]))[0], is_decoder=False)
            for k in range(4)
        ]
    read = torch.stack([one.last_hidden_state[0, 0] for one in read])
    logits = torch.nn.functional.cosine_similarity(seen[:, None], read[None], dim=2) / 0.07
    rows, columns = torch.log_softmax(logits, dim=1), torch.log_softmax(logits, dim=0)
    contrasted = -(rows.diagonal().mean() + columns.diagonal().mean()) / 2
    assert out.patches.shape == (4, 64, 96)
    torch.testing.assert_close(out.pictures, seen)
    torch.testing.assert_close(out.captions, read)
    compared = [[0, 1, 2], [1, 0, 3], [2, 3, 0], [3, 2, 1]]  # own picture, twin and stranger
    own = [torch.log_softmax(scores[k][compared[k]], dim=0)[0] for k in range(4)]
    torch.testing.assert_close(out.loss, contrasted - torch.stack(own).mean())


class _FixedScorer:
    """Scores the pictures of a set of two rankings as told."""

    def __init__(self, scores):
        self.fixed = scores

    def scores(self, pixels, ids, mask, text_of):
        return self.fixed


def _two_rankings(ranks):
    pictures = np.zeros((5, 32, 32, 3), np.uint8)
    kinds = ("", "noisy", "", "colour", "swap")
    return PreferenceSet(("a", "b"), pictures, np.array([0, 2, 5]), np.array(ranks), kinds)


def test_the_preference_loss_is_the_cross_entropy_of_the_annotators_choice(tokenizer):
    import torch

    rankings = _two_rankings([0, 0, 0, 2, 1])  # a tie; then the last two have changed places
    tokens = tokenize(tokenizer, rankings.prompts)
    scorer = _FixedScorer(torch.tensor([1.0, 0.0, 3.0, 2.0, 0.0]))
    chosen = [0, 1]
    seed = next(
        s
        for s in range(100)
        if list(np.random.default_rng(_seed_of_first_batch(s)).choice(2, 2, replace=False))
        == chosen
    )
    loss = preference_loss_at(scorer, rankings, tokens, batch_size=2, seed=seed)(0)
    sigmoid = torch.sigmoid(torch.tensor([1.0, -1.0, 1.0, 3.0, -2.0]))
    tie = -0.5 * (sigmoid[0].log() + sigmoid[1].log())
    expected = (tie - sigmoid[2].log() - sigmoid[3].log() - sigmoid[4].log()) / 4
    torch.testing.assert_close(loss, expected)


def _seed_of_first_batch(seed):
    from selma.core.seeds import derive_seed

    return derive_seed(seed, "scorer-batch", "rankings", 0)


def test_pairs_are_made_within_a_ranking_only():
    rows, text_of = pictures_of(_two_rankings([0, 1, 0, 1, 2]), np.array([1, 0]))
    assert rows.tolist() == [2, 3, 4, 0, 1]
    first, second = pairs_of(text_of)
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    assert pairs == [(0, 1), (0, 2), (1, 2), (3, 4)]


def test_accuracy_counts_truly_ordered_pairs_and_a_tie_is_wrong():
    accuracies = pair_accuracies(
        _two_rankings([1, 0, 2, 1, 0]), np.array([1.0, 1.0, 3.0, 2.0, 2.5])
    )
    assert {kind: (a.n, a.accuracy) for kind, a in accuracies.items()} == {
        "colour": (1, 1.0),
        "noisy": (1, 0.0),
        "overall": (4, 0.5),
        "swap": (1, 0.0),
    }


def test_wilsons_interval_of_nine_in_ten():
    interval = wilson(9, 10)
    assert interval.low == pytest.approx(0.5958, abs=1e-4)
    assert interval.high == pytest.approx(0.9821, abs=1e-4)


def test_an_unknown_scorer_is_an_error(tokenizer):
    with pytest.raises(ConfigError, match="unknown preference scorer 'clip'"):
        build_scorer("clip", tokenizer, 0)


@pytest.mark.parametrize("right", [0, 1])
def test_a_share_of_none_or_all_lies_in_its_interval(right):
    found = [wilson(right * n, n) for n in range(1, 200)]
    assert all(one.low <= one.accuracy == right <= one.high for one in found)
