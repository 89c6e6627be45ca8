"""ViLT answers as the stock class does, whatever sizes of pictures share a batch."""

import json

import pytest
import stock
import torch
from safetensors.torch import load_file, save_file
from tiny import QUESTIONS, picture, settings, write_vilt
from transformers import ViltProcessor
from transformers.models.vilt.modeling_vilt import ViltPatchEmbeddings

from selma.core.errors import RecordError
from selma.judges.protocol import Question
from selma.judges.vilt import embed_patches, load_vilt, pad_patches
from selma.tiny.blip2 import WORDS, Shape

PICTURES = [picture(0), picture(1, 28, 28), picture(2, 45, 30), picture(3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a ViLT."""
    made = tmp_path_factory.mktemp("vilt")
    write_vilt(made, Shape(gain=8.0, seed=2))
    return made


def test_answers_are_those_of_the_stock_class_asked_one_by_one(folder):
    ask = stock.load_vilt(folder)
    given = load_vilt(settings(folder))(PICTURES, [QUESTIONS] * len(PICTURES))
    assert given == [
        [ask(shown, question.question) for question in QUESTIONS] for shown in PICTURES
    ]
    assert {answer for row in given for answer in row} <= set(WORDS.split())
    assert len({answer for row in given for answer in row}) >= 8
    assert sum(len(set(column)) > 1 for column in zip(*given, strict=True)) >= 5


def test_logits_of_a_mixed_batch_are_those_of_the_stock_class(folder):
    look, model = stock.vilt_logits(folder)
    processor = ViltProcessor.from_pretrained(folder)
    texts = [question.question for question in QUESTIONS[: len(PICTURES)]]
    with torch.inference_mode():
        made = [processor.image_processor(p, return_tensors="pt") for p in PICTURES]
        patches = [embed_patches(model, one["pixel_values"]) for one in made]
        assert len({len(one) for one in patches}) == 3
        image_embeds, mask = pad_patches(patches)
        tokens = processor.tokenizer(texts, padding=True, return_tensors="pt")
        logits = model(**tokens, image_embeds=image_embeds, pixel_mask=mask).logits
    wanted = torch.stack([look(shown, text) for shown, text in zip(PICTURES, texts, strict=True)])
    assert wanted.std() > 0.1
    torch.testing.assert_close(logits, wanted, atol=1e-5, rtol=1e-5)


def test_patches_stand_in_the_pictures_order_and_torchs_generator_stays(folder):
    _, model = stock.vilt_logits(folder)
    pixel_values = torch.randn(1, 3, 28, 35, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    with torch.inference_mode():
        first = embed_patches(model, pixel_values)
        again = embed_patches(model, pixel_values)
        state = torch.random.get_rng_state()
        torch.manual_seed(1)
        assert torch.equal(state, torch.random.get_rng_state())
        changed = pixel_values.clone()
        changed[:, :, 7:14, 14:21] += 1  # row 1, column 2 of 5 columns
        other = embed_patches(model, changed)
    assert torch.equal(first, again)
    assert (first != other).any(dim=1).nonzero().flatten().tolist() == [1 + 5 + 2]


def test_answers_depend_neither_on_the_batch_nor_on_the_order(folder):
    asked = [QUESTIONS, [], QUESTIONS[:2], QUESTIONS]
    small = load_vilt(settings(folder, questions_per_batch=1))(PICTURES, asked)
    judge = load_vilt(settings(folder, questions_per_batch=100))
    assert judge(PICTURES, asked) == small
    backwards = judge(PICTURES[::-1], [row[::-1] for row in asked[::-1]])
    assert [row[::-1] for row in backwards[::-1]] == small


def test_the_patches_of_a_picture_are_embedded_once(folder):
    calls = []
    judge = load_vilt(settings(folder))

    def count(module, _, output):
        calls.extend([module] * isinstance(module, ViltPatchEmbeddings))

    hook = torch.nn.modules.module.register_module_forward_hook(count)
    try:
        judge(PICTURES, [QUESTIONS] * len(PICTURES))
    finally:
        hook.remove()
    assert len(calls) == len(PICTURES)


def test_a_renamed_weight_is_refused(tmp_path):
    write_vilt(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors["classifier.9.weight"] = tensors.pop("classifier.3.weight")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(RecordError, match=r"missing_keys': \['classifier.3.*classifier.9.weight"):
        load_vilt(settings(tmp_path))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"max_image_length": 200}, "patches would be dropped at random"),
        ({"id2label": {str(n): f"LABEL_{n}" for n in range(len(WORDS.split()))}}, "no answers"),
    ],
)
def test_a_config_that_gives_no_certain_answers_is_refused(tmp_path, change, problem):
    write_vilt(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(RecordError, match=problem):
        load_vilt(settings(tmp_path))


def test_a_question_of_more_than_forty_tokens_is_refused_and_not_cut(folder):
    judge = load_vilt(settings(folder))
    with pytest.raises(RecordError, match="question 'cat cat.*has 42 tokens, the model reads 40"):
        judge(PICTURES[:1], [[*QUESTIONS, Question(" ".join(["cat"] * 40), ())]])


def test_about_is_json_and_leaves_out_what_does_not_matter(folder):
    one = load_vilt(settings(folder, beams=1, max_new_tokens=3, questions_per_batch=2)).about
    two = load_vilt(settings(folder, beams=5, max_new_tokens=9, questions_per_batch=7)).about
    assert json.dumps(one) == json.dumps(two)
    assert one["decoding"] == {"kind": "classification", "answers": len(WORDS.split())}
