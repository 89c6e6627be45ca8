"""BLIP answers as the stock class does, with one look at each picture."""

import json
from functools import partial

import pytest
import stock
import torch
from safetensors.torch import load_file, save_file
from tiny import QUESTIONS, picture, settings, write_blip_vqa
from transformers import BlipForQuestionAnswering, BlipTextModel, BlipVisionModel
from watch import watch

from selma.core.errors import RecordError
from selma.judges.blip_vqa import load_blip_vqa
from selma.judges.protocol import Question

PICTURES = [picture(0), picture(2, 90, 30)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a BLIP."""
    made = tmp_path_factory.mktemp("blip-vqa")
    write_blip_vqa(made)
    return made


@pytest.mark.parametrize("beams", [1, 3])
def test_answers_are_those_of_the_stock_class_asked_one_by_one(folder, beams):
    ask = stock.load_blip_vqa(folder, beams=beams)
    judge = load_blip_vqa(settings(folder, beams=beams))
    given = judge(PICTURES, [QUESTIONS] * len(PICTURES))
    assert given == [
        [ask(shown, question.question) for question in QUESTIONS] for shown in PICTURES
    ]
    assert len({answer for row in given for answer in row}) >= 8
    assert sum(len(set(column)) > 1 for column in zip(*given, strict=True)) >= 5


def test_answers_depend_neither_on_the_batch_nor_on_the_order(folder):
    asked = [QUESTIONS, QUESTIONS[:2], []]
    pictures = [*PICTURES, PICTURES[0]]
    small = load_blip_vqa(settings(folder, questions_per_batch=1, beams=3))(pictures, asked)
    judge = load_blip_vqa(settings(folder, questions_per_batch=100, beams=3))
    assert judge(pictures, asked) == small
    backwards = judge(pictures[::-1], [row[::-1] for row in asked[::-1]])
    assert [row[::-1] for row in backwards[::-1]] == small


def test_in_bfloat16_single_questions_are_answered_as_by_the_stock_class(folder):
    ask = stock.load_blip_vqa(folder, dtype=torch.bfloat16)
    judge = load_blip_vqa(settings(folder, dtype="bfloat16", questions_per_batch=1))
    assert judge(PICTURES[:1], [QUESTIONS]) == [[ask(PICTURES[0], q.question) for q in QUESTIONS]]


def test_each_picture_is_encoded_once_and_its_questions_share_its_keys(folder):
    judge = load_blip_vqa(settings(folder, questions_per_batch=100))
    with watch(BlipVisionModel, BlipTextModel) as seen:
        judge(PICTURES, [QUESTIONS] * len(PICTURES))
    assert sum(isinstance(module, BlipVisionModel) for module, _ in seen) == len(PICTURES)
    reader = next(module for module, _ in seen if isinstance(module, BlipTextModel))
    attention = reader.encoder.layer[0].crossattention.self
    with watch(torch.nn.Linear) as seen:
        judge(PICTURES, [QUESTIONS] * len(PICTURES))
    for part in (attention.key, attention.value):
        assert [out.shape for module, out in seen if module is part] == [(1, 1 + 16, 32)] * 2


@pytest.mark.parametrize(
    "key",
    ["vision_model.post_layernorm.bias", "text_decoder.cls.predictions.transform.dense.bias"],
)
def test_a_renamed_weight_is_refused(tmp_path, key):
    write_blip_vqa(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors[f"old_{key}"] = tensors.pop(key)
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(RecordError, match=f"missing_keys': \\['{key}.*old_{key}"):
        load_blip_vqa(settings(tmp_path))


def test_buffers_that_older_releases_saved_are_not_unexpected(tmp_path, folder):
    write_blip_vqa(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors["text_encoder.embeddings.position_ids"] = torch.arange(64)[None]
    save_file(tensors, path, metadata={"format": "pt"})
    old, new = load_blip_vqa(settings(tmp_path)), load_blip_vqa(settings(folder))
    assert old(PICTURES[:1], [QUESTIONS]) == new(PICTURES[:1], [QUESTIONS])


def test_a_question_that_is_too_long_is_refused_and_not_cut(folder):
    judge = load_blip_vqa(settings(folder))
    with pytest.raises(RecordError, match="question 'cat cat.*has 72 tokens, the model reads 64"):
        judge(PICTURES[:1], [[*QUESTIONS, Question(" ".join(["cat"] * 70), ())]])


def test_about_is_json_and_names_the_decoding(folder):
    about = json.loads(json.dumps(load_blip_vqa(settings(folder, beams=3)).about))
    assert (about["class"], about["decoding"]["num_beams"]) == ("BlipForQuestionAnswering", 3)


def test_the_stock_decoder_reads_padding_which_is_why_lengths_are_not_mixed(folder):
    model = BlipForQuestionAnswering.from_pretrained(folder).eval()
    read, start = torch.randn(1, 6, 32), torch.tensor([[2]])
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]])
    with torch.inference_mode():
        decode = partial(model.text_decoder, start, encoder_hidden_states=read)
        masked = decode(encoder_attention_mask=mask).logits
        cut = model.text_decoder(start, encoder_hidden_states=read[:, :4]).logits
    assert not torch.allclose(masked, cut, atol=0.1)
