"""A chat model that sees pictures, asked in batches after one look at each picture.

It is whatever `AutoModelForImageTextToText` loads and has a chat template. The one look uses the
argument `mm_encoder_outputs`, through which `generate` itself passes what a vision tower gives;
whether a model can be asked so is tried when it is loaded.
"""

import hashlib
import inspect
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers.generation.utils import MULTIMODAL_INPUTS_TO_DROP_OUTSIDE_PREFILL

from selma.core.choices import choose
from selma.core.errors import RecordError, one_line
from selma.judges.chat.batches import (
    READ,
    UNREAD,
    alike,
    join,
    read,
    remembering,
    stack,
    without_pixels,
)
from selma.judges.chat.files import Message, decoding, load_parts, question
from selma.judges.encode_once import EncodeOnceJudge
from selma.judges.protocol import Judge, JudgeSettings
from selma.judges.templates import TEMPLATES
from selma.judges.weights import describe

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """A picture after the one look at it; None twice if the model looks for each question."""

    picture: Image.Image
    processed: Any  # of the image processor, with stand-ins of the pixels' shape
    features: Any  # of the vision tower


class ChatModel:
    """A chat model with its processor, whose tokenizer pads at the left; see `load_chat_model`.

    `about` says in JSON's types what decides its replies, `encodes_once` whether the vision tower
    runs once for each picture, not for each question.
    """

    def __init__(self, model: Any, processor: Any, settings: JudgeSettings) -> None:
        self.model = model
        self.processor = processor
        self.path = settings.path
        reason = self._why_not_once()
        self.encodes_once = not reason
        if reason:
            logger.info("%s: looks at a picture for each question: %s", settings.path, reason)
        template = json.dumps(processor.chat_template, sort_keys=True)
        self.about: Mapping[str, Any] = {
            **describe(settings, type(model), processor.image_processor, decoding(model)),
            "chat_template_sha256": hashlib.sha256(template.encode()).hexdigest(),
            "encodes_once": self.encodes_once,
            "picture_settings": json.loads(processor.image_processor.to_json_string()),
            "processor": type(processor).__name__,
        }

    def render(self, messages: Sequence[Message], *, ask: bool) -> str:
        """Write a conversation as the tokenizer gets it; `ask` opens the model's turn."""
        rendered: str = self.processor.apply_chat_template(
            list(messages), add_generation_prompt=ask, tokenize=False
        )
        return rendered

    def see(self, picture: NDArray[np.uint8]) -> Seen:
        """Look at a picture, (H, W, 3); one that the processor does not take is a RecordError."""
        shown = Image.fromarray(picture)
        return self._look(shown) if self.encodes_once else Seen(shown, None, None)

    def inputs(self, seen: Sequence[Seen], texts: Sequence[str]) -> dict[str, Any]:
        """Make the arguments of `generate` for N texts about N pictures, or raise RecordError."""
        if not self.encodes_once:
            return dict(self._process([one.picture for one in seen], texts))
        return self._share(seen, texts)

    def generate(self, inputs: Mapping[str, Any], **options: Any) -> Any:
        """Call `generate`; RecordError if prompt and reply are longer than the model reads."""
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        new = options.get("max_new_tokens", self.model.generation_config.max_new_tokens)
        length = inputs["input_ids"].shape[1] + new
        if limit is not None and length > limit:
            raise RecordError(
                f"{self.path}: a prompt and its reply may take {length} tokens, the model reads "
                f"{limit}; lower max_new_tokens, shorten the question or make pictures smaller"
            )
        return self.model.generate(**inputs, **options)

    def _process(self, pictures: Sequence[Image.Image], texts: Sequence[str]) -> Any:
        try:
            made = self.processor.apply_chat_template(
                [[question(text, picture)] for picture, text in zip(pictures, texts, strict=True)],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs={"padding": True},
            )
        except (ValueError, TypeError, LookupError) as error:
            size = "×".join(map(str, pictures[0].size))
            raise RecordError(
                f"{self.path}: {texts[0]!r} and a picture of {size} pixels make no prompt: "
                f"{one_line(error)}"
            ) from error
        return made.to(self.model.device, dtype=self.model.dtype)

    def _look(self, picture: Image.Image) -> Seen:
        with remembering(self.processor, None) as memory:
            made = self._process([picture], ["?"])
        if memory.given is None:
            raise RuntimeError("its processor makes pixels in a way of its own")
        return Seen(picture, without_pixels(memory.given), read(self._encode(made)))

    def _encode(self, made: Mapping[str, Any]) -> Any:
        arguments = {name: made[name] for name in self._arguments_of_tower() if name in made}
        return self.model.base_model.get_image_features(**arguments, return_dict=True)

    def _arguments_of_tower(self) -> list[str]:
        return list(inspect.signature(self.model.base_model.get_image_features).parameters)

    def _share(self, seen: Sequence[Seen], texts: Sequence[str]) -> dict[str, Any]:
        rows = []
        for one, text in zip(seen, texts, strict=True):
            with remembering(self.processor, one.processed):
                rows.append(self._process([one.picture], [text]))
        done_with = {*MULTIMODAL_INPUTS_TO_DROP_OUTSIDE_PREFILL} & {*self._arguments_of_tower()}
        padding = self.processor.tokenizer.pad_token_id
        inputs = {
            name: stack(name, [row[name] for row in rows], padding)
            for name in rows[0]
            if name not in done_with
        }
        return {**inputs, "mm_encoder_outputs": {"image": join([one.features for one in seen])}}

    def _why_not_once(self) -> str:
        """Try with two pictures whether one look at each gives what the processor's batch gives."""
        if "mm_encoder_outputs" not in inspect.signature(self.model.forward).parameters:
            return "its class takes no encoded pictures"
        pictures, texts = _probes(), ["?", "Is it red?"]
        with torch.inference_mode():
            wanted = self._process(pictures, texts)
            try:
                tower = self._encode(wanted)
                more = set(tower) - {*READ, *UNREAD}
                if tower.get("pooler_output") is None or more:
                    return f"its vision tower gives {sorted(tower)}"
                given = self._share([self._look(picture) for picture in pictures], texts)
                features = given.pop("mm_encoder_outputs")["image"]
            except torch.OutOfMemoryError:
                raise
            except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
                return f"{type(error).__name__}: {one_line(error)}"
        if any(not torch.equal(tensor, wanted[name]) for name, tensor in given.items()):
            return "a batch of prompts is more than its prompts"
        if not alike(features, read(tower)):
            return "its vision tower sees a batch of pictures differently"
        return ""


def load_chat_model(settings: JudgeSettings) -> ChatModel:
    """Load a chat model with its own chat template; raises as `load_parts`."""
    return ChatModel(*load_parts(settings), settings)


def load_chat(settings: JudgeSettings) -> Judge:
    """Load a chat model that answers greedily or with a beam, never by a draw; as `load_parts`.

    Its own chat template is used. An answer is the whole reply without outer white space; a
    normaliser makes "Yes." count. Penalties, temperatures and the like of the model's
    generation_config.json have no effect. `about["encodes_once"]` says whether the vision tower ran
    once for each picture; where it cannot, it runs for each question.
    """
    chat = load_chat_model(settings)

    def answer(seen: Sequence[Seen], texts: Sequence[str]) -> list[str]:
        inputs = chat.inputs(seen, texts)
        tokens = chat.generate(inputs)[:, inputs["input_ids"].shape[1] :]
        replies = chat.processor.tokenizer.batch_decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [reply.strip() for reply in replies]

    return EncodeOnceJudge(
        about=chat.about,
        template=choose("template", settings.template, TEMPLATES),
        questions_per_batch=settings.questions_per_batch,
        encode=chat.see,
        answer=answer,
    )


def _probes() -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return [Image.fromarray(noise), Image.fromarray(np.ascontiguousarray(noise[:, :40]))]
