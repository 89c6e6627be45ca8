"""A CLIP of open_clip's form scores the same after its weights were renamed."""

import argparse
import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPConfig, CLIPModel

from selma.commands.convert import add_parser
from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.scorers.layouts.conversion import convert_hps, read_checkpoint
from selma.scorers.layouts.open_clip import HEADS, to_clip
from selma.scorers.preference import load_hps

PROMPTS = ["a cat", "two red discs", "", "an owl on a very big tree"]  # the last one is cut
VISION_HEAD_WIDTHS = [64, 64, 64, 80, 88, 104]  # open_clip's model files: B-32, B-16, L, H, g, bigG


@pytest.fixture(scope="module")
def converted(tmp_path_factory, write_hps):
    directory = tmp_path_factory.mktemp("hps") / "v2.1"
    return directory, write_hps(directory, "v2.1")


@pytest.fixture
def weights(make_open_clip):
    return dict(make_open_clip().state_dict())


def spelled(prompt, length=16):
    """Give open_clip's ids of a lower-case prompt: start, a token a letter, end, then zeros."""
    ids = [52]
    for word in prompt.split():
        ids += [ord(letter) - ord("a") for letter in word[:-1]]
        ids.append(26 + ord(word[-1]) - ord("a"))
    ids.append(53)
    ids = ids if len(ids) <= length else [*ids[: length - 1], 53]
    return ids + [0] * (length - len(ids))


def test_scores_are_those_of_the_original_mathematics(converted):
    directory, model = converted
    scorer = load_hps(directory, "v2.1")
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    tokens = scorer.tokenize(PROMPTS)
    ids = torch.tensor([spelled(prompt) for prompt in PROMPTS])
    assert torch.equal(tokens.input_ids, ids)
    assert tokens.truncated == [False, False, False, True]
    with torch.inference_mode():
        expected = model.cosines(pixels, ids)
        got = scorer.score(pixels, tokens) / 100
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    assert expected.std() > 0.01


def test_what_follows_the_end_of_a_prompt_does_not_matter(converted):
    scorer = load_hps(converted[0], "v2.1")
    tokens = scorer.tokenize(["a cat"])
    pixels = torch.zeros(1, 3, 32, 32)
    with torch.inference_mode():
        plain = scorer.score(pixels, tokens)
        tokens.input_ids[0, 7:] = 5
        torch.testing.assert_close(scorer.score(pixels, tokens), plain)
        tokens.input_ids[0, 1] = 5
        assert not torch.allclose(scorer.score(pixels, tokens), plain)


@pytest.mark.parametrize(
    ("activation", "function"),
    [("gelu", nn.functional.gelu), ("quick_gelu", lambda x: x * torch.sigmoid(1.702 * x))],
)
def test_each_activation_is_that_of_its_name(activation, function, make_open_clip, open_clip_heads):
    model = make_open_clip(function)
    settings, tensors = to_clip(
        model.state_dict(), activation=activation, heads=open_clip_heads, where="x"
    )
    clip = CLIPModel(CLIPConfig(**settings)).eval()
    clip.load_state_dict(tensors, strict=True)
    ids = torch.tensor([spelled(prompt) for prompt in PROMPTS])
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = clip(pixel_values=pixels, input_ids=ids).logits_per_image.diagonal()
        expected = model.logit_scale.exp() * model.cosines(pixels, ids)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    with pytest.raises(ConfigError, match="unknown activation 'relu'"):
        to_clip(model.state_dict(), activation="relu", heads=open_clip_heads, where="x")


KEY = "visual.transformer.resblocks.1.attn.in_proj_bias"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop(KEY), f"f.pt: tensors 1 missing: {KEY}"),
        (lambda w: w.pop("text_projection"), "f.pt: tensor text_projection is missing"),
        (lambda w: w.update(surprise=w["ln_final.bias"]), "f.pt: tensors 1 unexpected: surprise"),
        (
            lambda w: w.update(renamed=w.pop(KEY)),
            f"1 missing: {KEY}; 1 unexpected: renamed",
        ),
        (
            lambda w: w.update({"ln_final.bias": torch.zeros(7)}),
            r"1 of another shape: ln_final.bias \(7,\), expected \(24,\)",
        ),
    ],
)
def test_a_tensor_that_is_not_as_expected_is_named(change, message, weights, open_clip_heads):
    change(weights)
    with pytest.raises(RecordError, match=message):
        to_clip(weights, activation="gelu", heads=open_clip_heads, where="f.pt")


def test_heads_of_an_unknown_architecture_are_not_guessed(weights):
    with pytest.raises(RecordError, match="vision width 32, 2 layers.*heads are unknown"):
        to_clip(weights, activation="gelu", heads=None, where="f.pt")


def test_head_widths_are_those_of_open_clips_model_files():
    assert [key[0] / heads.vision for key, heads in HEADS.items()] == VISION_HEAD_WIDTHS
    assert {key[3] / heads.text for key, heads in HEADS.items()} == {64}


def tower_shapes(prefix, width, layers):
    for layer in range(layers):
        block = f"{prefix}.resblocks.{layer}"
        yield f"{block}.attn.in_proj_weight", (3 * width, width)
        yield f"{block}.attn.in_proj_bias", (3 * width,)
        for part, shape in (("attn.out_proj", (width, width)), ("mlp.c_fc", (4 * width, width))):
            yield f"{block}.{part}.weight", shape
            yield f"{block}.{part}.bias", shape[:1]
        yield f"{block}.mlp.c_proj.weight", (width, 4 * width)
        yield f"{block}.mlp.c_proj.bias", (width,)
        for norm in ("ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"):
            yield f"{block}.{norm}", (width,)


def test_the_real_size_is_recognised_and_every_weight_has_its_place():
    shapes = {
        "logit_scale": (),
        "positional_embedding": (77, 1024),
        "text_projection": (1024, 1024),
        "token_embedding.weight": (49408, 1024),
        "visual.class_embedding": (1280,),
        "visual.conv1.weight": (1280, 3, 14, 14),
        "visual.positional_embedding": (257, 1280),
        "visual.proj": (1280, 1024),
        **dict(tower_shapes("visual.transformer", 1280, 32)),
        **dict(tower_shapes("transformer", 1024, 24)),
    }
    for norm, width in (("visual.ln_pre", 1280), ("visual.ln_post", 1280), ("ln_final", 1024)):
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    weights = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    assert sum(tensor.numel() for tensor in weights.values()) == 986_109_441  # ViT-H-14
    settings, tensors = to_clip(weights, activation="gelu", heads=None, where="f.pt")
    with torch.device("meta"):
        clip = CLIPModel(CLIPConfig(**settings))
    assert {name: tensor.shape for name, tensor in clip.state_dict().items()} == {
        name: tensor.shape for name, tensor in tensors.items()
    }
    vision, text = clip.config.vision_config, clip.config.text_config
    assert (vision.image_size, vision.num_attention_heads, vision.hidden_act) == (224, 16, "gelu")
    assert (text.num_attention_heads, text.eos_token_id, text.bos_token_id) == (16, 49407, 49406)


def test_the_folder_says_what_it_was_made_from(converted):
    directory, _ = converted
    said = json.loads((directory / "selma.json").read_text())
    digest = said.pop("source_sha256")
    assert said == {
        "metric": "hps",
        "version": "v2.1",
        "source_file": "HPS.pt",
        "resize": "tensor-bicubic",
    }
    checkpoint = directory.with_name("HPS.pt").read_bytes()
    assert digest == hashlib.sha256(checkpoint).hexdigest()
    assert load_hps(directory, "v2.1").about["checkpoint"] == f"HPS.pt, sha256:{digest}"
    assert json.loads((directory / "config.json").read_text())["architectures"] == ["CLIPModel"]
    assert not directory.with_name("v2.1.part").exists()


def test_half_precision_weights_are_kept_and_score_in_float32(
    tmp_path, converted, weights, open_clip_heads
):
    save_file(
        {name: t.half().contiguous() for name, t in weights.items()}, tmp_path / "h.safetensors"
    )
    tokenizer = converted[0].parent / "tokenizer"
    out = tmp_path / "out"
    convert_hps(tmp_path / "h.safetensors", "v2.0", tokenizer, out, heads=open_clip_heads)
    assert {t.dtype for t in load_file(out / "model.safetensors").values()} == {torch.float16}
    scores = []
    for directory, version in ((out, "v2.0"), (converted[0], "v2.1")):
        scorer = load_hps(directory, version)
        with torch.inference_mode():
            scores.append(scorer.score(torch.zeros(1, 3, 32, 32), scorer.tokenize(["a cat"])))
    assert scores[0].dtype == torch.float32
    np.testing.assert_allclose(scores[0], scores[1], atol=0.2)


def test_another_tokenizer_is_refused_and_nothing_is_written(
    tmp_path, converted, tokenizer, open_clip_heads
):
    tokenizer.save_pretrained(tmp_path / "other")
    path = tmp_path / "other/tokenizer.json"
    values = json.loads(path.read_text())
    values["model"]["vocab"]["zz"] = 54
    path.write_text(json.dumps(values))
    with pytest.raises(RecordError, match="55 tokens, start 52 and end 53; expected 54, 52 and 53"):
        convert_hps(
            converted[0].parent / "HPS.pt",
            "v2.1",
            tmp_path / "other",
            tmp_path / "out",
            heads=open_clip_heads,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_the_command_takes_a_version_and_leaves_a_folder_alone(
    tmp_path, converted, open_clip_heads
):
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    parts = converted[0].parent
    line = ["convert", "hps", str(parts / "HPS.pt"), "--tokenizer", str(parts / "tokenizer")]
    args = parser.parse_args([*line, "--version", "v2", "--out", str(tmp_path / "new")])
    with pytest.raises(ConfigError, match="unknown HPS version 'v2'.*v2.0, v2.1"):
        args.run(args)
    args = parser.parse_args([*line, "--version", "v2.0", "--out", str(tmp_path / "new")])
    with pytest.raises(RecordError, match="heads are unknown"):
        args.run(args)
    with pytest.raises(ConfigError, match="v2.1: is there"):
        convert_hps(
            parts / "HPS.pt", "v2.1", parts / "tokenizer", converted[0], heads=open_clip_heads
        )


def test_a_checkpoint_that_is_cut_or_holds_code_is_refused(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"state_dict": {"a": torch.zeros(3)}}, path)
    assert list(read_checkpoint(path)) == ["a"]
    torch.save({"a": torch.zeros(3), "epoch": 5}, path)
    with pytest.raises(RecordError, match="'epoch' is no tensor"):
        read_checkpoint(path)
    torch.save({"a": argparse.Namespace()}, path)
    with pytest.raises(RecordError, match="x.pt: cannot be read"):
        read_checkpoint(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(RecordError, match="x.pt: cannot be read"):
        read_checkpoint(path)
    with pytest.raises(MissingDataError, match="y.pt"):
        read_checkpoint(tmp_path / "y.pt")
    with pytest.raises(ConfigError, match="'.ckpt'"):
        read_checkpoint(tmp_path / "y.ckpt")
