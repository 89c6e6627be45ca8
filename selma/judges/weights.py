"""Loads the parts of a judge's model, and says in words what was loaded.

A folder is read without a network; a Hub name needs its commit. Weights come from safetensors only
and code never from the model's repository. Pillow resizes pictures, whatever else is installed.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.choices import choose_name
from selma.core.devices import check_device, torch_dtype
from selma.core.errors import (
    ConfigError,
    MissingDataError,
    MissingDependencyError,
    RecordError,
    one_line,
)
from selma.judges.encode_once import EncodeOnceJudge
from selma.judges.protocol import Judge, JudgeSettings
from selma.judges.templates import TEMPLATES

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

LIBRARIES = ("numpy", "pillow", "safetensors", "tokenizers", "torch", "transformers")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# A tokenizer smaller than this share of the vocabulary was not read from files.
_MADE_UP_SHARE = 0.5


@dataclass(frozen=True)
class Parts:
    """A model that answers questions about pictures, and what feeds it; see `load_parts`."""

    settings: JudgeSettings
    config: Any
    model: Any
    tokenizer: Any
    image_processor: Any

    def pixels(self, picture: "NDArray[np.uint8]") -> "Mapping[str, torch.Tensor]":
        """Process one picture, (H, W, 3): pixel_values (1, 3, h, w) and what else there is."""
        from PIL import Image

        made = self.image_processor(Image.fromarray(picture), return_tensors="pt")
        return {name: tensor.to(self.model.device) for name, tensor in made.items()}

    def patches(self, picture: "NDArray[np.uint8]") -> "torch.Tensor":
        """Let the vision tower look at a picture, (H, W, 3): (1, P, V)."""
        states: torch.Tensor = self.model.vision_model(**self.pixels(picture)).last_hidden_state
        return states

    def judge(self, decoding: Mapping[str, object], **functions: Any) -> Judge:
        return EncodeOnceJudge(
            about=describe(self.settings, type(self.model), self.image_processor, decoding),
            template=TEMPLATES[self.settings.template],
            questions_per_batch=self.settings.questions_per_batch,
            **functions,
        )


def check_settings(settings: JudgeSettings) -> None:
    """Raise ConfigError for a wrong setting, MissingDataError without the folder."""
    check_values(settings)
    if Path(settings.path).is_dir():
        if settings.revision is not None:
            raise ConfigError(
                f"{settings.path} is a folder, revision {settings.revision!r} is of no use; "
                "leave the revision out"
            )
    elif settings.revision is None:
        raise MissingDataError(
            f"{settings.path}: no such folder; run `dvc pull`, or give a Hub name and its commit"
        )
    elif not _COMMIT.fullmatch(settings.revision):
        raise ConfigError(
            f"{settings.path}: revision {settings.revision!r} is no commit of 40 hexadecimal "
            "digits; a branch or tag can move"
        )


def check_values(settings: JudgeSettings) -> None:
    """Raise ConfigError for a wrong setting, but for path and revision."""
    torch_dtype(settings.dtype)
    check_device(settings.device)
    choose_name("judge template", settings.template, TEMPLATES)
    check_numbers(settings, "questions_per_batch", "max_new_tokens", "beams")


def check_numbers(settings: JudgeSettings, *names: str) -> None:
    """Raise ConfigError if one of these settings is below 1."""
    for name in names:
        if getattr(settings, name) < 1:
            raise ConfigError(f"{name} is {getattr(settings, name)}; it must be at least 1")


def check_precision(path: str | Path, language_model: str, dtype: str) -> None:
    """Raise ConfigError for a language model, by its `model_type`, that overflows in a dtype."""
    if language_model == "t5" and dtype == "float16":
        raise ConfigError(f"{path}: T5 overflows in float16; use bfloat16 or float32")


def load_config(settings: JudgeSettings, model_type: str) -> Any:
    """Read config.json as `check_settings`; RecordError if it is damaged or of another type."""
    from transformers import AutoConfig

    check_settings(settings)
    config = _read(settings, "config.json", AutoConfig.from_pretrained)
    if config.model_type != model_type:
        raise RecordError(
            f"{settings.path}/config.json: it is a {config.model_type!r} model, this judge wants "
            f"{model_type!r}"
        )
    return config


def load_parts(
    settings: JudgeSettings, config: Any, model_class: Any, *, padding_side: str
) -> Parts:
    """Read what belongs to a `config` of `load_config`, or raise RecordError; the weights last."""
    image_processor = load_image_processor(settings)
    if hasattr(config, "vision_config"):
        # Of pictures of another size the tower would use a part of its positions silently.
        square, crops = config.vision_config.image_size, image_processor.do_center_crop
        size = image_processor.crop_size if crops else image_processor.size
        if (size.height, size.width) != (square, square):
            raise RecordError(
                f"{settings.path}/preprocessor_config.json: pictures become "
                f"{size.height}×{size.width} pixels, the vision tower wants {square}×{square}"
            )
    vocab_size = getattr(config, "text_config", config).vocab_size
    tokenizer = load_tokenizer(settings, vocab_size, padding_side=padding_side)
    model = load_model(model_class, settings)
    return Parts(settings, config, model, tokenizer, image_processor)


def plain_search(settings: JudgeSettings, **more: Any) -> dict[str, Any]:
    """Build arguments of `generate`: greedy or a beam, and nothing that a model's file says."""
    return {
        "do_sample": False,
        "early_stopping": False,
        "length_penalty": 1.0,
        "max_new_tokens": settings.max_new_tokens,
        "num_beams": settings.beams,
        **more,
    }


def load_model(model_class: Any, settings: JudgeSettings) -> Any:
    """Read a model's weights, in eval mode on the device.

    RecordError: they are damaged or do not fit: a model with random parts still answers.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # of loading weights; the stage has its own
    model, report = _read(
        settings,
        "model.safetensors",
        model_class.from_pretrained,
        dtype=torch_dtype(settings.dtype),
        output_loading_info=True,
        use_safetensors=True,
    )
    # Buffers that older releases saved and the code now computes are no longer in the report.
    wrong = {name: sorted(map(str, keys))[:5] for name, keys in report.items() if keys}
    if wrong:
        raise RecordError(f"{settings.path}: weights and config.json do not fit: {wrong}")
    return model.requires_grad_(False).eval().to(settings.device)


def load_tokenizer(
    settings: JudgeSettings, vocab_size: int, *, padding_side: str, subfolder: str = ""
) -> Any:
    """Read a tokenizer that feeds an embedding of `vocab_size` rows, or raise RecordError."""
    from transformers import AutoTokenizer

    part = f"{subfolder}/tokenizer" if subfolder else "tokenizer"
    tokenizer = _read(settings, part, AutoTokenizer.from_pretrained, subfolder=subfolder)
    # transformers makes up what it does not find: the size tells.
    if not _MADE_UP_SHARE * vocab_size <= len(tokenizer) or tokenizer.vocab_size > vocab_size:
        raise RecordError(
            f"{settings.path}/{part}: it has {len(tokenizer)} tokens, the model {vocab_size}; "
            "its files are missing or of another model"
        )
    if tokenizer.pad_token_id is None:
        raise RecordError(f"{settings.path}/{part}: it has no padding token")
    tokenizer.padding_side = padding_side
    return tokenizer


def load_image_processor(settings: JudgeSettings) -> Any:
    """Read how pictures become pixels; what Pillow cannot do is refused."""
    from transformers import AutoImageProcessor
    from transformers.image_processing_backends import PilBackend

    processor = _read(
        settings, "preprocessor_config.json", AutoImageProcessor.from_pretrained, backend="pil"
    )
    if not isinstance(processor, PilBackend):
        raise RecordError(
            f"{settings.path}/preprocessor_config.json: {type(processor).__name__} does not resize "
            "with Pillow; pixels would depend on what is installed"
        )
    return processor


def tokenize(
    tokenizer: Any, texts: Sequence[str], max_tokens: int | None, device: "str | torch.device"
) -> Any:
    """Tokenize N texts: input_ids and attention_mask, (N, T) each, padded to the longest.

    RecordError: a text has more than `max_tokens`; None sets no limit.
    """
    tokens = tokenizer(
        list(texts), padding=True, return_tensors="pt", return_token_type_ids=False
    ).to(device)
    lengths = tokens["attention_mask"].sum(dim=1).tolist()
    if max_tokens is not None and max(lengths) > max_tokens:
        text = texts[lengths.index(max(lengths))]
        raise RecordError(
            f"question {text!r} has {max(lengths)} tokens, the model reads {max_tokens}; "
            "shorten it or take another judge"
        )
    return tokens


def describe(
    settings: JudgeSettings, model_class: type, image_processor: Any, decoding: Mapping[str, object]
) -> dict[str, Any]:
    from PIL import Image

    size = {name: edge for name, edge in dict(image_processor.size).items() if edge is not None}
    return {
        "class": model_class.__name__,
        "path": settings.path,
        "revision": settings.revision,
        "dtype": settings.dtype,
        "template": settings.template,
        "decoding": dict(decoding),
        "preprocessing": {
            "backend": "pil",
            "processor": type(image_processor).__name__,
            "size_px": size,
            "resampling": Image.Resampling(int(image_processor.resample)).name.lower(),
            "mean": list(image_processor.image_mean),
            "standard_deviation": list(image_processor.image_std),
        },
        "libraries": library_versions(LIBRARIES),
    }


def library_versions(names: Sequence[str]) -> dict[str, str]:
    """Look up the installed versions; a package that is not there is a MissingDependencyError."""
    try:
        return {name: version(name) for name in names}
    except PackageNotFoundError as error:
        raise MissingDependencyError(f"package {error.name} is not installed") from error


def source_of(settings: JudgeSettings) -> dict[str, Any]:
    """Say to a `from_pretrained` whether a folder is read or a commit of the Hub."""
    revision = settings.revision
    return {"local_files_only": True} if revision is None else {"revision": revision}


def _read(settings: JudgeSettings, part: str, loader: Callable[..., Any], **options: Any) -> Any:
    from safetensors import SafetensorError

    options = {name: value for name, value in options.items() if value != ""}
    try:
        return loader(settings.path, trust_remote_code=False, **source_of(settings), **options)
    except ImportError as error:
        raise MissingDependencyError(f"{settings.path}/{part}: {one_line(error)}") from error
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        problem = f"cannot be loaded: {one_line(error)}"
        if settings.revision is None:
            raise RecordError(f"{settings.path}/{part}: {problem}") from error
        raise MissingDependencyError(
            f"{settings.path} at {settings.revision}: {part} {problem}"
        ) from error
