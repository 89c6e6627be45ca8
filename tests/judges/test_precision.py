"""Every judge with weights answers in half precision as in float32, but for rounding."""

import functools

import pytest
import torch
from tiny import (
    QUESTIONS,
    picture,
    settings,
    write_blip2,
    write_blip_vqa,
    write_instructblip,
    write_vilt,
)
from tiny_chat import write_llava, write_mllama, write_qwen2_vl
from torch.utils._python_dispatch import TorchDispatchMode

from selma.core.devices import DTYPES
from selma.core.errors import ConfigError
from selma.judges.loading import JUDGES, WITHOUT_WEIGHTS, load_judge
from selma.tiny.blip2 import Shape
from selma.tiny.mplug import write_mplug

PICTURES = [picture(seed) for seed in range(3)]
ASKED = [QUESTIONS] * len(PICTURES)
CALM = Shape(gain=1.0)  # larger weights let a rounding grow from layer to layer
KINDS = {
    "vilt": functools.partial(write_vilt, shape=CALM),
    "blip-vqa": functools.partial(write_blip_vqa, shape=CALM),
    "blip2-t5": functools.partial(write_blip2, language="t5", shape=CALM),
    "blip2-opt": functools.partial(write_blip2, language="opt", shape=CALM),
    "instructblip-llama": functools.partial(write_instructblip, language="llama", shape=CALM),
    "instructblip-t5": functools.partial(write_instructblip, language="t5", shape=CALM),
    "mplug": write_mplug,
    "chat-llava": write_llava,
    "chat-mllama": write_mllama,
    "chat-qwen2-vl": write_qwen2_vl,
}
# Of the logits' norm. A rounding is 2⁻⁸ in bfloat16, 2⁻¹¹ in float16 and 2⁻²⁴ in float32, and
# random weights make more of it than trained ones.
TOLERANCES = {"bfloat16": 0.1, "float16": 0.02, "float32": 1e-4}


class Choices(TorchDispatchMode):
    """Keeps the scores of which the highest is chosen, the word's or the answer's."""

    def __init__(self):
        super().__init__()
        self.scores = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (torch.ops.aten.argmax.default, torch.ops.aten.topk.default):
            self.scores.append(args[0].detach().clone())
        return function(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {kind: tmp_path_factory.mktemp("made") / kind for kind in KINDS}
    for kind, write in KINDS.items():
        made[kind].mkdir()
        write(made[kind])
    return made


@pytest.fixture(scope="module")
def scores(folders):
    """The scores of the first word, a row for each question, and their precisions."""

    @functools.cache
    def of(kind, dtype, size):
        values = settings(folders[kind], dtype=dtype, questions_per_batch=size, max_new_tokens=1)
        judge = load_judge("-".join(kind.split("-")[: 2 if kind == "blip-vqa" else 1]), values)
        with Choices() as choices:
            judge(PICTURES, ASKED)
        return torch.cat([one.double() for one in choices.scores]), {
            one.dtype for one in choices.scores
        }

    return of


def test_no_judge_with_weights_is_left_out():
    kinds = {kind if kind == "blip-vqa" else kind.partition("-")[0] for kind in KINDS}
    assert kinds == set(JUDGES) - set(WITHOUT_WEIGHTS)


@pytest.mark.parametrize("size", [1, 100])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_float32_but_for_rounding(scores, kind, dtype, size):
    if kind.endswith("t5") and dtype == "float16":
        with pytest.raises(ConfigError, match="T5 overflows in float16"):
            scores(kind, dtype, size)
        return
    wanted, _ = scores(kind, "float32", 1)
    found, precisions = scores(kind, dtype, size)
    assert precisions == {torch.float32}  # a word is chosen among numbers with all their digits
    assert found.shape == wanted.shape == (len(PICTURES) * len(QUESTIONS), wanted.shape[1])
    allowed = wanted > -1e4  # the rest is forbidden
    assert torch.equal(found > -1e4, allowed)
    wanted, found = wanted.where(allowed, 0.0), found.where(allowed, 0.0)
    error = (found - wanted).norm(dim=1) / wanted.norm(dim=1)
    assert float(error.max()) <= TOLERANCES[dtype]
