"""What a judge is given and gives back, whatever model stands behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Question(NamedTuple):
    """What is asked about a picture; no choices means yes or no."""

    question: str
    choices: tuple[str, ...]


Pictures = Sequence[NDArray[np.uint8]]  # each (H, W, 3), of any sizes
Questions = Sequence[Sequence[Question]]  # for each picture, what is asked about it


class Judge(Protocol):
    """Answers questions about pictures."""

    @property
    def about(self) -> Mapping[str, Any]:
        """Say in JSON's types what decides the answers: model, settings, libraries."""
        ...

    def __call__(self, pictures: Pictures, questions: Questions) -> list[list[str]]:
        """Answer each question of each picture.

        An answer does not depend on what else is asked in the same call.
        """
        ...


@dataclass(frozen=True)
class JudgeSettings:
    """How a judge is loaded and asked.

    Attributes:
        path: a folder in transformers' layout, or a Hub name together with a `revision`.
        revision: the commit (40 hexadecimal digits) of a Hub model; None for a folder.
        dtype: of the weights: float32, bfloat16 or float16.
        device: "cpu" or "cuda".
        template: a key of `templates.TEMPLATES`, how a question becomes the model's input.
        questions_per_batch: questions at a time; does not change an answer.
        max_new_tokens: an answer is cut off after this many tokens.
        beams: width of the beam search; 1 is greedy.
    """

    path: str
    revision: str | None
    dtype: str
    device: str
    template: str
    questions_per_batch: int
    max_new_tokens: int
    beams: int
