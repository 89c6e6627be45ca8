"""A reward model of the published layout scores the same after its weights were renamed."""

import argparse
import json
import math

import pytest
import torch
from torch.nn import functional
from transformers import BertTokenizer

from selma.commands.convert import add_parser
from selma.core.errors import RecordError
from selma.scorers import image_reward
from selma.scorers.layouts.conversion import convert_imagereward
from selma.scorers.layouts.image_reward import to_reward_model
from selma.scorers.preference import load_imagereward

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{x}" for x in LETTERS)]
VISION_WIDTH, VISION_HEADS, TEXT_HEADS = 32, 4, 3
MED = {
    "architectures": ["BertModel"],
    "add_cross_attention": True,
    "attention_probs_dropout_prob": 0.1,
    "encoder_width": 768,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 24,
    "intermediate_size": 40,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 64,
    "num_attention_heads": TEXT_HEADS,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "vocab_size": len(WORDS) + 2,
}
PROMPTS = ["a cat", "a dog in the rain", "", "an owl and a fox sit on a very big tree"]


def linear(name, outputs, inputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def published_shapes(vision, blocks, positions, patch, text, layers, inner, vocabulary, head):
    """Give name → shape of all that ImageReward's module saves, the widths given."""
    eye = "blip.visual_encoder"
    shapes = {
        f"{eye}.cls_token": (1, 1, vision),
        f"{eye}.pos_embed": (1, positions, vision),
        **linear(f"{eye}.patch_embed.proj", vision, 3),
        **norm(f"{eye}.norm", vision),
    }
    shapes[f"{eye}.patch_embed.proj.weight"] = (vision, 3, patch, patch)
    for number in range(blocks):
        at = f"{eye}.blocks.{number}"
        shapes |= norm(f"{at}.norm1", vision) | norm(f"{at}.norm2", vision)
        shapes |= linear(f"{at}.attn.qkv", 3 * vision, vision)
        shapes |= linear(f"{at}.attn.proj", vision, vision)
        shapes |= linear(f"{at}.mlp.fc1", 4 * vision, vision)
        shapes |= linear(f"{at}.mlp.fc2", vision, 4 * vision)
    words = "blip.text_encoder.embeddings"
    length = {24: 64, 768: 512}[text]
    shapes |= {
        f"{words}.position_ids": (1, length),
        f"{words}.word_embeddings.weight": (vocabulary, text),
        f"{words}.position_embeddings.weight": (length, text),
        **norm(f"{words}.LayerNorm", text),
    }
    for number in range(layers):
        at = f"blip.text_encoder.encoder.layer.{number}"
        for kind, seen in (("attention", text), ("crossattention", vision)):
            shapes |= linear(f"{at}.{kind}.self.query", text, text)
            shapes |= linear(f"{at}.{kind}.self.key", text, seen)
            shapes |= linear(f"{at}.{kind}.self.value", text, seen)
            shapes |= linear(f"{at}.{kind}.output.dense", text, text)
            shapes |= norm(f"{at}.{kind}.output.LayerNorm", text)
        shapes |= linear(f"{at}.intermediate.dense", inner, text)
        shapes |= linear(f"{at}.output.dense", text, inner) | norm(f"{at}.output.LayerNorm", text)
    shapes |= linear("blip.vision_proj", 256, vision) | linear("blip.text_proj", 256, text)
    for place, inputs, outputs in zip((0, 2, 4, 6, 7), (text, *head), (*head, 1), strict=True):
        shapes |= linear(f"mlp.layers.{place}", outputs, inputs)
    return shapes


def make_weights():
    shapes = published_shapes(VISION_WIDTH, 2, 17, 8, 24, 2, 40, MED["vocab_size"], (10, 8, 6, 4))
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: 0.5 * torch.randn(shape, generator=generator)
        + float(shape == shapes.get(name.replace("weight", "bias")) and "weight" in name)
        for name, shape in shapes.items()
    }
    weights["blip.text_encoder.embeddings.position_ids"] = torch.arange(64)[None]
    return weights


def attend(query, key, value, heads, bias=0.0):
    """Attend as ViT and BERT do, all (N, T, D)."""
    query, key, value = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1]) + bias
    return (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)


def reference_reward(weights, pixel_values, ids, mask):
    """Compute ImageReward's score from its own tensors by the formulas of its modules."""

    def lin(name, x):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def layer_norm(name, x, eps):
        return functional.layer_norm(
            x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps
        )

    eye = "blip.visual_encoder"
    patch = f"{eye}.patch_embed.proj"
    x = functional.conv2d(pixel_values, weights[f"{patch}.weight"], weights[f"{patch}.bias"], 8)
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([weights[f"{eye}.cls_token"].expand(len(x), -1, -1), x], dim=1)
    x = x + weights[f"{eye}.pos_embed"]
    for number in range(2):
        at = f"{eye}.blocks.{number}"
        query, key, value = lin(f"{at}.attn.qkv", layer_norm(f"{at}.norm1", x, 1e-6)).chunk(3, -1)
        x = x + lin(f"{at}.attn.proj", attend(query, key, value, VISION_HEADS))
        hidden = functional.gelu(lin(f"{at}.mlp.fc1", layer_norm(f"{at}.norm2", x, 1e-6)))
        x = x + lin(f"{at}.mlp.fc2", hidden)
    picture = layer_norm(f"{eye}.norm", x, 1e-6)

    words = "blip.text_encoder.embeddings"
    x = weights[f"{words}.word_embeddings.weight"][ids]
    x = x + weights[f"{words}.position_embeddings.weight"][: ids.shape[1]]
    x = layer_norm(f"{words}.LayerNorm", x, 1e-12)
    bias = (1.0 - mask[:, None, None].float()) * -10000.0
    for number in range(2):
        at = f"blip.text_encoder.encoder.layer.{number}"
        for kind, seen, added in (("attention", None, bias), ("crossattention", picture, 0.0)):
            part = f"{at}.{kind}"
            seen = x if seen is None else seen
            query, key, value = (
                lin(f"{part}.self.{role}", source)
                for role, source in (("query", x), ("key", seen), ("value", seen))
            )
            out = lin(f"{part}.output.dense", attend(query, key, value, TEXT_HEADS, added))
            x = layer_norm(f"{part}.output.LayerNorm", out + x, 1e-12)
        out = lin(f"{at}.output.dense", functional.gelu(lin(f"{at}.intermediate.dense", x)))
        x = layer_norm(f"{at}.output.LayerNorm", out + x, 1e-12)
    x = x[:, 0]
    for place in (0, 2, 4, 6, 7):
        x = lin(f"mlp.layers.{place}", x)
    return (x[:, 0] - 0.16717362830052426) / 1.0333394966054072


def spelled(prompt):
    """Give (ids, mask): [CLS], a token a letter, [SEP], 35 in all."""
    ids = [2]
    for word in prompt.split():
        ids.append(WORDS.index(word[0]))
        ids += [WORDS.index(f"##{letter}") for letter in word[1:]]
    ids = [*ids[:34], 3]
    return ids + [0] * (35 - len(ids)), [1] * len(ids) + [0] * (35 - len(ids))


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A folder with the published files, tiny."""
    folder = tmp_path_factory.mktemp("imagereward")
    torch.save(make_weights(), folder / "ImageReward.pt")
    (folder / "med_config.json").write_text(json.dumps(MED))
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    BertTokenizer(vocab=vocabulary, do_lower_case=True).save_pretrained(folder / "bert")
    return folder


@pytest.fixture(scope="module")
def converted(parts):
    convert_imagereward(
        parts / "ImageReward.pt",
        parts / "med_config.json",
        parts / "bert",
        parts / "out",
        vision_heads=VISION_HEADS,
    )
    return parts / "out"


def test_rewards_are_those_of_the_original_mathematics(converted):
    scorer = load_imagereward(converted, "v1.0")
    tokens = scorer.tokenize(PROMPTS)
    ids, mask = (torch.tensor(part) for part in zip(*map(spelled, PROMPTS), strict=True))
    assert torch.equal(tokens.input_ids, ids)
    assert torch.equal(tokens.attention_mask, mask)
    assert tokens.truncated == [False, False, False, False]
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        got = scorer.score(pixels, tokens)
    expected = reference_reward(make_weights(), pixels, ids, mask)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 0.1


def test_a_prompt_is_cut_after_35_tokens_and_counted(converted):
    scorer = load_imagereward(converted, "v1.0")
    fits, long = "a" * 33, "a" * 34
    tokens = scorer.tokenize([fits, long])
    assert tokens.truncated == [False, True]
    assert tokens.input_ids.shape == (2, 35)
    assert tokens.input_ids[:, -1].tolist() == [3, 3]


def test_the_added_tokens_fill_the_vocabulary_and_stay_unused(converted):
    scorer = load_imagereward(converted, "v1.0")
    assert scorer.tokenize(["[DEC] [ENC]"]).input_ids[0, :4].tolist() == [2, 57, 58, 3]
    assert not {57, 58} & set(scorer.tokenize(PROMPTS).input_ids.flatten().tolist())


def test_the_folder_says_what_it_was_made_from_and_how_pictures_are_prepared(converted):
    said = json.loads((converted / "selma.json").read_text())
    assert (said["metric"], said["version"], said["source_file"]) == (
        "imagereward",
        "v1.0",
        "ImageReward.pt",
    )
    settings = load_imagereward(converted, "v1.0").settings
    assert settings.resize == said["resize"] == "pillow-bicubic-torchvision"
    assert settings.mean == (0.48145466, 0.4578275, 0.40821073)
    assert settings.standard_deviation == (0.26862954, 0.26130258, 0.27577711)


def convert(weights, med=MED):
    return to_reward_model(weights, med, vision_heads=VISION_HEADS, where="f.pt")


QKV = "blip.visual_encoder.blocks.1.attn.qkv.weight"
PLAIN = QKV.removeprefix("blip.")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop(QKV), f"f.pt: tensors 1 missing: {PLAIN}"),
        (lambda w: w.update(renamed=w.pop(QKV)), f"1 missing: {PLAIN}; 1 unexpected: renamed"),
        (
            lambda w: w.update({"blip.text_encoder.pooler.dense.bias": torch.zeros(24)}),
            "1 unexpected: text_encoder.pooler.dense.bias",
        ),
        (lambda w: w.pop("mlp.layers.7.bias"), "1 missing: mlp.layers.7.bias"),
        (lambda w: w.pop("mlp.layers.2.weight"), "tensor mlp.layers.2.weight is missing"),
        (
            lambda w: w.update({"mlp.layers.8.weight": w.pop("mlp.layers.7.weight")}),
            "1 missing: mlp.layers.7.weight; 1 unexpected: mlp.layers.8.weight",
        ),
        (lambda w: w.update({QKV: torch.zeros(3, 3)}), f"of another shape: {PLAIN} "),
        (
            lambda w: w["blip.text_encoder.embeddings.position_ids"].add_(1),
            "position_ids does not count from 0",
        ),
        (lambda w: w.update({PLAIN: w[QKV]}), f"tensor {PLAIN} is there with and without"),
    ],
)
def test_a_tensor_that_is_not_as_expected_is_named(change, message):
    weights = make_weights()
    change(weights)
    with pytest.raises(RecordError, match=message):
        convert(weights)


def test_the_prefix_the_buffer_and_the_unused_projections_may_be_absent():
    weights = make_weights()
    bare = {
        name.removeprefix("blip."): tensor
        for name, tensor in weights.items()
        if "_proj." not in name and "position_ids" not in name
    }
    (config, tensors), (other_config, other_tensors) = convert(weights), convert(bare)
    assert config == other_config
    assert all(torch.equal(tensors[name], other_tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 48}, "of another shape"),
        ({"vocab_size": "many"}, "med_config.json has vocab_size 'many'"),
        ({"num_hidden_layers": 3}, "missing: text_encoder.encoder.layer.2"),
        ({"num_hidden_layers": 1}, "unexpected: text_encoder.encoder.layer.1"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
        ({"add_cross_attention": False}, "add_cross_attention False"),
    ],
)
def test_a_med_config_of_another_model_is_refused(change, message):
    with pytest.raises(RecordError, match=message):
        convert(make_weights(), {**MED, **change})


def test_a_tokenizer_of_another_size_is_refused(tmp_path, parts):
    vocabulary = {word: index for index, word in enumerate(WORDS[:-1])}
    BertTokenizer(vocab=vocabulary).save_pretrained(tmp_path / "bert")
    with pytest.raises(RecordError, match=r"bert: with \[DEC\] and \[ENC\] at 56 and 57"):
        convert_imagereward(
            parts / "ImageReward.pt",
            parts / "med_config.json",
            tmp_path / "bert",
            tmp_path / "out",
            vision_heads=VISION_HEADS,
        )
    assert not (tmp_path / "out").exists()


def test_the_real_size_is_recognised_and_every_weight_has_its_place():
    shapes = published_shapes(1024, 24, 197, 16, 768, 12, 3072, 30524, (1024, 128, 64, 16))
    weights = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    del weights["blip.text_encoder.embeddings.position_ids"]
    med = {
        **MED,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "max_position_embeddings": 512,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "vocab_size": 30524,
    }
    config, tensors = to_reward_model(weights, med, vision_heads=None, where="f.pt")
    assert (config.vision["num_attention_heads"], config.vision["image_size"]) == (16, 224)
    assert (config.text_max_tokens, config.head_sizes) == (35, (1024, 128, 64, 16))
    with torch.device("meta"):
        network = image_reward.build(config).network
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == {
        name: tensor.shape for name, tensor in tensors.items()
    }


def test_the_command_names_what_it_cannot_know(tmp_path, parts):
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    line = ["convert", "imagereward", str(parts / "ImageReward.pt"), "--out", str(tmp_path / "out")]
    line += ["--med-config", str(parts / "med_config.json"), "--tokenizer", str(parts / "bert")]
    args = parser.parse_args(line)
    with pytest.raises(RecordError, match="no known vision tower has width 32, 2 layers"):
        args.run(args)
