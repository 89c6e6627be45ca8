"""Judges with random weights, written to a folder as the published ones lie on the Hub.

The classes, tokenizers and image processors are the real ones. Weights are large enough that
different questions and pictures get different answers.
"""

import string

import numpy as np
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForQuestionAnswering,
    BlipProcessor,
    GPT2Tokenizer,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    LlamaTokenizer,
    ViltConfig,
    ViltForQuestionAnswering,
    ViltImageProcessorPil,
    ViltProcessor,
)

from selma.judges.protocol import JudgeSettings, Question
from selma.tiny import blip2
from selma.tiny.blip2 import (
    LETTERS,
    TINY,
    WORDS,
    blip_pixels,
    t5_text,
    t5_tokenizer,
    write_judge,
)

QUESTIONS = [
    Question("Is there a cat?", ()),
    Question("Is it red?", ()),
    Question("Where is the dog?", ("left", "right", "under the tree", "on the car")),
    Question("What is on the left of the two white cats, under the tree?", ()),
    Question("Is the sky blue?", ()),
    Question("no?", ()),
    Question("What colour is the car?", ("red", "blue", "green")),
]


def picture(seed, height=40, width=56):
    """Draw coarse random blocks, (H, W, 3)."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    return blocks[rows][:, columns]


def settings(directory, **changes):
    """Give settings that tests vary."""
    values = {
        "path": str(directory),
        "revision": None,
        "dtype": "float32",
        "device": "cpu",
        "template": "bare",
        "questions_per_batch": 3,
        "max_new_tokens": 5,
        "beams": 1,
    }
    return JudgeSettings(**{**values, **changes})


def bert_tokenizer():
    """Spell unknown words letter by letter."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS.lower()[26:], *WORDS.split()]
    tokens += [f"##{letter}" for letter in string.ascii_lowercase]
    return BertTokenizer(vocab={token: index for index, token in enumerate(dict.fromkeys(tokens))})


def opt_tokenizer():
    """Spell letter by letter, as OPT's tokenizer with a start token."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *LETTERS, "Ġ"]
    return GPT2Tokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=[],
        bos_token="</s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        add_bos_token=True,
    )


def llama_tokenizer():
    """Spell letter by letter, as Vicuna's tokenizer with a start and a padding token."""
    tokens = ["<unk>", "<s>", "</s>", "▁", *LETTERS]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return LlamaTokenizer(vocab=vocabulary, merges=[], pad_token="<pad>", add_bos_token=True)


def opt_text(tokenizer, shape):
    """Give the config of an OPT that ends its answers at a token of its own, as BLIP-2's does."""
    return {
        "model_type": "opt",
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.convert_tokens_to_ids("e"),
        "ffn_dim": 2 * shape.text_width,
        "hidden_size": shape.text_width,
        "max_position_embeddings": 256,
        "num_attention_heads": 4,
        "num_hidden_layers": shape.text_layers,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
        "vocab_size": len(tokenizer),
        "word_embed_proj_dim": shape.text_width,
    }


def llama_text(tokenizer, shape):
    """Give the config of a LLaMA."""
    return {
        "model_type": "llama",
        **shape.layers("text"),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
        "vocab_size": len(tokenizer),
    }


LANGUAGES = {
    "llama": (llama_tokenizer, llama_text),
    "opt": (opt_tokenizer, opt_text),
    "t5": (t5_tokenizer, t5_text),
}


def write_blip2(directory, language="t5", shape=TINY):
    """Write a BLIP-2."""
    return blip2.write_blip2(directory, *LANGUAGES[language], shape)


def write_instructblip(directory, language="llama", shape=TINY):
    """Write an InstructBLIP."""
    make_tokenizer, make_text = LANGUAGES[language]
    tokenizer, question_tokenizer = make_tokenizer(), bert_tokenizer()
    processor = InstructBlipProcessor(
        blip_pixels(shape), tokenizer, question_tokenizer, num_query_tokens=shape.queries
    )
    config = InstructBlipConfig(
        vision_config=shape.vision(),
        qformer_config={**shape.layers("qformer"), "vocab_size": len(question_tokenizer)},
        text_config=make_text(tokenizer, shape),
        num_query_tokens=shape.queries,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    return write_judge(InstructBlipForConditionalGeneration(config), processor, directory, shape)


def write_blip_vqa(directory, shape=TINY):
    """Write a BLIP for question answering."""
    tokenizer = bert_tokenizer()
    text = {
        **shape.layers("text"),
        "bos_token_id": tokenizer.cls_token_id,
        "encoder_hidden_size": shape.vision_width,
        "eos_token_id": tokenizer.sep_token_id,
        "max_position_embeddings": 64,
        "pad_token_id": tokenizer.pad_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "vocab_size": len(tokenizer),
    }
    config = BlipConfig(vision_config=shape.vision(), text_config=text)
    processor = BlipProcessor(blip_pixels(shape), tokenizer)
    return write_judge(BlipForQuestionAnswering(config), processor, directory, shape)


def write_vilt(directory, shape=TINY):
    """Write a ViLT for question answering."""
    tokenizer = bert_tokenizer()
    config = ViltConfig(
        **shape.vision(),
        id2label=dict(enumerate(WORDS.split())),
        max_image_length=-1,
        max_position_embeddings=40,
        vocab_size=len(tokenizer),
    )
    size = {"shortest_edge": shape.image_size}
    processor = ViltProcessor(
        ViltImageProcessorPil(size=size, size_divisor=shape.patch_size), tokenizer
    )
    return write_judge(ViltForQuestionAnswering(config), processor, directory, shape)
