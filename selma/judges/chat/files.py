"""Loads a chat model and its processor: greedy or with a beam, Pillow's pixels, no films."""

from typing import Any

import transformers
from jinja2 import TemplateError
from transformers import AutoModelForImageTextToText, GenerationConfig, ProcessorMixin
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from selma.core.errors import MissingDependencyError, RecordError, one_line
from selma.judges.protocol import JudgeSettings
from selma.judges.weights import (
    check_settings,
    load_image_processor,
    load_model,
    load_tokenizer,
    plain_search,
    source_of,
)

Message = dict[str, Any]
# Of a published generation_config.json only this is kept: greedy search must not draw, and a
# penalty on repetition would act on the padding too, so that an answer depended on its batch.
KEPT_FOR_GENERATION = (
    "bad_words_ids",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "suppress_tokens",
)


def load_parts(settings: JudgeSettings) -> tuple[Any, Any]:
    """Load a model with a generation_config of our own, and its processor; raises as `load_judge`.

    The tokenizer pads at the left, so that what a model writes stands right behind each prompt. A
    model without a chat template that shows a picture is a RecordError.
    """
    check_settings(settings)
    model = load_model(AutoModelForImageTextToText, settings)
    if model.config.is_encoder_decoder:
        raise RecordError(
            f"{settings.path}: {type(model).__name__} has an encoder for texts; a chat model "
            "continues its prompt"
        )
    vocabulary = model.config.get_text_config().vocab_size
    tokenizer = load_tokenizer(settings, vocabulary, padding_side="left")
    processor = _load_processor(settings, type(model.config), tokenizer)
    _set_generation(model, tokenizer, settings)
    _check_chat_template(settings, processor)
    return model, processor


def decoding(model: Any) -> dict[str, Any]:
    config = model.generation_config
    names = ("do_sample", "early_stopping", "length_penalty", "max_new_tokens", "num_beams")
    return {name: getattr(config, name, None) for name in (*names, *KEPT_FOR_GENERATION)}


def question(text: str, picture: Any = None) -> Message:
    """Write the user's message: a picture (or only its place), then the text."""
    place: Message = {"type": "image"} if picture is None else {"type": "image", "image": picture}
    return {"role": "user", "content": [place, {"type": "text", "text": text}]}


def _load_processor(settings: JudgeSettings, config_class: type, tokenizer: Any) -> Any:
    """Put a processor together; `AutoProcessor` asks for torchvision where a model sees films."""
    made_of = {
        "image_processor": load_image_processor(settings),
        "tokenizer": tokenizer,
        "video_processor": _NoFilms(),
    }
    try:
        values, _ = ProcessorMixin.get_processor_dict(settings.path, **source_of(settings))
        name = values.get("processor_class") or PROCESSOR_MAPPING[config_class].__name__
        processor_class = _without_films(getattr(transformers, name))
        parts = processor_class.get_attributes()
        return processor_class.from_args_and_dict([made_of[part] for part in parts], values)
    except ImportError as error:
        raise MissingDependencyError(f"{settings.path}/processor: {one_line(error)}") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        problem = f"cannot be loaded: {one_line(error)}"
        raise RecordError(f"{settings.path}/processor: {problem}") from error


class _NoFilms(dict[str, Any]):
    """Stands where a processor has its video processor; SmolVLM2's reads these two settings."""

    num_frames = None
    fps = None


def _without_films(processor_class: Any) -> Any:
    """Derive a processor class that takes anything as its video processor."""

    def check(self: Any, argument_name: str, argument: Any) -> Any:
        if argument_name == "video_processor":
            return type(argument)
        return processor_class.check_argument_for_proper_class(self, argument_name, argument)

    members = {"check_argument_for_proper_class": check}
    return type(processor_class.__name__, (processor_class,), members)


def _set_generation(model: Any, tokenizer: Any, settings: JudgeSettings) -> None:
    published = model.generation_config
    kept = {name: getattr(published, name, None) for name in KEPT_FOR_GENERATION}
    kept = {name: value for name, value in kept.items() if value is not None}
    kept.setdefault("eos_token_id", tokenizer.eos_token_id)
    kept["pad_token_id"] = tokenizer.pad_token_id
    if kept["eos_token_id"] is None:
        raise RecordError(f"{settings.path}/generation_config.json: no token ends a reply")
    model.generation_config = GenerationConfig(**plain_search(settings, **kept))


def _check_chat_template(settings: JudgeSettings, processor: Any) -> None:
    """Check that the template puts one picture and the text into the prompt."""
    where = f"{settings.path}/chat_template.jinja"
    if not processor.chat_template:
        raise RecordError(
            f"{where}: there is no chat template; take a model that was tuned to instructions, or "
            "add the template it was tuned with"
        )
    try:
        prompt = processor.apply_chat_template(
            [question("Is it red?")], add_generation_prompt=True, tokenize=False
        )
    except (TemplateError, ValueError, TypeError) as error:
        raise RecordError(f"{where}: cannot be filled in: {one_line(error)}") from error
    token = getattr(processor, "image_token", None)
    pictures = prompt.count(token) if token else 1
    if pictures != 1 or "Is it red?" not in prompt:
        raise RecordError(
            f"{where}: of a message with one picture and a text it makes {prompt[:200]!r}"
        )
