"""Judges with random weights, written to a folder as the published ones lie on the Hub.

The classes, tokenizers and image processors are the real ones. Weights are large enough that
different questions and pictures get different answers.
"""

import json
import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import (
    BertTokenizer,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipConfig,
    BlipForQuestionAnswering,
    BlipImageProcessorPil,
    BlipProcessor,
    GPT2Tokenizer,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    LlamaTokenizer,
    T5Tokenizer,
    ViltConfig,
    ViltForQuestionAnswering,
    ViltImageProcessorPil,
    ViltProcessor,
)

from selma.judges.protocol import JudgeSettings, Question

WORDS = "a bird blue car cat cats dog five four green in is left no of on one red right "
WORDS += "sky the there three tree two under what where white yellow yes"
MARKS = "?,.:"
LETTERS = string.ascii_letters + MARKS
QUESTIONS = [
    Question("Is there a cat?", ()),
    Question("Is it red?", ()),
    Question("Where is the dog?", ("left", "right", "under the tree", "on the car")),
    Question("What is on the left of the two white cats, under the tree?", ()),
    Question("Is the sky blue?", ()),
    Question("no?", ()),
    Question("What colour is the car?", ("red", "blue", "green")),
]


@dataclass(frozen=True)
class Shape:
    """The proportions of a model.

    Attributes:
        image_size: edge of the square that the vision tower sees, in pixels.
        patch_size: edge of a patch.
        vision_layers: of the vision tower, or of ViLT's encoder.
        vision_width: width of it.
        queries: what BLIP-2's language model sees of a picture, in tokens.
        qformer_layers: of the Q-Former.
        qformer_width: width of it.
        text_layers: of each of encoder and decoder.
        text_width: width of them.
        gain: standard deviation of what a layer gives for inputs of deviation 1.
        seed: of the weights.
    """

    image_size: int = 28
    patch_size: int = 7
    vision_layers: int = 2
    vision_width: int = 32
    queries: int = 4
    qformer_layers: int = 2
    qformer_width: int = 32
    text_layers: int = 2
    text_width: int = 32
    gain: float = 2.0
    seed: int = 0

    def layers(self, part):
        """Give the arguments that all transformers of a part share."""
        width = getattr(self, f"{part}_width")
        return {
            "hidden_size": width,
            "intermediate_size": 2 * width,
            "num_attention_heads": 4,
            "num_hidden_layers": getattr(self, f"{part}_layers"),
        }

    def vision(self):
        """Give the arguments of a vision tower."""
        return {
            **self.layers("vision"),
            "image_size": self.image_size,
            "patch_size": self.patch_size,
        }


TINY = Shape()


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


def randomise(model, shape):
    """Draw all weights anew; mutates and returns the model."""
    generator = torch.Generator().manual_seed(shape.seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            noise = torch.randn(weight.shape, generator=generator)
            if "norm" in name.lower():
                weight.fill_(0 if name.endswith("bias") else 1)
            elif "embed" in name or "token" in name or weight.dim() < 2:
                weight.copy_(noise if weight.dim() > 1 else 0.1 * noise)
            else:
                weight.copy_(noise * shape.gain / weight[0].numel() ** 0.5)
    return model.eval()


def bert_tokenizer():
    """Spell unknown words letter by letter."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS.lower()[26:], *WORDS.split()]
    tokens += [f"##{letter}" for letter in string.ascii_lowercase]
    return BertTokenizer(vocab={token: index for index, token in enumerate(dict.fromkeys(tokens))})


def t5_tokenizer():
    """Know some words and all letters."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -9.0)]
    pieces += [(letter, -9.0) for letter in LETTERS]
    pieces += [(f"▁{word}", -3.0) for word in WORDS.split()]
    return T5Tokenizer(vocab=list(dict(pieces).items()), extra_ids=0)


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


def t5_text(tokenizer, shape):
    """Give the config of a T5 whose embeddings are not tied, as Flan-T5's."""
    return {
        "model_type": "t5",
        "d_ff": 2 * shape.text_width,
        "d_kv": shape.text_width // 4,
        "d_model": shape.text_width,
        "decoder_start_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "feed_forward_proj": "gated-gelu",
        "num_heads": 4,
        "num_layers": shape.text_layers,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
        "vocab_size": len(tokenizer),
    }


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
    make_tokenizer, make_text = LANGUAGES[language]
    tokenizer = make_tokenizer()
    processor = Blip2Processor(_blip_pixels(shape), tokenizer, num_query_tokens=shape.queries)
    config = Blip2Config(
        vision_config=shape.vision(),
        qformer_config=shape.layers("qformer"),
        text_config=make_text(tokenizer, shape),
        num_query_tokens=shape.queries,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    return _write(Blip2ForConditionalGeneration(config), processor, directory, shape)


def write_instructblip(directory, language="llama", shape=TINY):
    """Write an InstructBLIP."""
    make_tokenizer, make_text = LANGUAGES[language]
    tokenizer, question_tokenizer = make_tokenizer(), bert_tokenizer()
    processor = InstructBlipProcessor(
        _blip_pixels(shape), tokenizer, question_tokenizer, num_query_tokens=shape.queries
    )
    config = InstructBlipConfig(
        vision_config=shape.vision(),
        qformer_config={**shape.layers("qformer"), "vocab_size": len(question_tokenizer)},
        text_config=make_text(tokenizer, shape),
        num_query_tokens=shape.queries,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    return _write(InstructBlipForConditionalGeneration(config), processor, directory, shape)


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
    processor = BlipProcessor(_blip_pixels(shape), tokenizer)
    return _write(BlipForQuestionAnswering(config), processor, directory, shape)


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
    return _write(ViltForQuestionAnswering(config), processor, directory, shape)


def _blip_pixels(shape):
    return BlipImageProcessorPil(size={"height": shape.image_size, "width": shape.image_size})


def _write(model, processor, directory, shape):
    """Write a model and its processor's files, these as they lie in the published folders."""
    randomise(model, shape).save_pretrained(directory)
    processor.save_pretrained(directory)
    path = Path(directory) / "processor_config.json"
    values = json.loads(path.read_text())
    image = values.pop("image_processor")
    path.write_text(json.dumps(values))
    (Path(directory) / "preprocessor_config.json").write_text(json.dumps(image))
    return model
