"""BLIP-2 and InstructBLIP answer as the stock classes do, with one look at each picture."""

import functools
import json
from collections import Counter
from dataclasses import replace

import pytest
import stock
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny import QUESTIONS, picture, settings, write_blip2, write_instructblip
from transformers import InstructBlipForConditionalGeneration, InstructBlipProcessor
from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerModel, Blip2VisionModel
from transformers.models.instructblip.modeling_instructblip import (
    InstructBlipQFormerModel,
    InstructBlipVisionModel,
)
from transformers.models.opt.modeling_opt import OPTDecoder
from transformers.models.t5.modeling_t5 import T5LayerCrossAttention
from watch import watch

from selma.core.errors import ConfigError, RecordError
from selma.judges.blip2 import load_blip2, load_instructblip
from selma.judges.protocol import Question
from selma.judges.templates import TEMPLATES

PICTURES = [picture(0), picture(2, 90, 30)]
KINDS = {
    "blip2-t5": (write_blip2, "t5", load_blip2, stock.load_blip2),
    "blip2-opt": (write_blip2, "opt", load_blip2, stock.load_blip2),
    "instructblip-llama": (write_instructblip, "llama", load_instructblip, stock.load_instructblip),
    "instructblip-t5": (write_instructblip, "t5", load_instructblip, stock.load_instructblip),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each kind of model."""
    made = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    for kind, (write, language, _, _) in KINDS.items():
        write(made[kind], language)
    return made


@pytest.fixture(scope="module")
def load(folders):
    """Load a judge of a kind, each one once; batches do not matter to its loader."""

    @functools.cache
    def load_once(kind, **changes):
        return KINDS[kind][2](settings(folders[kind], **changes))

    def load_for(kind, questions_per_batch=3, **changes):
        return replace(load_once(kind, **changes), questions_per_batch=questions_per_batch)

    return load_for


def one_by_one(ask, template="bare", pictures=PICTURES):
    return [[ask(p, TEMPLATES[template](question)) for question in QUESTIONS] for p in pictures]


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_the_stock_class_asked_one_by_one(folders, kind):
    _, _, load, load_stock = KINDS[kind]
    judge = load(settings(folders[kind], beams=3, template="tifa-selma"))
    given = judge(PICTURES, [QUESTIONS] * len(PICTURES))
    assert given == one_by_one(load_stock(folders[kind], beams=3), "tifa-selma")
    assert len({answer for row in given for answer in row}) >= 10
    assert sum(len(set(column)) > 1 for column in zip(*given, strict=True)) >= 5


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_answers_are_those_of_the_stock_class_asked_one_by_one(load, folders, kind):
    given = load(kind)(PICTURES[:1], [QUESTIONS])
    assert given == one_by_one(KINDS[kind][3](folders[kind]), pictures=PICTURES[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_answers_depend_neither_on_the_batch_nor_on_the_order(load, kind):
    asked = [QUESTIONS, QUESTIONS[:2], []]
    pictures = [*PICTURES, PICTURES[0]]
    small = load(kind, questions_per_batch=1, beams=3)(pictures, asked)
    judge = load(kind, questions_per_batch=100, beams=3)
    assert judge(pictures, asked) == small
    backwards = judge(pictures[::-1], [row[::-1] for row in asked[::-1]])
    assert [row[::-1] for row in backwards[::-1]] == small


@pytest.mark.parametrize("kind", ["blip2-t5", "instructblip-llama"])
def test_in_bfloat16_single_questions_are_answered_as_by_the_stock_class(folders, kind):
    _, _, load, load_stock = KINDS[kind]
    judge = load(settings(folders[kind], dtype="bfloat16", questions_per_batch=1))
    ask = load_stock(folders[kind], dtype=torch.bfloat16)
    assert judge(PICTURES[:1], [QUESTIONS]) == one_by_one(ask, pictures=PICTURES[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_each_picture_is_encoded_once(load, kind):
    judge = load(kind)
    with watch(Blip2VisionModel, Blip2QFormerModel, InstructBlipVisionModel) as seen:
        judge(PICTURES, [QUESTIONS] * len(PICTURES))
    calls = Counter()
    for module, output in seen:
        calls[type(module)] += len(output[0])
    assert set(calls.values()) == {len(PICTURES)}


def test_opt_reads_a_picture_once_and_then_only_words(load):
    judge = load("blip2-opt", questions_per_batch=100, beams=3)
    with watch(OPTDecoder) as seen:
        judge(PICTURES, [QUESTIONS] * len(PICTURES))
    first, second, prompt, *words = (tuple(out.last_hidden_state.shape[:2]) for _, out in seen)
    assert (first, second) == ((1, 4), (1, 4))
    asked = len(QUESTIONS) * len(PICTURES)
    longest = max(len(question.question.replace(" ", "Ġ")) for question in QUESTIONS)
    assert prompt == (asked, longest)  # with a start token, without the last letter
    assert set(words) == {(asked * 3, 1)}


@pytest.mark.parametrize("kind", ["instructblip-llama", "instructblip-t5"])
def test_instructblips_questions_share_the_keys_of_their_picture(load, kind):
    judge = load(kind, questions_per_batch=100)
    with watch(InstructBlipQFormerModel, torch.nn.Linear) as seen:
        judge(PICTURES, [QUESTIONS] * len(PICTURES))
    qformer = next(module for module, _ in seen if isinstance(module, InstructBlipQFormerModel))
    attention = qformer.encoder.layer[0].crossattention.attention
    for part in (attention.key, attention.value):
        assert [out.shape for module, out in seen if module is part] == [(1, 1 + 16, 32)] * 2


def test_t5s_beams_share_the_keys_of_their_question(load):
    judge = load("blip2-t5", questions_per_batch=100, beams=3)
    with watch(T5LayerCrossAttention, torch.nn.Linear) as seen:
        judge(PICTURES, [QUESTIONS] * len(PICTURES))
    layer = next(module for module, _ in seen if isinstance(module, T5LayerCrossAttention))
    attention = layer.EncDecAttention
    for part in (attention.k, attention.v):
        assert [len(out) for module, out in seen if module is part] == [14]


def test_instructblips_penalty_does_not_reach_the_words_of_the_question(folders):
    folder = folders["instructblip-llama"]
    model = InstructBlipForConditionalGeneration.from_pretrained(folder).eval()
    processor = InstructBlipProcessor.from_pretrained(folder)

    def first_token(shown, text, penalty):
        inputs = processor(images=Image.fromarray(shown), text=text, return_tensors="pt")
        options = {"max_new_tokens": 1, "min_new_tokens": 1, "repetition_penalty": penalty}
        generated = model.generate(**inputs, **options)
        return processor.decode(generated[0, -1:], skip_special_tokens=True).strip()

    given = load_instructblip(settings(folder, max_new_tokens=1))(PICTURES, [QUESTIONS] * 2)
    assert given == one_by_one(lambda shown, text: first_token(shown, text, 1.0))
    assert given != one_by_one(lambda shown, text: first_token(shown, text, 1.5))


@pytest.mark.parametrize("kind", ["blip2-t5", "instructblip-t5"])
def test_t5_in_float16_is_refused(folders, kind):
    with pytest.raises(ConfigError, match="T5 overflows in float16; use bfloat16 or float32"):
        KINDS[kind][2](settings(folders[kind], dtype="float16"))


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("blip2-opt", "query_tokens"),
        ("blip2-t5", "language_model.decoder.final_layer_norm.weight"),
        ("instructblip-llama", "qformer.embeddings.layernorm.bias"),
    ],
)
def test_a_renamed_weight_is_refused(tmp_path, kind, key):
    write, language, load, _ = KINDS[kind]
    write(tmp_path, language)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors[f"old_{key}"] = tensors.pop(key)
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(RecordError, match=f"missing_keys': \\['{key}.*old_{key}"):
        load(settings(tmp_path))


@pytest.mark.parametrize(("kind", "most"), [("blip2-opt", 247), ("instructblip-t5", 512)])
def test_a_question_beyond_the_models_positions_is_refused_and_not_cut(load, kind, most):
    judge = load(kind)
    with pytest.raises(RecordError, match=f"the model reads {most};"):
        judge(PICTURES[:1], [[*QUESTIONS, Question("cat " * 600, ())]])


def test_a_language_model_without_a_known_padding_side_is_refused(tmp_path):
    write_blip2(tmp_path, "opt")
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["model_type"] = "gpt2"
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="unknown language model 'gpt2'.*llama, opt, t5"):
        load_blip2(settings(tmp_path))


def test_about_says_what_decides_an_answer_and_not_the_batch(folders):
    one, two = (
        load_blip2(settings(folders["blip2-t5"], beams=5, questions_per_batch=n)).about
        for n in (1, 2)
    )
    assert json.dumps(one) == json.dumps(two)
    assert (one["class"], one["dtype"]) == ("Blip2ForConditionalGeneration", "float32")
    assert one["decoding"]["num_beams"] == 5
    assert one["preprocessing"]["size_px"] == {"height": 28, "width": 28}
    assert (one["preprocessing"]["resampling"], one["preprocessing"]["backend"]) == (
        "bicubic",
        "pil",
    )
    assert one["libraries"]["torch"] == torch.__version__
