"""BLIP-2 with random weights, in a folder as the published ones lie on the Hub.

The classes, tokenizers and image processors are the real ones. Weights are large enough that
different questions and pictures get different answers.
"""

import json
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessorPil,
    T5Tokenizer,
)

WORDS = "a bird blue car cat cats dog five four green in is left no of on one red right "
WORDS += "sky the there three tree two under what where white yellow yes"
MARKS = "?,.:"
LETTERS = string.ascii_letters + MARKS


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

    def layers(self, part: str) -> dict[str, int]:
        """Give the arguments that all transformers of a part share."""
        width = getattr(self, f"{part}_width")
        return {
            "hidden_size": width,
            "intermediate_size": 2 * width,
            "num_attention_heads": 4,
            "num_hidden_layers": getattr(self, f"{part}_layers"),
        }

    def vision(self) -> dict[str, int]:
        """Give the arguments of a vision tower."""
        return {
            **self.layers("vision"),
            "image_size": self.image_size,
            "patch_size": self.patch_size,
        }


TINY = Shape()


def randomise(model: Any, shape: Shape) -> Any:
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


def t5_tokenizer() -> T5Tokenizer:
    """Know some words and all letters."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -9.0)]
    pieces += [(letter, -9.0) for letter in LETTERS]
    pieces += [(f"▁{word}", -3.0) for word in WORDS.split()]
    return T5Tokenizer(vocab=list(dict(pieces).items()), extra_ids=0)


def t5_text(tokenizer: Any, shape: Shape) -> dict[str, Any]:
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


def write_blip2(
    directory: Path,
    make_tokenizer: Callable[[], Any] = t5_tokenizer,
    make_text: Callable[[Any, Shape], dict[str, Any]] = t5_text,
    shape: Shape = TINY,
) -> Any:
    """Write a BLIP-2, by default with a T5 as the published one that answers TIFA's questions."""
    tokenizer = make_tokenizer()
    processor = Blip2Processor(blip_pixels(shape), tokenizer, num_query_tokens=shape.queries)
    config = Blip2Config(
        vision_config=shape.vision(),
        qformer_config=shape.layers("qformer"),
        text_config=make_text(tokenizer, shape),
        num_query_tokens=shape.queries,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    return write_judge(Blip2ForConditionalGeneration(config), processor, directory, shape)


def blip_pixels(shape: Shape) -> Any:
    """Make the image processor of all BLIPs."""
    return BlipImageProcessorPil(size={"height": shape.image_size, "width": shape.image_size})


def write_judge(model: Any, processor: Any, directory: Path, shape: Shape) -> Any:
    """Write a model and its processor's files, these as they lie in the published folders."""
    randomise(model, shape).save_pretrained(directory)
    processor.save_pretrained(directory)
    path = Path(directory) / "processor_config.json"
    values = json.loads(path.read_text())
    image = values.pop("image_processor")
    path.write_text(json.dumps(values))
    (Path(directory) / "preprocessor_config.json").write_text(json.dumps(image))
    return model
