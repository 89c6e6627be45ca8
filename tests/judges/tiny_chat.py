"""Chat models with random weights, written to a folder as the published ones lie on the Hub.

Each kind has its own tokenizer, image processor and chat template, in the published form. A reply
depends on the picture and on all words of the question. What is not saved here by transformers'
own `save_pretrained` is written as the published folders have it.
"""

import json
import string
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import (
    CLIPImageProcessorPil,
    GPT2Tokenizer,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaTokenizer,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    MllamaConfig,
    MllamaForConditionalGeneration,
    MllamaImageProcessorPil,
    MllamaProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
)

from selma.tiny.blip2 import randomise

MARKS = "?,.:\"'<>/|_!-"
WORDS = ("Yes", "No")
WIDTH, HEADS, LAYERS = 32, 4, 2
SAMPLING = {"do_sample": True, "temperature": 0.7, "top_k": 3, "top_p": 0.5}
LLAVA_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>\n' }}"
    "{% else %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
IDEFICS3_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'].capitalize() }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "{{ '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MLLAMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start|>' + message['role'] + '\n' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<|image|>' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{{ '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant\n' }}{% endif %}"
)


class Written(NamedTuple):
    """What was written: for the oracle, which never reads the folder."""

    model: torch.nn.Module
    processor: object


def text_config(tokenizer, model_type, **more):
    """Give the config of a language model."""
    return {
        "model_type": model_type,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": 512,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": 2,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
        "vocab_size": len(tokenizer),
        **more,
    }


def byte_vocabulary(specials, words=WORDS):
    """Give a vocabulary that spells letter by letter but knows some words, and its merges."""
    tokens = [*specials, *string.ascii_letters, *string.digits, *MARKS, "Ġ", "Ċ"]
    merges = []
    for word in words:
        for end in range(2, len(word) + 1):
            merges.append((word[: end - 1], word[end - 1]))
            tokens.append(word[:end])
        merges.append(("Ġ", word))
        tokens.append(f"Ġ{word}")
    return {token: index for index, token in enumerate(dict.fromkeys(tokens))}, merges


def write_llava(directory, *, words=WORDS, template=LLAVA_TEMPLATE):
    """Write a LLaVA: CLIP's tower, one square for each picture, Vicuna's frame."""
    tokens = ["<unk>", "<s>", "</s>", "▁", *string.ascii_letters, *string.digits, *MARKS, "\n"]
    merges = []
    for word in words:
        for end in range(2, len(word) + 1):
            merges.append((word[: end - 1], word[end - 1]))
            tokens.append(word[:end])
        merges.append(("▁", word))
        tokens.append(f"▁{word}")
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = LlamaTokenizer(
        vocab=vocabulary, merges=merges, pad_token="<pad>", add_bos_token=True, legacy=False
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
    )
    processor = LlavaProcessor(
        image_processor,
        tokenizer,
        patch_size=7,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )
    vision = {
        "model_type": "clip_vision_model",
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_attention_heads": HEADS,
        "num_hidden_layers": 3,
        "image_size": 28,
        "patch_size": 7,
        "projection_dim": WIDTH,
    }
    config = LlavaConfig(
        vision_config=vision,
        text_config=text_config(tokenizer, "llama"),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
    )
    model = LlavaForConditionalGeneration(config)
    return _write(directory, model, processor, eos_token_id=tokenizer.eos_token_id)


def write_idefics3(directory, **_):
    """Write an Idefics3, the class of the first SmolVLM: a picture becomes tiles and a whole."""
    specials = ["<|endoftext|>", "<|im_start|>", "<end_of_utterance>", "<image>"]
    specials += ["<fake_token_around_image>", "<global-img>"]
    specials += [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    vocabulary, merges = byte_vocabulary(specials)
    tokenizer = GPT2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<|im_start|>",
        unk_token="<|endoftext|>",
        additional_special_tokens=specials[3:],
    )
    image_processor = Idefics3ImageProcessorPil(
        size={"longest_edge": 48}, max_image_size={"longest_edge": 24}, do_image_splitting=True
    )
    processor = Idefics3Processor(
        image_processor, tokenizer, image_seq_len=4, chat_template=IDEFICS3_TEMPLATE
    )
    vision = {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "image_size": 24,
        "patch_size": 6,
    }
    config = Idefics3Config(
        vision_config=vision,
        text_config=text_config(tokenizer, "llama"),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    model = Idefics3ForConditionalGeneration(config)
    return _write(directory, model, processor, eos_token_id=tokenizer.eos_token_id)


def write_qwen2_vl(directory, *, words=WORDS, template=QWEN_TEMPLATE):
    """Write a Qwen2-VL: pictures keep their shape, positions are three-dimensional."""
    config = Qwen2VLConfig, {"embed_dim": WIDTH, "hidden_size": WIDTH, "mlp_ratio": 2}
    return _write_qwen(
        directory,
        Qwen2VLForConditionalGeneration,
        config,
        "qwen2_vl_text",
        Qwen2VLProcessor,
        words=words,
        template=template,
    )


def write_qwen2_5_vl(directory, **_):
    """Write a Qwen2.5-VL: as Qwen2-VL, with windows in its tower."""
    vision = {"hidden_size": WIDTH, "out_hidden_size": WIDTH, "intermediate_size": 2 * WIDTH}
    config = Qwen2_5_VLConfig, {**vision, "window_size": 16, "fullatt_block_indexes": [1]}
    return _write_qwen(
        directory,
        Qwen2_5_VLForConditionalGeneration,
        config,
        "qwen2_5_vl_text",
        Qwen2_5_VLProcessor,
    )


def _write_qwen(
    directory,
    model_class,
    config,
    text_type,
    processor_class,
    *,
    words=WORDS,
    template=QWEN_TEMPLATE,
):
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>"]
    specials += ["<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    vocabulary, merges = byte_vocabulary(specials, words)
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=specials[1:],
    )
    image_processor = Qwen2VLImageProcessorPil(
        patch_size=4, merge_size=2, size={"shortest_edge": 16 * 16, "longest_edge": 40 * 40}
    )

    class Processor(processor_class):
        """Does without a video processor, which needs torchvision."""

        def check_argument_for_proper_class(self, argument_name, argument):
            return None

    Processor.__name__ = processor_class.__name__
    processor = Processor(image_processor, tokenizer, None, chat_template=template)
    ids = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{token}|>")
        for name, token in [
            ("image", "image_pad"),
            ("video", "video_pad"),
            ("vision_start", "vision_start"),
            ("vision_end", "vision_end"),
        ]
    }
    config_class, vision = config
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    built = config_class(
        vision_config={"depth": LAYERS, "num_heads": HEADS, "patch_size": 4, **vision},
        text_config=text_config(tokenizer, text_type, rope_parameters=rope),
        tie_word_embeddings=False,
        **ids,
    )
    ends = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    return _write(
        directory, model_class(built), processor, eos_token_id=ends, repetition_penalty=1.05
    )


def write_mllama(directory, **_):
    """Write a Llama 3.2 Vision: its text looks at the picture across, there is nothing to share."""
    specials = ["<|begin|>", "<|eot|>", "<|pad|>", "<|start|>"]
    vocabulary, merges = byte_vocabulary(specials)
    tokenizer = GPT2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        bos_token="<|begin|>",
        eos_token="<|eot|>",
        pad_token="<|pad|>",
        unk_token="<|begin|>",
        additional_special_tokens=["<|start|>", "<|image|>"],
    )
    image_processor = MllamaImageProcessorPil(size={"height": 24, "width": 24}, max_image_tiles=4)
    processor = MllamaProcessor(image_processor, tokenizer, chat_template=MLLAMA_TEMPLATE)
    vision = {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_global_layers": 1,
        "intermediate_layers_indices": [0],
        "vision_output_dim": 2 * WIDTH,
        "image_size": 24,
        "patch_size": 6,
    }
    text = text_config(tokenizer, "mllama_text_model", cross_attention_layers=[1])
    text["vocab_size"] = len(tokenizer) - 1  # the picture's token is read and never written
    config = MllamaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<|image|>"),
    )
    model = MllamaForConditionalGeneration(config)
    return _write(directory, model, processor, eos_token_id=tokenizer.eos_token_id)


KINDS = {
    "llava": write_llava,
    "idefics3": write_idefics3,
    "qwen2-vl": write_qwen2_vl,
    "qwen2.5-vl": write_qwen2_5_vl,
    "mllama": write_mllama,
}


def _write(directory, model, processor, **generation):
    """Write a model that samples by default, as published chat models do."""
    from selma.tiny.blip2 import TINY

    randomise(model, TINY)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "gate" in name and weight.numel() == 1:
                weight.fill_(0.4)  # or Llama 3.2 Vision is blind
    directory = Path(directory)
    model.save_pretrained(directory)
    processor.tokenizer.save_pretrained(directory)
    image = json.loads(processor.image_processor.to_json_string())
    image["processor_class"] = type(processor).__name__
    (directory / "preprocessor_config.json").write_text(json.dumps(image))
    values = {
        name: value
        for name, value in processor.to_dict().items()
        if not isinstance(value, dict) and name != "chat_template"
    }
    if not isinstance(processor, Qwen2VLProcessor | Qwen2_5_VLProcessor):  # these have no such file
        (directory / "processor_config.json").write_text(json.dumps(values))
    if processor.chat_template is not None:
        (directory / "chat_template.jinja").write_text(processor.chat_template)
    ids = {"pad_token_id": processor.tokenizer.pad_token_id, **generation}
    (directory / "generation_config.json").write_text(json.dumps({**SAMPLING, **ids}))
    return Written(model.eval(), processor)
