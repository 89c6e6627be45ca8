"""Published checkpoints of HPS and ImageReward become the folders that scorers read."""

import contextlib
import functools
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, CLIPConfig

from selma.core.choices import choose
from selma.core.errors import ConfigError, MissingDataError, RecordError, one_line
from selma.core.files import write_json
from selma.scorers import image_reward, pixels
from selma.scorers.hps import HPS_VERSIONS, RESIZE_BY_ANTIALIAS
from selma.scorers.layouts.image_reward import ADDED_TOKENS, to_reward_model
from selma.scorers.layouts.open_clip import Heads, to_clip
from selma.scorers.preference import ORIGIN_FILE, Origin, load_hps, load_imagereward


def convert_hps(
    checkpoint: Path, version: str, tokenizer_path: Path, out: Path, *, heads: Heads | None
) -> None:
    """Write `out`, a folder that must not be there, as `load_hps` reads it.

    `checkpoint` is of open_clip's fork, .pt or .safetensors, of a `version` of `HPS_VERSIONS`,
    which the file does not tell; the tokenizer is CLIP's in transformers' layout; `heads` is for an
    architecture that open_clip does not have. Raises ConfigError if there is no such version or
    `out` is there, MissingDataError without a file, and RecordError, which names the tensors, if a
    file does not hold what it should.
    """
    choose("HPS version", version, HPS_VERSIONS)
    weights = read_checkpoint(checkpoint)
    settings, tensors = to_clip(weights, activation="gelu", heads=heads, where=str(checkpoint))
    tokenizer = _read_tokenizer(tokenizer_path)
    size = settings["text_config"]["vocab_size"]
    ids = (len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    if ids != (size, size - 2, size - 1):
        raise RecordError(
            f"{tokenizer_path}: {ids[0]} tokens, start {ids[1]} and end {ids[2]}; expected {size}, "
            f"{size - 2} and {size - 1}, as the text tower of {checkpoint} has them"
        )

    with _folder_written_whole(out) as directory:
        config = CLIPConfig(**settings)
        config.architectures = ["CLIPModel"]
        config.save_pretrained(directory)
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
        tokenizer.save_pretrained(directory)
        image_size = settings["vision_config"]["image_size"]
        _write_rest(directory, "hps", version, checkpoint, image_size, RESIZE_BY_ANTIALIAS[False])
        load_hps(directory, version)


def convert_imagereward(
    checkpoint: Path, med_config: Path, tokenizer_path: Path, out: Path, *, vision_heads: int | None
) -> None:
    """Write `out`, a folder that must not be there, as `load_imagereward` reads it.

    `checkpoint` is ImageReward.pt or its tensors as .safetensors, `med_config` the med_config.json
    published beside it, the tokenizer bert-base-uncased in transformers' layout, to which [DEC] and
    [ENC] are added; `vision_heads` is for a vision tower that BLIP does not have. Raises as
    `convert_hps`.
    """
    weights = read_checkpoint(checkpoint)
    config, tensors = to_reward_model(
        weights, _read_json(med_config), vision_heads=vision_heads, where=str(checkpoint)
    )
    tokenizer = _read_tokenizer(tokenizer_path)
    tokenizer.add_special_tokens({"bos_token": ADDED_TOKENS[0]})
    tokenizer.add_special_tokens({"additional_special_tokens": [ADDED_TOKENS[1]]})
    size = config.text["vocab_size"]
    ids = (len(tokenizer), *tokenizer.convert_tokens_to_ids(list(ADDED_TOKENS)))
    if ids != (size, size - 2, size - 1) or tokenizer.pad_token_id != config.text["pad_token_id"]:
        raise RecordError(
            f"{tokenizer_path}: with {' and '.join(ADDED_TOKENS)} at {ids[1]} and {ids[2]} it has "
            f"{ids[0]} tokens and pads with {tokenizer.pad_token_id}; expected {size - 2}, "
            f"{size - 1}, {size} and {config.text['pad_token_id']}, as {med_config} says"
        )

    with _folder_written_whole(out) as directory:
        image_reward.write(config, tensors, directory)
        tokenizer.save_pretrained(directory)
        size_px, resize = config.vision["image_size"], "pillow-bicubic-torchvision"
        _write_rest(directory, "imagereward", "v1.0", checkpoint, size_px, resize)
        load_imagereward(directory, "v1.0")


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict, without running what a pickle asks for.

    A .pt, .pth or .bin of torch, or .safetensors; a "state_dict" within it is what counts. Raises
    ConfigError for another suffix, MissingDataError without the file, RecordError if it is damaged
    or holds more than tensors.
    """
    load = functools.partial(torch.load, map_location="cpu", weights_only=True)
    readers: dict[str, Callable[[Path], Any]] = dict.fromkeys((".bin", ".pt", ".pth"), load)
    reader = choose("kind of checkpoint", path.suffix, {**readers, ".safetensors": load_file})
    if not path.is_file():
        raise MissingDataError(f"{path}: no such file; download the published checkpoint")
    try:
        state = reader(path)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise RecordError(
            f"{path}: cannot be read as a checkpoint of tensors, it may be cut short "
            f"({one_line(error)})"
        ) from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not state:
        raise RecordError(f"{path}: holds {type(state).__name__}, expected tensors by name")
    for name in sorted(state, key=str):
        if not isinstance(name, str) or not isinstance(state[name], torch.Tensor):
            raise RecordError(f"{path}: {str(name)!r} is no tensor; expected tensors by name")
    return dict(state)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MissingDataError(f"{path}: no such file; it is published beside the checkpoint")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(f"{path}: not JSON: {error}") from error
    if not isinstance(values, dict):
        raise RecordError(f"{path}: holds {type(values).__name__}, expected a JSON object")
    return values


def _read_tokenizer(path: Path) -> Any:
    if not (path / "tokenizer_config.json").is_file():
        raise MissingDataError(f"{path}/tokenizer_config.json: no such file; download the folder")
    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: not a tokenizer: {one_line(error)}") from error


def _write_rest(
    directory: Path, metric: str, version: str, checkpoint: Path, size_px: int, resize: str
) -> None:
    mean, deviation = pixels.OPENAI_MEAN, pixels.OPENAI_STANDARD_DEVIATION
    settings = pixels.ImageSettings(size_px, mean, deviation, resize)
    pixels.write_image_settings(settings, directory)
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    origin = Origin(metric, version, checkpoint.name, digest, resize)
    write_json(directory / ORIGIN_FILE, asdict(origin))


@contextlib.contextmanager
def _folder_written_whole(out: Path) -> Iterator[Path]:
    if out.exists():
        raise ConfigError(f"{out}: is there; give another --out, or move it away")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        os.replace(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
