"""Compares judges that encode a picture once with asking the stock class one question at a time.

Both sides run in this process on the same random weights and must give the same answers. Models are
small, but the vision tower outweighs the language part as in the published ones. No stock class of
mPLUG runs on today's libraries, so that our own network is asked one question at a time. To add a
judge, add a line to CONTENDERS.

python bench/judges.py [--pictures 2] [--answer-tokens 3] [--beams 5] [NAME …]
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/judges"))

import stock
import tiny
import tiny_chat
import torch
from PIL import Image
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration
from transformers.utils.logging import disable_progress_bar

from selma.judges.blip2 import load_blip2, load_instructblip
from selma.judges.blip_vqa import load_blip_vqa
from selma.judges.chat.files import load_parts, question
from selma.judges.chat.model import load_chat
from selma.judges.mplug.judge import load_mplug
from selma.judges.protocol import Judge, Question
from selma.judges.vilt import load_vilt
from selma.tiny import mplug
from selma.tiny.blip2 import TINY, Shape, randomise

# One two-hundredth of the published models' parameters, in their proportions: 1 billion in BLIP-2's
# tower, 0.2 in its Q-Former, 3 in Flan-T5-XL, 2.7 in OPT, 7 in Vicuna. BLIP's parts are alike.
SEES = {
    "image_size": 224, "patch_size": 14, "vision_layers": 4, "vision_width": 384,
    "queries": 32, "qformer_layers": 2, "qformer_width": 256, "gain": 1.0,
}  # fmt: skip
T5 = Shape(**SEES, text_layers=4, text_width=384)
OPT = Shape(**SEES, text_layers=6, text_width=512)
VICUNA = Shape(**SEES, text_layers=12, text_width=512)
BLIP = Shape(
    image_size=384, patch_size=16, vision_layers=4, vision_width=256, text_layers=4, text_width=256,
    gain=2.0,
)  # fmt: skip
VILT = Shape(image_size=384, patch_size=32, vision_layers=4, vision_width=256, gain=8.0, seed=2)
# ViT-L/14 at 504 px has 24 layers, BERT 6 for the text, 6 that fuse, 12 that speak; widths are 4:3.
MPLUG = {
    "image_res": 504, "vision_width": 256, "clip_vision_width": 256, "clip_vision_layers": 4,
    "hidden_size": 192, "intermediate_size": 768, "num_attention_heads": 3, "encoder_width": 192,
    "num_hidden_layers": 2, "text_encoder_layers": 1, "fusion_layers": 1, "text_decode_layers": 2,
    "stride_layer": 6, "distill": False,
}  # fmt: skip
# Qwen2-VL-2B has 0.67 billion parameters in its tower and 1.3 in the layers of its language model.
QWEN_SEES = {
    "depth": 4, "embed_dim": 192, "hidden_size": 256, "mlp_ratio": 4, "num_heads": 4,
    "patch_size": 14,
}  # fmt: skip
QWEN_SPEAKS = {
    "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 6,
    "num_attention_heads": 4, "num_key_value_heads": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]},
}  # fmt: skip
QUESTIONS = [
    Question(text, ())
    for text in (
        "Is there a cat?",
        "Is the cat white?",
        "Are there two dogs?",
        "Is the car on the left?",
        "Is the tree green?",
        "Is the bird on the tree?",
        "Is the sky blue?",
        "Are there three red birds?",
    )
]


@dataclass(frozen=True)
class Contender:
    """A judge, and how the same model is asked without it.

    Attributes:
        name: in the table.
        write: writes a model to a folder.
        load: our judge, from settings.
        load_stock: from a folder, `beams` and `max_new_tokens` to (picture, text) → answer.
    """

    name: str
    write: Callable[[Path], Any]
    load: Callable[[Any], Judge]
    load_stock: Callable[..., Callable[[Any, str], str]]


def write_qwen(folder: Path) -> None:
    """Write the tests' Qwen2-VL in the sizes above."""
    tiny_chat.write_qwen2_vl(folder)
    path = folder / "preprocessor_config.json"
    size = {"shortest_edge": 56 * 56, "longest_edge": 1280 * 28 * 28}
    path.write_text(json.dumps({**json.loads(path.read_text()), "patch_size": 14, "size": size}))
    values = json.loads((folder / "config.json").read_text())
    values["vision_config"] |= QWEN_SEES
    values["text_config"] |= QWEN_SPEAKS
    del values["text_config"]["layer_types"]  # one for each layer
    model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(**values))
    generation = (folder / "generation_config.json").read_text()
    randomise(model, TINY).save_pretrained(folder)
    (folder / "generation_config.json").write_text(generation)


def ask_chat(folder: str, *, beams: int, max_new_tokens: int) -> Callable[[Any, str], str]:
    """Ask a chat model with its own processor and `generate`."""
    model, processor = load_parts(tiny.settings(folder, beams=beams, max_new_tokens=max_new_tokens))

    def ask(picture: Any, text: str) -> str:
        inputs = processor.apply_chat_template(
            [question(text, Image.fromarray(picture))], add_generation_prompt=True, tokenize=True,
            return_dict=True, return_tensors="pt",
        )  # fmt: skip
        tokens = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]
        reply: str = processor.tokenizer.decode(tokens, skip_special_tokens=True)
        return reply.strip()

    return ask


def ask_mplug(folder: str, *, beams: int, max_new_tokens: int) -> Callable[[Any, str], str]:
    """Ask our own mPLUG one question at a time."""
    judge = load_mplug(tiny.settings(folder, beams=beams, max_new_tokens=max_new_tokens))
    return lambda picture, text: judge([picture], [[Question(text, ())]])[0][0]


CONTENDERS = [
    Contender(
        "blip2-t5", partial(tiny.write_blip2, language="t5", shape=T5), load_blip2,
        stock.load_blip2,
    ),
    Contender(
        "blip2-opt", partial(tiny.write_blip2, language="opt", shape=OPT), load_blip2,
        stock.load_blip2,
    ),
    Contender(
        "instructblip", partial(tiny.write_instructblip, shape=VICUNA), load_instructblip,
        stock.load_instructblip,
    ),
    Contender(
        "blip-vqa", partial(tiny.write_blip_vqa, shape=BLIP), load_blip_vqa, stock.load_blip_vqa
    ),
    Contender("mplug", partial(mplug.write_mplug, **MPLUG), load_mplug, ask_mplug),
    Contender("qwen2-vl", write_qwen, load_chat, ask_chat),
    Contender("vilt", partial(tiny.write_vilt, shape=VILT), load_vilt, stock.load_vilt),
]  # fmt: skip


def compare(
    contender: Contender, pictures: list[Any], beams: int, tokens: int
) -> tuple[float, ...]:
    """Give seconds one by one and of the judge, and how many different answers there were."""
    with tempfile.TemporaryDirectory() as folder:
        contender.write(Path(folder))
        ask = contender.load_stock(folder, beams=beams, max_new_tokens=tokens)
        judge = contender.load(
            tiny.settings(
                folder, beams=beams, max_new_tokens=tokens, questions_per_batch=len(QUESTIONS)
            )
        )
    ask(pictures[0], QUESTIONS[0].question)  # warms both up
    judge(pictures[:1], [QUESTIONS[:1]])
    start = time.process_time()
    wanted = [[ask(picture, question.question) for question in QUESTIONS] for picture in pictures]
    middle = time.process_time()
    given = judge(pictures, [QUESTIONS] * len(pictures))
    end = time.process_time()
    assert given == wanted, f"{contender.name}: {given} is not {wanted}"
    return middle - start, end - middle, len({answer for row in given for answer in row})


def main() -> None:
    """Print one row per judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="judges; all without")
    parser.add_argument("--pictures", type=int, default=2)
    parser.add_argument("--answer-tokens", type=int, default=3, help="most tokens of an answer")
    parser.add_argument("--beams", type=int, default=5)
    args = parser.parse_args()
    disable_progress_bar()
    torch.set_num_threads(1)  # CPU seconds of one thread, which other work does not disturb
    pictures = [tiny.picture(seed, 256, 256) for seed in range(args.pictures)]
    asked = len(pictures) * len(QUESTIONS)
    print(
        f"questions per CPU second; {len(pictures)} pictures, {len(QUESTIONS)} questions each, "
        f"{args.beams} beams, answers of at most {args.answer_tokens} tokens"
    )
    print(f"{'judge':14}{'one by one':>12}{'selma':>10}{'ratio':>8}{'different answers':>20}")
    for contender in CONTENDERS:
        if args.names and contender.name not in args.names:
            continue
        slow, fast, answers = compare(contender, pictures, args.beams, args.answer_tokens)
        print(
            f"{contender.name:14}{asked / slow:12.2f}{asked / fast:10.2f}{slow / fast:8.1f}"
            f"{f'{answers} of {asked}':>20}",
            flush=True,
        )


if __name__ == "__main__":
    main()
