"""Chat models answer as the stock classes do, with one look at each picture."""

import functools
import json
import logging
from collections import Counter
from dataclasses import replace

import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny import picture
from tiny_chat import KINDS, write_llava, write_qwen2_vl
from transformers import Idefics3ForConditionalGeneration

from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.judges.chat.files import load_parts, question
from selma.judges.chat.model import ChatModel, load_chat
from selma.judges.normalise import NORMALISERS
from selma.judges.protocol import Question
from selma.judges.templates import TEMPLATES

PICTURES = [picture(0), picture(1, 28, 28), picture(2, 90, 30)]
QUESTIONS = [
    Question("Is it red?", ()),
    Question("Where is the dog?", ("left", "right", "under the tree", "on the car")),
    Question("no?", ()),
    Question("What is on the left of the two white cats, under the tree?", ()),
]
NEW_TOKENS = 5
SHARING = sorted(set(KINDS) - {"mllama"})
TOWERS = {
    "llava": "vision_tower",
    "idefics3": "vision_model",
    "qwen2-vl": "visual",
    "qwen2.5-vl": "visual",
    "mllama": "vision_model",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each kind of model."""
    return {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}


@pytest.fixture(scope="module")
def written(folders):
    """What was written, never read from its folder."""
    return {kind: write(folders[kind]) for kind, write in KINDS.items()}


@pytest.fixture(scope="module")
def load(folders, written):
    """Load a judge of a kind, each one once."""
    return functools.cache(lambda kind, **changes: load_chat(settings(folders[kind], **changes)))


def settings(directory, **changes):
    """Give settings that tests vary."""
    return tiny.settings(directory, **{"max_new_tokens": NEW_TOKENS, **changes})


def one_by_one(written, folder, *, beams=1, template="bare"):
    """Ask the stock processor and the stock model one question at a time."""
    ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]

    def ask(shown, text):
        content = [{"type": "image", "image": Image.fromarray(shown)}]
        content.append({"type": "text", "text": text})
        inputs = written.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(dtype=written.model.dtype)
        new = written.model.generate(
            **inputs,
            do_sample=False,
            eos_token_id=ends,
            pad_token_id=written.processor.tokenizer.pad_token_id,
            max_new_tokens=NEW_TOKENS,
            num_beams=beams,
        )[0, inputs["input_ids"].shape[1] :]
        return written.processor.tokenizer.decode(new, skip_special_tokens=True).strip()

    return [[ask(p, TEMPLATES[template](q)) for q in QUESTIONS] for p in PICTURES]


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_the_stock_class_asked_one_by_one(load, folders, written, kind, beams):
    changes = {"beams": beams} if beams > 1 else {}
    given = load(kind, template="tifa-selma", **changes)(PICTURES, [QUESTIONS] * len(PICTURES))
    assert given == one_by_one(written[kind], folders[kind], beams=beams, template="tifa-selma")
    assert len({answer for row in given for answer in row}) >= 8
    assert sum(len(set(column)) > 1 for column in zip(*given, strict=True)) >= 3


@pytest.mark.parametrize("kind", KINDS)
def test_answers_depend_neither_on_the_batch_nor_on_the_order(load, kind):
    asked = [QUESTIONS, [], QUESTIONS[:2]]
    judge = load(kind, template="tifa-selma")
    small = replace(judge, questions_per_batch=1)(PICTURES, asked)
    large = replace(judge, questions_per_batch=100)
    assert large(PICTURES, asked) == small
    backwards = large(PICTURES[::-1], [row[::-1] for row in asked[::-1]])
    assert [row[::-1] for row in backwards[::-1]] == small


def test_in_bfloat16_single_questions_are_answered_as_by_the_stock_class(folders, written):
    folder = folders["idefics3"]
    judge = load_chat(settings(folder, dtype="bfloat16", questions_per_batch=1))
    model = Idefics3ForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16)
    model.generation_config = written["idefics3"].model.generation_config
    stock = written["idefics3"]._replace(model=model.eval())
    assert judge(PICTURES, [QUESTIONS] * len(PICTURES)) == one_by_one(stock, folder)
    assert judge.about["encodes_once"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_prepared_and_encoded_as_often_as_about_says(load, kind, monkeypatch):
    judge = replace(load(kind, template="tifa-selma"), questions_per_batch=1)
    chat, calls = judge.encode.__self__, Counter()
    image_processor = type(chat.processor.image_processor)
    preprocess = image_processor.preprocess

    def count(*arguments, **options):
        calls["prepared"] += 1
        return preprocess(*arguments, **options)

    monkeypatch.setattr(image_processor, "preprocess", count)
    tower = getattr(chat.model.model, TOWERS[kind])
    hook = tower.register_forward_hook(lambda *_: calls.update(["encoded"]))
    try:
        judge(PICTURES[:2], [QUESTIONS[:3]] * 2)
    finally:
        hook.remove()
    assert judge.about["encodes_once"] == (kind in SHARING)
    times = 2 if kind in SHARING else 2 * 3
    assert calls == {"prepared": times, "encoded": times}


def test_a_tower_that_sees_a_batch_differently_looks_for_each_question(folders, written, caplog):
    model, processor = load_parts(settings(folders["llava"]))

    def centre(module, arguments, output):
        return output - output.mean(dim=0)

    model.model.multi_modal_projector.register_forward_hook(centre)
    with caplog.at_level(logging.INFO):
        chat = ChatModel(model, processor, settings(folders["llava"]))
    assert not chat.encodes_once
    assert "for each question: its vision tower sees a batch of pictures differently" in caplog.text
    assert "mm_encoder_outputs" not in chat.inputs([chat.see(PICTURES[0])], ["Is it red?"])


def test_a_full_gpu_is_not_taken_for_a_tower_that_cannot_share(folders, written):
    model, processor = load_parts(settings(folders["llava"]))

    def fill(module, arguments, output):
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.get_submodule(f"model.{TOWERS['llava']}").register_forward_hook(fill)
    with pytest.raises(torch.OutOfMemoryError):
        ChatModel(model, processor, settings(folders["llava"]))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_drawn_and_nothing_warned_whatever_the_models_file_says(
    folders, written, kind, caplog
):
    published = json.loads((folders[kind] / "generation_config.json").read_text())
    assert published["do_sample"] and published["temperature"] == 0.7
    with caplog.at_level(logging.WARNING):
        logging.getLogger("transformers").addHandler(caplog.handler)
        try:
            judge = load_chat(settings(folders[kind]))
            state = torch.random.get_rng_state()
            judge(PICTURES[:1], [QUESTIONS[:2]])
        finally:
            logging.getLogger("transformers").removeHandler(caplog.handler)
    assert [record.getMessage() for record in caplog.records] == []
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_picture_stands_before_the_question_and_the_template_around_it(load):
    chat = load("qwen2-vl").encode.__self__
    assert chat.render([question("Is it red?")], ask=True) == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Is it red?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("template", [None, "{{ messages[0]['content'][-1]['text'] }}"])
def test_a_model_without_a_chat_template_that_shows_a_picture_is_refused(tmp_path, template):
    write_llava(tmp_path, template=template)
    with pytest.raises(RecordError, match=r"chat_template.jinja: (there is no|of a message with)"):
        load_chat(settings(tmp_path))


def test_a_question_that_holds_an_image_token_is_told(load):
    judge = load("llava")
    with pytest.raises(RecordError, match="'<image>. a cat' and a picture of 56×40 pixels make no"):
        judge([PICTURES[0]], [[Question("<image>? a cat", ())]])


def test_a_prompt_that_is_too_long_is_told(load):
    judge = load("llava")
    with pytest.raises(RecordError, match="the model reads 512; lower max_new_tokens"):
        judge([PICTURES[0]], [[Question("Is it red? " * 100, ())]])


def test_a_renamed_weight_is_refused(tmp_path):
    write_qwen2_vl(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in sorted(tensors) if "visual" in name)
    tensors[f"{name}_old"] = tensors.pop(name)
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(RecordError, match="missing_keys"):
        load_chat(settings(tmp_path))


def test_a_missing_folder_and_a_moving_revision_are_told(tmp_path):
    with pytest.raises(MissingDataError, match="no such folder"):
        load_chat(settings(tmp_path / "none"))
    with pytest.raises(ConfigError, match="is no commit of 40"):
        load_chat(settings("org/model", revision="main"))


def test_about_says_what_decides_an_answer_and_not_the_batch(load):
    one, two = (load("idefics3", questions_per_batch=number).about for number in (1, 2))
    assert json.dumps(one) == json.dumps(two)
    assert one["class"] == "Idefics3ForConditionalGeneration"
    assert one["processor"] == "Idefics3Processor"
    assert (one["decoding"]["num_beams"], one["decoding"]["do_sample"]) == (1, False)
    assert one["preprocessing"]["backend"] == "pil"
    assert one["picture_settings"]["max_image_size"] == {"longest_edge": 24}
    assert one["libraries"]["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("reply", "as_is", "gpt4o", "first_word"),
    [
        ("Yes.", "Yes.", "yes", "yes"),
        (" no!\n", " no!\n", "no", "no"),
        ("Yes, it is?", "Yes, it is?", "yes it is", "yes"),
        ("Yesterday", "Yesterday", "yesterday", "yesterday"),
        ("", "", "", ""),
    ],
)
def test_normalisers_do_what_dsgs_helpers_do(reply, as_is, gpt4o, first_word):
    assert NORMALISERS["first-word"](reply) == first_word
    assert NORMALISERS["as-is"](reply) == as_is
    assert NORMALISERS["gpt4o-helper"](reply) == gpt4o
