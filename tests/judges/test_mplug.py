"""mPLUG gives what its authors' module gives, asked alone or together, from a strict checkpoint."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from selma.core.errors import ConfigError, MissingDependencyError, RecordError
from selma.judges.mplug.judge import load_mplug, squash
from selma.judges.protocol import JudgeSettings, Question
from selma.tiny import mplug as tiny_mplug

TEXTS = ["Is there a red dog?", "Is the cat blue?", "Two dogs left?", "What's that?"]
QUESTIONS = [Question(text, ()) for text in TEXTS]
PICTURES = [
    np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8),
    np.random.default_rng(1).integers(0, 128, (33, 20, 3), dtype=np.uint8),
]
# Answers and scores of modelscope 1.40.2's MPlugForVisualQuestionAnswering on transformers 4.33.3
# for weights of two seeds, both pictures and all questions, pictures first. Two answers run past an
# end token, as a beam that ends without being the best lives on.
RECORDED = {
    56: (
        ("k", -4.04883),
        ("f", -2.17172),
        ("##y", -2.53139),
        ("k", -3.6335),
        ("x x x'x x x x x x", -0.78192),
        ("x x'x'x x'x '", -3.01589),
        ("x x'x x x x x x x", -0.7544),
        ("x x x x'x x x x x", -0.83715),
    ),
    70: (
        ("##p f f f f f f f f", -1.75731),
        ("##f", -1.84503),
        ("##d", -1.32919),
        ("##d", -1.64586),
        ("##xxxxxxxx sx", -1.09576),
        ("##xxxxxxxx sx", -1.27331),
        ("##x", -0.47114),
        ("s s s s s s", -1.93877),
    ),
}


def settings(folder, **changed):
    values = {"path": str(folder), "revision": None, "dtype": "float32", "device": "cpu"}
    values |= {"template": "bare", "questions_per_batch": 3, "max_new_tokens": 10, "beams": 5}
    return JudgeSettings(**{**values, **changed})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("mplug")
    tiny_mplug.write_mplug(path, seed=56)
    return path


@pytest.fixture(scope="module")
def judge(folder):
    return load_mplug(settings(folder))


@pytest.mark.parametrize("seed", RECORDED)
def test_answers_are_those_of_the_authors_module(tmp_path, seed):
    tiny_mplug.write_mplug(tmp_path, seed)
    got = load_mplug(settings(tmp_path))(PICTURES, [QUESTIONS, QUESTIONS])
    assert [*got[0], *got[1]] == [answer for answer, _ in RECORDED[seed]]


@pytest.mark.parametrize("seed", RECORDED)
def test_scores_are_those_of_the_authors_module(tmp_path, seed):
    tiny_mplug.write_mplug(tmp_path, seed)
    judge = load_mplug(settings(tmp_path))
    got = [answer.score for picture in PICTURES for answer in judge.search(picture, QUESTIONS)]
    assert got == pytest.approx([score for _, score in RECORDED[seed]], abs=1e-3)


@pytest.mark.parametrize(
    "changed",
    [
        {"stride_layer": 100},
        {"stride_layer": 1},
        {"fusion_layers": 9},
        {"hidden_size": 128, "encoder_width": 128, "distill": False},
        {"text_encoder_layers": 1, "text_decode_layers": 3, "num_attention_heads": 2},
    ],
)
def test_every_shape_of_the_network_agrees_with_a_plain_computation(tmp_path, changed):
    weights = tiny_mplug.write_mplug(tmp_path, seed=2, **changed)
    judge = load_mplug(settings(tmp_path))
    assert_plain(judge, weights, changed)


@pytest.mark.parametrize("beams", [1, 2])
def test_beams_and_length_come_from_the_settings(tmp_path, beams):
    weights = tiny_mplug.write_mplug(tmp_path, seed=70)
    judge = load_mplug(settings(tmp_path, beams=beams, max_new_tokens=4))
    assert_plain(judge, weights, {}, beams=beams, max_new_tokens=4)


@pytest.mark.parametrize("size", [2, 8])
def test_an_answer_does_not_depend_on_what_is_asked_beside_it(folder, judge, size):
    asked = [[], QUESTIONS, QUESTIONS[:1]]
    pictures = [PICTURES[0], PICTURES[1], PICTURES[0]]
    alone = [
        [judge([picture], [[question]])[0][0] for question in questions]
        for picture, questions in zip(pictures, asked, strict=True)
    ]
    assert load_mplug(settings(folder, questions_per_batch=size))(pictures, asked) == alone


def test_a_picture_is_encoded_once_for_all_its_questions(folder):
    judge = load_mplug(settings(folder, questions_per_batch=1))
    encoded = []
    tower = judge.network.visual_encoder["visual"]
    tower.register_forward_hook(lambda module, inputs, output: encoded.append(len(output)))
    judge(PICTURES, [QUESTIONS, QUESTIONS])
    assert encoded == [1, 1]


@pytest.mark.parametrize(("stride", "rows"), [(100, 1), (2, len(QUESTIONS))])
def test_a_pictures_keys_are_shared_until_a_layer_joins_it_with_the_question(
    tmp_path, stride, rows
):
    tiny_mplug.write_mplug(tmp_path, stride_layer=stride)
    judge = load_mplug(settings(tmp_path, questions_per_batch=100))
    projected = {"fusion": [], "decoder": []}
    layers = {
        "fusion": judge.network.fusion_encoder["encoder"].layer["1"],
        "decoder": judge.network.text_decoder.bert.encoder.layer[0],
    }
    for name, layer in layers.items():

        def keep(module, inputs, keys, shapes=projected[name]):
            shapes.append(keys.shape[:2])

        layer.crossattention.self.key.register_forward_hook(keep)
    judge(PICTURES[:1], [QUESTIONS])
    patches = 1 + 3 * 3
    assert projected["fusion"] == [(1, patches)]
    assert projected["decoder"] == [(rows, patches), (len(QUESTIONS), 25)]


def test_a_picture_is_squashed_not_cropped(judge):
    wide = np.random.default_rng(3).integers(0, 256, (42, 84, 3), dtype=np.uint8)
    square = np.asarray(Image.fromarray(wide).resize((42, 42), Image.Resampling.BICUBIC))
    assert judge([wide], [QUESTIONS]) == judge([square], [QUESTIONS])
    mean, deviation = (
        np.array([122.7709383, 116.7460125, 104.09373615]),
        np.array([68.5, 66.6, 70.3]),
    )
    expected = ((square - mean) / deviation).transpose(2, 0, 1)
    np.testing.assert_allclose(squash(wide, 42), expected, atol=2e-3)


def test_a_question_is_read_in_lower_case(judge):
    shouted = [Question(text.upper(), ()) for text in TEXTS]
    assert judge(PICTURES[:1], [shouted]) == judge(PICTURES[:1], [QUESTIONS])


def test_the_template_makes_the_question(folder, judge):
    polite = load_mplug(settings(folder, template="yes-no"))
    spelled = [Question(f"{text} answer only yes or no", ()) for text in TEXTS]
    assert polite(PICTURES[:1], [QUESTIONS]) == judge(PICTURES[:1], [spelled])


def test_word_pieces_after_the_25th_are_cut_and_counted(folder):
    judge = load_mplug(settings(folder))
    fits = Question(" ".join(["dog"] * 23), ())  # 25 with start and end
    cut, also_cut = (Question(f"{fits.question} {word}", ()) for word in ("cat", "red red red"))
    (answers,) = judge(PICTURES[:1], [[fits]])
    assert judge.truncated_questions == 0
    assert judge(PICTURES[:1], [[cut, also_cut]]) == [answers * 2]
    assert judge.truncated_questions == 2
    assert "25 word pieces" in judge.about["question"]


def test_about_is_json_and_names_what_decides_an_answer(folder, judge):
    about = json.loads(json.dumps(judge.about))
    assert about == judge.about
    assert about["path"] == str(folder)
    assert about["decoding"]["beams"] == 5
    assert about["decoding"]["min_new_tokens"] == 1
    assert about["preprocessing"]["image_size_px"] == 42
    assert {"pillow", "torch", "transformers"} <= set(about["libraries"])


def test_half_precision_answers_too(folder):
    (answers,) = load_mplug(settings(folder, dtype="bfloat16"))(PICTURES[:1], [QUESTIONS])
    assert len(answers) == len(QUESTIONS)


def test_loading_leaves_the_global_random_numbers_alone(folder):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_mplug(settings(folder))
    assert torch.equal(torch.rand(3), expected)


def test_weights_saved_by_modelscopes_wrapper_are_read(tmp_path, folder, judge):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)["model"]
    renamed = {f"model.{name}": tensor for name, tensor in weights.items()}
    torch.save(renamed, tmp_path / "pytorch_model.bin")
    got = load_mplug(settings(tmp_path))(PICTURES, [QUESTIONS] * 2)
    assert got == judge(PICTURES, [QUESTIONS] * 2)


def test_every_tensor_that_answers_is_needed_and_the_rest_is_not(tmp_path, folder):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    whole = torch.load(folder / "pytorch_model.bin", weights_only=True)["model"]
    network = load_mplug(settings(folder)).network.state_dict()
    assert set(network) < set(whole)
    tiny_mplug.save({name: whole[name] for name in network}, tmp_path)
    load_mplug(settings(tmp_path))
    for name in ("visn_fc.bias", "fusion_encoder.encoder.layer.1.attention.self.query.weight"):
        tiny_mplug.save({key: whole[key] for key in network if key != name}, tmp_path)
        with pytest.raises(RecordError, match=f'Missing.*"{name}"'):
            load_mplug(settings(tmp_path))
    for name in ("visn_fc.scale", "visual_encoder.visual.extra", "queue_m.weight"):
        tiny_mplug.save({**whole, name: torch.zeros(1)}, tmp_path)
        with pytest.raises(RecordError, match=f'Unexpected.*"{name}"'):
            load_mplug(settings(tmp_path))


def test_weights_of_another_size_are_refused(tmp_path, folder):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    config = tmp_path / "config.yaml"
    config.write_text(config.read_text().replace("image_res: 42", "image_res: 56"))
    with pytest.raises(RecordError, match="positional_embedding"):
        load_mplug(settings(tmp_path))
    config.write_text(config.read_text().replace("image_res: 56", "image_res: 50"))
    with pytest.raises(RecordError, match="not a multiple of the patch size"):
        load_mplug(settings(tmp_path))


def test_untied_output_words_are_refused(tmp_path, folder):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)["model"]
    name = "text_decoder.cls.predictions.decoder.weight"
    tiny_mplug.save({**weights, name: weights[name] + 1}, tmp_path)
    with pytest.raises(RecordError, match="differ, but the network ties them"):
        load_mplug(settings(tmp_path))


@pytest.mark.parametrize(
    "content", [{"model": Question("not weights", ())}, {"epoch": 3}, [1.0], b"damaged"]
)
def test_a_file_that_is_not_weights_alone_is_refused(tmp_path, folder, content):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    if isinstance(content, bytes):
        (tmp_path / "pytorch_model.bin").write_bytes(content)
    else:
        torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(RecordError, match="pytorch_model.bin"):
        load_mplug(settings(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("configuration.json", '{"task": "image-captioning"}', "task is 'image-captioning'"),
        ("configuration.json", "{", "not JSON"),
        ("configuration.json", "[]", "not a JSON object"),
        ("config.yaml", "image_res: [", "not mPLUG's config"),
        ("config.yaml", "- 1", "not mPLUG's config"),
        ("config_bert.json", '{"hidden_size": 32}', "KeyError"),
        ("config_bert.json", '{"position_embedding_type": "relative_key"}', "not 'absolute'"),
        ("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", "has 5 entries"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, folder, name, content, message):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(RecordError, match=message) as caught:
        load_mplug(settings(tmp_path))
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["configuration.json", "vocab.txt", "pytorch_model.bin"])
def test_a_missing_file_tells_how_to_get_the_judge(tmp_path, folder, name):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).unlink()
    with pytest.raises(MissingDependencyError, match=f"{name}: not found.*modelscope download"):
        load_mplug(settings(tmp_path))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dtype": "float8"}, "unknown dtype 'float8'"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"beams": 0}, "beams is 0"),
        ({"template": "bear"}, "unknown judge template 'bear'"),
        ({"revision": "a" * 40}, "set revision to null"),
    ],
)
def test_a_wrong_setting_is_told(folder, changed, message):
    with pytest.raises(ConfigError, match=message):
        load_mplug(dataclasses.replace(settings(folder), **changed))


def assert_plain(judge, weights, changed, **limits):
    """Compare tokens and scores of two questions with `plain_answer`."""
    answers = judge.search(PICTURES[0], QUESTIONS[1:3])
    for answer, text in zip(answers, TEXTS[1:3], strict=True):
        tokens, score = plain_answer(weights, changed, PICTURES[0], text, **limits)
        assert answer.tokens == tokens
        assert answer.score == pytest.approx(score, abs=1e-3)


def plain_answer(weights, changed, picture, text, beams=5, max_new_tokens=10):
    """Answer one question with plain tensor algebra, nothing cached and nothing batched."""
    config = {**tiny_mplug.CONFIG, **tiny_mplug.BERT, **changed}
    net = Plain(weights, config)
    words = [tiny_mplug.VOCABULARY.index(word) for word in pieces(text.lower())]
    states = net.fuse(net.see(picture), net.read([101, *words, 102]))
    beam, found = [(0.0, [101])], []
    for step in range(1, max_new_tokens + 1):
        penalty = ((5 + step) / 6) ** 0.6
        longer = []
        for total, tokens in beam:
            log_probs = net.speak(tokens, states).log_softmax(0).tolist()
            if step == 1:
                log_probs[102] = -1e20
            longer += [(total + p, [*tokens, word]) for word, p in enumerate(log_probs)]
        beam = sorted(longer, key=lambda pair: -pair[0])[:beams]
        over = beam[0][1][-1] == 102 or step == max_new_tokens
        found += [(total / penalty, t) for total, t in beam if over or t[-1] == 102]
        if over:
            break
    score, tokens = max(found, key=lambda pair: pair[0])
    return tokens, score


def pieces(text):
    """Split as BERT does where each word is known, or a known word and letters after it."""
    known = set(tiny_mplug.VOCABULARY)
    for word in text.replace("?", " ? ").replace("'", " ' ").split():
        start = next(word[:end] for end in range(len(word), 0, -1) if word[:end] in known)
        yield from (start, *(f"##{letter}" for letter in word[len(start) :]))


class Plain:
    """The network as formulas over a checkpoint's tensors."""

    def __init__(self, weights, config):
        self.weights, self.config = weights, config

    def linear(self, name, x):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, name, x, eps=1e-12):
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def attend(self, query, key, value, heads, causal=False):
        width = query.shape[-1] // heads
        mixed = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            scores = query[:, part] @ key[:, part].T / math.sqrt(width)
            if causal:
                scores = scores + torch.full_like(scores, -math.inf).triu(1)
            mixed.append(scores.softmax(-1) @ value[:, part])
        return torch.cat(mixed, -1)

    def see(self, picture):
        name, size = "visual_encoder.visual", self.config["image_res"]
        pixels = torch.from_numpy(squash(picture, size))
        patches = pixels.unfold(1, 14, 14).unfold(2, 14, 14)  # (3, R, C, 14, 14)
        patches = patches.permute(1, 2, 0, 3, 4).flatten(0, 1).flatten(1)  # (P, 3 · 14 · 14)
        x = patches @ self.weights[f"{name}.conv1.weight"].flatten(1).T
        x = torch.cat([self.weights[f"{name}.class_embedding"][None], x])
        x = self.norm(f"{name}.ln_pre", x + self.weights[f"{name}.positional_embedding"], 1e-5)
        for index in range(self.config["clip_vision_layers"]):
            x = self.image_block(f"{name}.transformer.resblocks.{index}", x)
        x = self.norm(f"{name}.ln_post", x, 1e-5)
        if "visn_fc.weight" in self.weights:
            x = self.norm("visn_layer_norm", self.linear("visn_fc", x))
        return x

    def image_block(self, name, x):
        y = self.norm(f"{name}.ln_1", x, 1e-5)
        y = y @ self.weights[f"{name}.attn.in_proj_weight"].T
        y = y + self.weights[f"{name}.attn.in_proj_bias"]
        x = x + self.linear(f"{name}.attn.out_proj", self.attend(*y.chunk(3, -1), heads=2))
        y = self.linear(f"{name}.mlp.c_fc", self.norm(f"{name}.ln_2", x, 1e-5))
        return x + self.linear(f"{name}.mlp.c_proj", y * torch.sigmoid(1.702 * y))

    def embed(self, name, ids):
        part = f"{name}.embeddings"
        x = self.weights[f"{part}.word_embeddings.weight"][ids]
        x = x + self.weights[f"{part}.position_embeddings.weight"][: len(ids)]
        return self.norm(
            f"{part}.LayerNorm", x + self.weights[f"{part}.token_type_embeddings.weight"][0]
        )

    def look(self, name, x, at, causal=False):
        query, key, value = (
            self.linear(f"{name}.self.{role}", states)
            for role, states in (("query", x), ("key", at), ("value", at))
        )
        mixed = self.attend(query, key, value, self.config["num_attention_heads"], causal)
        return self.norm(f"{name}.output.LayerNorm", x + self.linear(f"{name}.output.dense", mixed))

    def feed(self, name, x):
        y = functional.gelu(self.linear(f"{name}.intermediate.dense", x))
        return self.norm(f"{name}.output.LayerNorm", x + self.linear(f"{name}.output.dense", y))

    def read(self, ids):
        x = self.embed("text_encoder", ids)
        for index in range(self.config["text_encoder_layers"]):
            name = f"text_encoder.encoder.layer.{index}"
            x = self.feed(name, self.look(f"{name}.attention", x, x))
        return x

    def fuse(self, picture, text):
        layers = self.config["num_hidden_layers"]
        first = max(0, layers - self.config["fusion_layers"])
        for index in range(first, layers):
            name = f"fusion_encoder.encoder.layer.{index}"
            if index > first and (index - first) % self.config["stride_layer"] == 0:
                both = torch.cat([picture, text])
                both = self.feed(name, self.look(f"{name}.attention", both, both))
                picture, text = picture + both[: len(picture)], both[len(picture) :]
            else:
                text = self.look(f"{name}.attention", text, text)
                text = self.feed(name, self.look(f"{name}.crossattention", text, picture))
        return torch.cat([picture, text])

    def speak(self, tokens, states):
        x = self.embed("text_decoder.bert", tokens)
        for index in range(self.config["text_decode_layers"]):
            name = f"text_decoder.bert.encoder.layer.{index}"
            x = self.look(f"{name}.attention", x, x, causal=True)
            x = self.feed(name, self.look(f"{name}.crossattention", x, states))
        head = "text_decoder.cls.predictions"
        x = functional.gelu(self.linear(f"{head}.transform.dense", x[-1]))
        return self.linear(f"{head}.decoder", self.norm(f"{head}.transform.LayerNorm", x))
