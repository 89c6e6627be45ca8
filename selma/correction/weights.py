"""Reads models of transformers from folders, or says in one line what is wrong with them.

Weights come from safetensors files only, and nothing from a network.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from selma.core.devices import check_device, torch_dtype
from selma.core.errors import MissingDataError, RecordError, SelmaError, one_line

# A tokenizer smaller than this share of the vocabulary was not read from files.
_MADE_UP_SHARE = 0.5


def read_model(
    folder: Path, model_class: Any, model_types: Sequence[str], *, dtype: str, device: str
) -> Any:
    """Read a model's weights, frozen, in eval mode on the device.

    Args:
        folder: config.json and safetensors files.
        model_class: of transformers.
        model_types: which models' weights the class can take, as config.json names them.
        dtype: one of `selma.core.devices.DTYPES`.
        device: one of `selma.core.devices.DEVICES`.

    Raises:
        MissingDataError: there is no such folder, or no config.json in it.
        RecordError: the weights are of another model, not in safetensors, damaged or incomplete.
        ConfigError: there is no such dtype or device.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # of loading weights
    check_device(device)
    precision = torch_dtype(dtype)
    check_model_type(folder, model_types)
    if not any(folder.glob("*.safetensors")):
        others = sorted(path.name for path in folder.glob("*.bin"))
        found = f"; {', '.join(others)} is pickled, which is not read" if others else ""
        raise RecordError(f"{folder}: no weights in *.safetensors{found}; convert or fetch them")
    model, report = _read(
        folder, "model.safetensors", model_class.from_pretrained, dtype=precision,
        output_loading_info=True, use_safetensors=True,
        ignore_mismatched_sizes=True,  # the report names them
    )  # fmt: skip
    for kind in ("missing_keys", "mismatched_keys"):
        if report[kind]:
            keys = sorted(map(str, report[kind]))
            raise RecordError(
                f"{folder}: weights and config.json do not fit: {len(keys)} {kind.split('_')[0]}, "
                f"e.g. {keys[0]}; fetch the folder again"
            )
    return model.requires_grad_(False).eval().to(device)


def check_model_type(folder: Path, model_types: Sequence[str]) -> None:
    """Check what model config.json describes; raises as `read_model`."""
    config = _read_json(folder, "config.json")
    if config.get("model_type") not in model_types:
        raise RecordError(
            f"{folder}/config.json: it is a {config.get('model_type')!r} model, expected "
            f"{' or '.join(map(repr, model_types))}; name the kind that fits or another folder"
        )


def read_tokenizer(folder: Path, vocabulary: int) -> Any:
    """Read a tokenizer for a model with that many tokens; RecordError if it does not fit."""
    from transformers import AutoTokenizer

    tokenizer = _read(folder, "tokenizer.json", AutoTokenizer.from_pretrained)
    # transformers makes up what it does not find: the size tells.
    if not _MADE_UP_SHARE * vocabulary <= len(tokenizer) or tokenizer.vocab_size > vocabulary:
        raise RecordError(
            f"{folder}/tokenizer.json: it has {len(tokenizer)} tokens, the model {vocabulary}; its "
            "files are missing or of another model"
        )
    return tokenizer


def read_image_processor(folder: Path, processor_class: Any) -> Any:
    """Read how pictures become pixels by Pillow, and boxes boxes again.

    Args:
        folder: preprocessor_config.json or, with the parts of a processor, processor_config.json.
        processor_class: one of transformers' that works with Pillow.

    Raises:
        RecordError: neither file is there, or it is damaged.
    """
    settings = image_settings(folder)
    return _call(folder, "preprocessor_config.json", lambda: processor_class.from_dict(settings))


def image_settings(folder: Path) -> dict[str, Any]:
    """Read the settings of an image processor; raises as `read_image_processor`."""
    if (folder / "processor_config.json").is_file():
        settings = _read_json(folder, "processor_config.json").get("image_processor")
        if isinstance(settings, dict):
            return settings
    return _read_json(folder, "preprocessor_config.json")


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    if not folder.is_dir():
        raise MissingDataError(f"{folder}: no such folder; run `dvc pull`, or fetch the model")
    path = folder / name
    if not path.is_file():
        raise MissingDataError(f"{path}: not found; {folder.name} is no model of transformers")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(f"{path}: not JSON ({one_line(error)})") from error
    if not isinstance(found, dict):
        raise RecordError(f"{path}: it is no JSON object")
    return found


def _read(folder: Path, part: str, load: Callable[..., Any], **options: Any) -> Any:
    return _call(folder, part, lambda: load(folder, local_files_only=True, **options))


def _call(folder: Path, part: str, load: Callable[[], Any]) -> Any:
    """Load a part of a folder; whatever a damaged file raises becomes one line."""
    try:
        return load()
    except SelmaError:
        raise
    except Exception as error:
        raise RecordError(f"{folder}/{part}: cannot be read ({one_line(error)})") from error
