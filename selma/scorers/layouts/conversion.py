"""Published checkpoints of HPS and ImageReward become the folders that scorers read."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.choices import choose
from selma.core.errors import ConfigError, MissingDataError, RecordError, one_line

if TYPE_CHECKING:
    import torch

    from selma.scorers.layouts.open_clip import Heads


def convert_hps(
    checkpoint: Path, version: str, tokenizer_path: Path, out: Path, *, heads: "Heads | None"
) -> None:
    """Write the folder that `load_hps` reads.

    Args:
        checkpoint: of open_clip's fork, .pt or .safetensors.
        version: a key of `HPS_VERSIONS`; the file does not tell.
        tokenizer_path: CLIP's tokenizer in transformers' layout.
        out: the folder, which must not be there.
        heads: of an architecture that open_clip does not have; None looks it up.

    Raises ConfigError if there is no such version or `out` is there, MissingDataError without a
    file, RecordError if a file does not hold what it should; the message names the tensors.
    """
    from safetensors.torch import save_file
    from transformers import CLIPConfig

    from selma.scorers.hps import HPS_VERSIONS, RESIZE_BY_ANTIALIAS
    from selma.scorers.layouts.open_clip import to_clip
    from selma.scorers.preference import load_hps

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

    def write(directory: Path) -> None:
        config = CLIPConfig(**settings)
        config.architectures = ["CLIPModel"]
        config.save_pretrained(directory)
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
        tokenizer.save_pretrained(directory)
        image_size = settings["vision_config"]["image_size"]
        _write_rest(directory, "hps", version, checkpoint, image_size, RESIZE_BY_ANTIALIAS[False])
        load_hps(directory, version)

    _write_folder(out, write)


def convert_imagereward(
    checkpoint: Path,
    med_config: Path,
    tokenizer_path: Path,
    out: Path,
    *,
    vision_heads: int | None,
) -> None:
    """Write the folder that `load_imagereward` reads.

    Args:
        checkpoint: ImageReward.pt, or the same tensors as .safetensors.
        med_config: med_config.json, published beside it.
        tokenizer_path: bert-base-uncased in transformers' layout; [DEC] and [ENC] are added.
        out: the folder, which must not be there.
        vision_heads: of a vision tower that BLIP does not have; None looks it up.

    Raises as `convert_hps`.
    """
    from selma.scorers import image_reward
    from selma.scorers.layouts.image_reward import ADDED_TOKENS, to_reward_model
    from selma.scorers.preference import load_imagereward

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

    def write(directory: Path) -> None:
        image_reward.write(config, tensors, directory)
        tokenizer.save_pretrained(directory)
        size_px, resize = config.vision["image_size"], "pillow-bicubic-torchvision"
        _write_rest(directory, "imagereward", "v1.0", checkpoint, size_px, resize)
        load_imagereward(directory, "v1.0")

    _write_folder(out, write)


def read_checkpoint(path: Path) -> "dict[str, torch.Tensor]":
    """Read a state dict, without running what a pickle asks for.

    A .pt, .pth or .bin of torch, or .safetensors; a "state_dict" within it is what counts. Raises
    ConfigError for another suffix, MissingDataError without the file, RecordError if it is damaged
    or holds more than tensors.
    """
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    def load(file: Path) -> Any:
        return torch.load(file, map_location="cpu", weights_only=True)

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
    others = sorted(
        str(name)
        for name, value in state.items()
        if not isinstance(name, str) or not isinstance(value, torch.Tensor)
    )
    if others:
        raise RecordError(f"{path}: {others[0]!r} is no tensor; expected tensors by name")
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
    from transformers import AutoTokenizer

    if not (path / "tokenizer_config.json").is_file():
        raise MissingDataError(f"{path}/tokenizer_config.json: no such file; download the folder")
    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: not a tokenizer: {one_line(error)}") from error


def _write_rest(
    directory: Path, metric: str, version: str, checkpoint: Path, size_px: int, resize: str
) -> None:
    from selma.scorers.pixels import (
        OPENAI_MEAN,
        OPENAI_STANDARD_DEVIATION,
        ImageSettings,
        write_image_settings,
    )
    from selma.scorers.preference import Origin, write_origin

    settings = ImageSettings(size_px, OPENAI_MEAN, OPENAI_STANDARD_DEVIATION, resize)
    write_image_settings(settings, directory)
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    write_origin(Origin(metric, version, checkpoint.name, digest, resize), directory)


def _write_folder(out: Path, write: Callable[[Path], None]) -> None:
    """Write a folder whole or not at all."""
    if out.exists():
        raise ConfigError(f"{out}: is there; give another --out, or move it away")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        write(part)
        os.replace(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
