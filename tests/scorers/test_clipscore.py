"""CLIPScore gives the published formula that its variant names."""

import html

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from selma.core.devices import full_float32
from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.scorers.clipscore import CLIPSCORES, load_clipscore
from selma.scorers.prompt_rules import clean_prompt, prompt_tokenizer

PROMPTS = ("a red star", "two blue discs", "a cat", "a pig")
PIXELS = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
FORMULAS = {
    "cosine": ("", lambda cosine: cosine),
    "hessel": ("A photo depicts ", lambda cosine: 2.5 * max(cosine, 0)),
    "tifa": ("", lambda cosine: 100 * cosine),
    "torchmetrics": ("", lambda cosine: max(100 * cosine, 0)),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory, write_clip):
    directory = tmp_path_factory.mktemp("clip")
    return directory, write_clip(directory)


def own_cosines(model, tokenizer, prompts):
    """Give transformers' own cosines of the diagonal."""
    tokens = tokenizer(list(prompts), padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        out = model(**tokens, pixel_values=PIXELS[: len(prompts)])
        return (out.logits_per_image.diagonal() / model.logit_scale.exp()).tolist()


def test_every_variant_is_checked_here():
    assert set(FORMULAS) == set(CLIPSCORES)


@pytest.fixture(scope="module")
def opposite(tmp_path_factory, write_clip):
    """A folder of the same CLIP with the opposite picture features, so of the opposite cosines."""
    directory = tmp_path_factory.mktemp("opposite")
    write_clip(directory)
    path = directory / "model.safetensors"
    tensors = load_file(path)
    tensors["visual_projection.weight"] = -tensors["visual_projection.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    return directory


@pytest.mark.parametrize("variant", sorted(FORMULAS))
def test_a_variant_is_its_formula_of_the_models_cosines(variant, clip, opposite, tokenizer):
    directory, model = clip
    prefix, formula = FORMULAS[variant]
    cosines = own_cosines(model, tokenizer, [prefix + prompt for prompt in PROMPTS])
    assert len({cosine > 0 for cosine in cosines}) == 1
    for folder, sign in ((directory, 1), (opposite, -1)):
        scorer = load_clipscore(folder, variant)
        with torch.inference_mode():
            got = scorer.score(PIXELS, scorer.tokenize(PROMPTS)).tolist()
        np.testing.assert_allclose(got, [formula(sign * cosine) for cosine in cosines], atol=1e-4)
    assert scorer.about["version"] == variant
    assert (f"prefix {prefix!r}" in scorer.about["preprocessing"]) == bool(prefix)


def test_an_unknown_variant_is_named(clip):
    with pytest.raises(ConfigError, match="unknown CLIPScore variant 'clip'.*hessel"):
        load_clipscore(clip[0], "clip")


def test_a_cut_prompt_keeps_its_end_but_for_torchmetrics(clip, tokenizer):
    directory, model = clip
    long = "an owl on a big tree"  # 15 letters and start and end are one token too many
    ids = tokenizer([long])["input_ids"][0]
    assert len(ids) == 17
    kept = load_clipscore(directory, "cosine").tokenize([long, "a cat"])
    lost = load_clipscore(directory, "torchmetrics").tokenize([long, "a cat"])
    assert kept.truncated == lost.truncated == [True, False]
    assert kept.input_ids[0].tolist() == [*ids[:15], 53]
    assert lost.input_ids[0].tolist() == ids[:16]
    # Without an end token the tower takes the first position, which no word can reach.
    scorer = load_clipscore(directory, "torchmetrics")
    with torch.inference_mode():
        scores = scorer.score(PIXELS[:1].expand(2, -1, -1, -1), scorer.tokenize([long, long[::-1]]))
    assert scores[0] == scores[1]


def test_the_rules_differ_in_padding_and_mask(clip):
    tokens = {
        rule: prompt_tokenizer(clip[0], rule, prefix="", max_tokens=16, vocab_size=54, end_id=53)(
            ["ab"]
        )
        for rule in ("open_clip", "torchmetrics", "transformers")
    }
    ids = {rule: value.input_ids[0].tolist() for rule, value in tokens.items()}
    assert ids["open_clip"] == [52, 0, 27, 53] + [0] * 12
    assert ids["transformers"] == ids["torchmetrics"] == [52, 0, 27, 53] + [53] * 12
    assert tokens["open_clip"].attention_mask.min() == 1
    assert tokens["transformers"].attention_mask.sum() == 4


def test_the_transformers_rule_is_the_tokenizers_own_call(clip, tokenizer):
    prompts = [*PROMPTS, "", "an owl on a big tree in the rain"]
    tokenize = prompt_tokenizer(
        clip[0], "transformers", prefix="", max_tokens=16, vocab_size=54, end_id=53
    )
    own = tokenizer(
        prompts, padding="max_length", truncation=True, max_length=16, return_tensors="pt"
    )
    got = tokenize(prompts)
    assert torch.equal(got.input_ids, own["input_ids"])
    assert torch.equal(got.attention_mask, own["attention_mask"])


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("the word ‘openai’ on “robot brain”", "the word 'openai' on \"robot brain\""),
        ("a  cat \n on\ta mat ", "a cat on a mat"),
        ("salt &amp; pepper", "salt & pepper"),
        (html.escape(html.escape("a < b")), "a < b"),
        ("it&rsquo;s", "it's"),
        ("cafe\u0301 – 5€", "café – 5€"),
    ],
)
def test_a_prompt_is_cleaned_as_open_clip_does(prompt, expected):
    assert clean_prompt(prompt) == expected


def test_a_folder_without_its_tokenizer_is_refused(tmp_path, write_clip):
    write_clip(tmp_path)
    (tmp_path / "tokenizer.json").unlink()  # transformers then makes one up
    with pytest.raises(RecordError, match="tokens, the text tower 54"):
        load_clipscore(tmp_path, "tifa")
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(MissingDataError, match="tokenizer_config.json"):
        load_clipscore(tmp_path, "tifa")


def test_a_device_that_is_not_there_is_named(clip):
    with pytest.raises(ConfigError, match="unknown device 'gpu'"):
        load_clipscore(clip[0], "tifa", device="gpu")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ConfigError, match="no CUDA device"):
        load_clipscore(clip[0], "tifa", device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_device_gives_the_same_score(clip):
    scores = []
    for device in ("cpu", "cuda"):
        scorer = load_clipscore(clip[0], "tifa", device=device)
        with torch.inference_mode():
            scores.append(scorer.score(PIXELS, scorer.tokenize(PROMPTS)))
    torch.testing.assert_close(scores[0], scores[1], atol=1e-4, rtol=0)


def test_full_float32_is_set_and_taken_back():
    convolution, product = torch.backends.cudnn.conv, torch.backends.cuda.matmul
    before = convolution.fp32_precision, product.fp32_precision
    with full_float32():
        assert (convolution.fp32_precision, product.fp32_precision) == ("ieee", "ieee")
    assert (convolution.fp32_precision, product.fp32_precision) == before
