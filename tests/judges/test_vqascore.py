"""VQAScore is what the stock model's logits say, whatever shares a batch."""

import json
import math

import pytest
import torch
from PIL import Image
from tiny import picture, settings
from tiny_chat import KINDS, LLAVA_TEMPLATE, QWEN_TEMPLATE, write_llava, write_qwen2_vl

from selma.core.errors import ConfigError, RecordError
from selma.judges.chat.model import load_chat_model
from selma.judges.chat.vqascore import QUESTION, VARIANTS, VqaScorer, load_vqascore

PICTURES = [picture(0), picture(1, 28, 28), picture(2, 90, 30), picture(3)]
PROMPTS = ["a cat", "two white dogs under a tree", 'a sign that says "no"', "a"]
# What each chat template writes for "Yes", and the tokens of it.
WRITTEN = {
    "llava": ("ASSISTANT: Yes", ["▁Yes"], "▁No", "</s>"),
    "idefics3": ("Assistant: Yes", ["ĠYes"], "ĠNo", "<end_of_utterance>"),
    "qwen2-vl": ("<|im_start|>assistant\nYes", ["Yes"], "No", "<|im_end|>"),
    "qwen2.5-vl": ("<|im_start|>assistant\nYes", ["Yes"], "No", "<|im_end|>"),
    "mllama": ("<|start|>assistant\nYes", ["Yes"], "No", "<|eot|>"),
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
def chats(folders, written):
    """A loaded model of each kind."""
    return {kind: load_chat_model(settings(folders[kind])) for kind in KINDS}


def probabilities(written, frame, shown, prompt, tokens):
    """Let the stock model read a prompt with its reply; give P of each token of the reply.

    The last word of the frame is cut off and its tokens are put behind the prompt by hand.
    """
    processor = written.processor
    content = [{"type": "image"}, {"type": "text", "text": QUESTION.format(prompt)}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    assert text.endswith(frame.removesuffix("Yes").rstrip(" "))
    bos = processor.tokenizer.bos_token
    inputs = processor(
        images=[[Image.fromarray(shown)]],
        text=[text],
        add_special_tokens=not (bos and text.startswith(bos)),
        return_tensors="pt",
    )
    length = inputs["input_ids"].shape[1]
    reply = torch.tensor([processor.tokenizer.convert_tokens_to_ids(tokens)])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], reply], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if "mm_token_type_ids" in inputs:
        zeros = torch.zeros_like(reply)
        inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], zeros], dim=1)
    if "cross_attention_mask" in inputs:
        mask = inputs["cross_attention_mask"]
        last = mask[:, -1:].expand(-1, reply.shape[1], *mask.shape[2:])
        inputs["cross_attention_mask"] = torch.cat([mask, last], dim=1)
    with torch.inference_mode():
        logits = written.model(**inputs).logits[0].double()
    steps = logits[length - 1 : -1].softmax(dim=-1)
    return [step[token].item() for step, token in zip(steps, reply[0], strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_stock_models_logits(chats, written, kind):
    frame, yes_tokens, no_token, end = WRITTEN[kind]
    given = {name: VqaScorer(chats[kind], name, 3)(PICTURES, PROMPTS) for name in VARIANTS}
    for place, (shown, prompt) in enumerate(zip(PICTURES, PROMPTS, strict=True)):
        yes, ended = probabilities(written[kind], frame, shown, prompt, [*yes_tokens, end])
        (no,) = probabilities(written[kind], frame, shown, prompt, [no_token])
        assert given["p-yes"][place] == pytest.approx(yes, rel=1e-3)
        assert given["geometric-mean"][place] == pytest.approx(math.sqrt(yes * ended), rel=1e-3)
        assert given["yes-no"][place] == pytest.approx(yes / (yes + no), rel=1e-3)
    for scores in given.values():
        assert len(set(scores)) == len(scores)


@pytest.mark.parametrize("kind", KINDS)
def test_a_score_does_not_depend_on_its_batch(chats, kind):
    together, alone = (VqaScorer(chats[kind], "geometric-mean", size) for size in (100, 1))
    one_by_one = [alone([p], [q])[0] for p, q in zip(PICTURES, PROMPTS, strict=True)]
    assert together(PICTURES, PROMPTS) == pytest.approx(one_by_one, rel=1e-4)
    assert together([], []) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokens_are_those_that_the_chat_template_writes(chats, written, kind):
    _, yes_tokens, no_token, end = WRITTEN[kind]
    scorer = VqaScorer(chats[kind], "p-yes", 1)
    names = written[kind].processor.tokenizer.convert_ids_to_tokens
    assert names(list(scorer.replies.yes.tokens)) == yes_tokens
    assert names(list(scorer.replies.no.tokens)) == [no_token]
    assert names(scorer.replies.yes.end) == end


def test_about_names_question_variant_and_tokens(folders, written):
    scorer = load_vqascore(settings(folders["llava"], template="yes-no"), "geometric-mean")
    about = json.loads(json.dumps(scorer.about))
    assert about == scorer.about
    assert (about["variant"], about["template"]) == ("geometric-mean", QUESTION)
    assert about["yes_tokens"] == list(scorer.replies.yes.tokens)
    assert about["class"] == "LlavaForConditionalGeneration"


def test_a_yes_of_several_tokens_counts_by_its_first_or_by_all(tmp_path):
    made = write_qwen2_vl(tmp_path, words=())
    frame, tokens = WRITTEN["qwen2-vl"][0], ["Y", "e", "s", "<|im_end|>"]
    each = probabilities(made, frame, PICTURES[0], PROMPTS[0], tokens)
    chat = load_chat_model(settings(tmp_path))
    (first,) = VqaScorer(chat, "p-yes", 1)(PICTURES[:1], PROMPTS[:1])
    (mean,) = VqaScorer(chat, "geometric-mean", 1)(PICTURES[:1], PROMPTS[:1])
    assert first == pytest.approx(each[0], rel=1e-3)
    assert mean == pytest.approx(math.prod(each) ** (1 / 4), rel=1e-3)


@pytest.mark.parametrize(
    ("write", "template", "problem"),
    [
        (  # a reply that begins with a thought
            write_qwen2_vl,
            QWEN_TEMPLATE.replace("{{ part['text'] }}", "{{ '<think>' + part['text'] }}"),
            "behind an open turn it does not write 'Yes' first",
        ),
        (  # a turn that ends in the space which the word's token begins with
            write_llava,
            LLAVA_TEMPLATE.replace("'ASSISTANT:'", "'ASSISTANT: '"),
            "'Yes' has no tokens of its own",
        ),
        (  # two tokens may end a reply and the template writes none
            write_qwen2_vl,
            QWEN_TEMPLATE.replace("<|im_end|>", ""),
            "none of the end tokens",
        ),
    ],
)
def test_a_template_that_does_not_show_the_tokens_of_yes_is_refused(
    tmp_path, write, template, problem
):
    write(tmp_path, template=template)
    with pytest.raises(RecordError, match=problem):
        load_vqascore(settings(tmp_path), "p-yes")


def test_a_yes_that_begins_with_a_space_of_its_own_is_refused(tmp_path):
    write_llava(tmp_path, words=())  # "▁" is a token and "Y" is another
    with pytest.raises(RecordError, match="'Yes' has no tokens of its own"):
        load_vqascore(settings(tmp_path), "p-yes")


def test_an_unknown_variant_is_refused_before_a_model_is_read(tmp_path):
    with pytest.raises(ConfigError, match="unknown VQAScore variant 'p-no'"):
        load_vqascore(settings(tmp_path / "none"), "p-no")


def test_a_picture_without_a_prompt_is_an_error(chats):
    with pytest.raises(ValueError, match="shorter"):
        VqaScorer(chats["llava"], "p-yes", 1)(PICTURES, PROMPTS[:1])
