"""mPLUG-large, the judge of DSG's published scores: a network of 2022 on today's libraries.

It reads the released folder of ModelScope's damo/mplug_visual-question-answering_coco_large_en,
without modelscope. With random weights in that layout, answers and scores are those of modelscope
1.40.2 on transformers 4.33.3 (312 questions in small sizes, 2 in the released ones). The released
weights were not at hand: where a file differs from modelscope's source, loading stops. Unlike
modelscope's pipeline, a picture is encoded once for all its questions, all questions of a batch are
answered, missing and unexpected weights are errors, and beam width and answer length come from the
settings (the release: 5 and 10), not config.yaml.
"""

import json
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from transformers import BertTokenizer
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from selma.core.devices import torch_dtype
from selma.core.errors import ConfigError, MissingDependencyError, RecordError, one_line
from selma.judges.mplug.network import Answer, Mplug, NetworkConfig, answer_tokens
from selma.judges.protocol import JudgeSettings, Pictures, Question, Questions
from selma.judges.templates import TEMPLATES
from selma.judges.weights import check_values, library_versions

LIBRARIES = ("numpy", "pillow", "tokenizers", "torch", "transformers")
MODEL = "damo/mplug_visual-question-answering_coco_large_en"
TASK = "visual-question-answering"
MAX_QUESTION_TOKENS = 25  # with the start and end token
# What modelscope's config class takes where config.yaml is silent.
CONFIG_DEFAULTS = {
    "bert_config": "config_bert.json",
    "image_res": 504,
    "vision_width": 1024,
    "min_length": 1,
    "clip_vision_layers": 24,
    "clip_vision_patch_size": 14,
}
BERT_FIELDS = (
    "hidden_act", "hidden_size", "intermediate_size", "layer_norm_eps", "max_position_embeddings",
    "num_attention_heads", "pad_token_id", "type_vocab_size", "vocab_size",
)  # fmt: skip
# In the released layout, but nothing that answers a question reads it.
TRAINING_ONLY = (
    r"(visual_encoder|text_encoder|fusion_encoder|text_decoder|visn_fc|visn_layer_norm)_m\..+"
    r"|visual_encoder\.(positional_embedding|text_projection|logit_scale|token_embedding\.weight)"
    r"|visual_encoder\.(ln_final|transformer\.resblocks)\..+"
    r"|visual_encoder\.visual\.proj"
    r"|text_(encoder|decoder\.bert)\.embeddings\.position_ids"
)
_HEAD = "text_decoder.cls.predictions"
TIED = (
    ("text_decoder.bert.embeddings.word_embeddings.weight", f"{_HEAD}.decoder.weight"),
    (f"{_HEAD}.bias", f"{_HEAD}.decoder.bias"),
)


@dataclass
class MplugJudge:
    """A network that is ready to answer; see `load_mplug`.

    `truncated_questions` counts those so far that were cut at 25 word pieces.
    """

    network: Mplug
    tokenizer: BertTokenizer
    settings: JudgeSettings
    image_size_px: int
    min_new_tokens: int
    truncated_questions: int = 0

    @property
    def about(self) -> Mapping[str, Any]:
        settings = self.settings
        return {
            "class": "mplug",
            "path": settings.path,
            "revision": settings.revision,
            "dtype": settings.dtype,
            "template": settings.template,
            "question": (
                f"lower-cased, cut at {MAX_QUESTION_TOKENS} word pieces with [CLS] and [SEP]; the "
                "judge's truncated_questions counts the cut ones"
            ),
            "decoding": {
                "beams": settings.beams,
                "min_new_tokens": self.min_new_tokens,
                "max_new_tokens": settings.max_new_tokens,
                "search": "modelscope's, length penalty 0.6",
            },
            "preprocessing": {
                "image_size_px": self.image_size_px,
                "resampling": "bicubic (Pillow), squashed to a square, CLIP's mean and deviation",
            },
            "libraries": library_versions(LIBRARIES),
        }

    def __call__(self, pictures: Pictures, questions: Questions) -> list[list[str]]:
        """Answer the questions of each picture, which is encoded once; see `answer_tokens`."""
        return [
            [
                # Tokenizers of 2022 removed the spaces before marks; today's do only when asked.
                self.tokenizer.decode(
                    answer.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=True
                )
                for answer in self.search(picture, asked)
            ]
            for picture, asked in zip(pictures, questions, strict=True)
        ]

    def search(self, picture: NDArray[np.uint8], asked: Sequence[Question]) -> list[Answer]:
        """Search the best answer, as tokens with its score, to each question about one picture."""
        if not asked:
            return []
        template = TEMPLATES[self.settings.template]
        texts = [template(question).lower() for question in asked]
        pixels = torch.from_numpy(squash(picture, self.image_size_px)[None])  # (1, 3, S, S)
        size = self.settings.questions_per_batch
        answers: list[Answer] = []
        with torch.inference_mode():
            seen = self.network.encode_pictures(pixels)
            for start in range(0, len(texts), size):
                part = texts[start : start + size]
                whole = self.tokenizer(part)["input_ids"]
                self.truncated_questions += sum(len(ids) > MAX_QUESTION_TOKENS for ids in whole)
                fixed = {"padding": "max_length", "max_length": MAX_QUESTION_TOKENS}
                tokens = self.tokenizer(part, truncation=True, return_tensors="pt", **fixed)
                tokens = tokens.to(seen.device)  # (Q, 25)
                answers += answer_tokens(
                    self.network.text_decoder,
                    self.network.read(seen, tokens["input_ids"], tokens["attention_mask"]),
                    beams=self.settings.beams,
                    min_new_tokens=self.min_new_tokens,
                    max_new_tokens=self.settings.max_new_tokens,
                    start_id=self.tokenizer.cls_token_id,
                    end_id=self.tokenizer.sep_token_id,
                )
        return answers


def load_mplug(settings: JudgeSettings) -> MplugJudge:
    """Load mPLUG from its released folder; no package beyond the core's is needed.

    The release runs in float32 with template "bare", 5 beams and 10 new tokens. Raises ConfigError
    if a setting is not one of the choices or there is a revision, MissingDependencyError without a
    file of the release, and RecordError if a file does not hold what the release's does or they do
    not fit each other; a key that is missing or too many is an error.
    """
    check_values(settings)
    if settings.revision is not None:
        raise ConfigError(
            f"judge mplug: revision is {settings.revision!r}, but it is read from a folder that "
            "you downloaded; set revision to null"
        )
    folder = Path(settings.path)
    config, min_new_tokens = _read_config(folder)
    tokenizer = BertTokenizer(vocab=str(_file(folder, "vocab.txt")), do_lower_case=True)
    if len(tokenizer) != config.bert["vocab_size"]:
        raise RecordError(
            f"{folder}/vocab.txt: has {len(tokenizer)} entries, the config says "
            f"{config.bert['vocab_size']}; they must be of one release"
        )
    with torch.random.fork_rng(devices=[]):  # the weights drawn here are all replaced
        network = Mplug(config)
    path = _file(folder, "pytorch_model.bin")
    weights = _read_weights(path, config.first_fusion_layer)
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise RecordError(
            f"{path}: not the weights of {folder}/config.yaml: {one_line(error)}"
        ) from error
    network.to(device=settings.device, dtype=torch_dtype(settings.dtype)).eval()
    return MplugJudge(network, tokenizer, settings, config.image_size_px, min_new_tokens)


def squash(picture: NDArray[np.uint8], size_px: int) -> NDArray[np.float32]:
    """Squash a picture, (H, W, 3), by Pillow's bicubic and normalise it as CLIP: (3, S, S)."""
    square = Image.fromarray(picture).resize((size_px, size_px), Image.Resampling.BICUBIC)
    scaled = np.asarray(square, np.float32) / np.float32(255)  # (S, S, 3)
    mean, deviation = np.float32(OPENAI_CLIP_MEAN), np.float32(OPENAI_CLIP_STD)
    return np.ascontiguousarray(((scaled - mean) / deviation).transpose(2, 0, 1))


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise MissingDependencyError(
            f"{path}: not found; get the judge with `pip install modelscope && modelscope download "
            f"--model {MODEL} --local_dir {folder}`, in an environment of its own"
        )
    return path


def _read_config(folder: Path) -> tuple[NetworkConfig, int]:
    """Read the sizes, and how many tokens an answer has at least."""
    task_path, path = _file(folder, "configuration.json"), _file(folder, "config.yaml")
    task = _read_json(task_path).get("task")
    if task != TASK:
        raise RecordError(f"{task_path}: task is {task!r}, expected {TASK!r}; download {MODEL}")
    try:
        values = {**CONFIG_DEFAULTS, **YAML(typ="safe", pure=True).load(path)}
    except (YAMLError, TypeError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: not mPLUG's config: {one_line(error)}") from error
    bert_path = _file(folder, str(values["bert_config"]))
    bert = _read_json(bert_path)
    position = bert.get("position_embedding_type", "absolute")
    if position != "absolute":
        raise RecordError(f"{bert_path}: position_embedding_type is {position!r}, not 'absolute'")
    try:
        layers = bert["num_hidden_layers"]
        config = NetworkConfig(
            image_size_px=values["image_res"],
            patch_size_px=values["clip_vision_patch_size"],
            vision_width=values["vision_width"],
            vision_layers=values["clip_vision_layers"],
            bert={name: bert[name] for name in BERT_FIELDS},
            text_layers=bert["text_encoder_layers"],
            first_fusion_layer=max(0, layers - bert["fusion_layers"]),
            end_fusion_layer=layers,
            stride=bert["stride_layer"],
            decoder_layers=bert["text_decode_layers"],
        )
    except (KeyError, TypeError) as error:
        raise RecordError(f"{bert_path}: not mPLUG's BERT config: {error!r}") from error
    if config.image_size_px % config.patch_size_px:
        raise RecordError(
            f"{path}: image_res {config.image_size_px} is not a multiple of the patch size "
            f"{config.patch_size_px}"
        )
    return config, values["min_length"]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(f"{path}: not JSON: {error}") from error
    if not isinstance(values, dict):
        raise RecordError(f"{path}: not a JSON object")
    return values


def _read_weights(path: Path, first_fusion_layer: int) -> dict[str, torch.Tensor]:
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise RecordError(f"{path}: not a file of weights alone: {one_line(error)}") from error
    for wrapper in ("model", "module"):
        if isinstance(saved, dict) and wrapper in saved:
            saved = saved[wrapper]
    if not isinstance(saved, dict) or not all(torch.is_tensor(part) for part in saved.values()):
        raise RecordError(f"{path}: holds other things than named tensors")
    weights = {name.removeprefix("model."): tensor for name, tensor in saved.items()}
    for one, other in TIED:
        if one in weights and other in weights and not torch.equal(weights[one], weights[other]):
            raise RecordError(f"{path}: {one} and {other} differ, but the network ties them")
    below = "|".join(map(str, range(first_fusion_layer))) or "none"
    unused = re.compile(rf"{TRAINING_ONLY}|fusion_encoder\.encoder\.layer\.({below})\..+")
    return {name: tensor for name, tensor in weights.items() if not unused.fullmatch(name)}
