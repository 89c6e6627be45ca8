"""Asks all questions about a picture after looking at it once, in batches across pictures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from selma.judges.protocol import Pictures, Question, Questions

Seen = TypeVar("Seen")
Read = TypeVar("Read")


def see_the_same(seen: Any, texts: Sequence[str]) -> list[Any]:
    """Return the same for each text, where a question does not decide what is seen."""
    return [seen] * len(texts)


@dataclass(frozen=True)
class EncodeOnceJudge(Generic[Seen, Read]):
    """A judge made of two or three functions.

    Attributes:
        about: what decides its answers.
        template: how a question becomes the model's input.
        questions_per_batch: questions given to `read` or `answer` at a time.
        encode: what all questions about a picture, (H, W, 3) uint8, share.
        answer: from what `read` gave for N texts and these texts, N answers; pictures are mixed.
        read: from an encoded picture and N texts about it, what is seen for each. Here the texts
            can share work on the one picture.
        length: of a text; texts of like length share a batch, so that little of it is padding.
        pads: whether texts of different lengths may share a batch.
    """

    about: Mapping[str, Any]
    template: Callable[[Question], str]
    questions_per_batch: int
    encode: Callable[[NDArray[np.uint8]], Seen]
    answer: Callable[[Sequence[Read], Sequence[str]], list[str]]
    read: Callable[[Seen, Sequence[str]], Sequence[Read]] = see_the_same
    length: Callable[[str], int] = len
    pads: bool = True

    def __call__(self, pictures: Pictures, questions: Questions) -> list[list[str]]:
        """Answer each question of each picture; see `Judge`.

        Pictures are encoded one by one, so that what a model sees in one does not depend on the
        others. A question that is too long for the model is a RecordError.
        """
        import torch

        texts = [[self.template(question) for question in asked] for asked in questions]
        answers = [[""] * len(asked) for asked in texts]
        with torch.inference_mode():
            seen = [
                self._read(picture, asked) for picture, asked in zip(pictures, texts, strict=True)
            ]
            for batch in self._batches(texts):
                given = self.answer(
                    [seen[row][column] for row, column in batch],
                    [texts[row][column] for row, column in batch],
                )
                for (row, column), answer in zip(batch, given, strict=True):
                    answers[row][column] = answer
        return answers

    def _read(self, picture: NDArray[np.uint8], texts: Sequence[str]) -> list[Read]:
        """Read a picture for each text; nothing is looked at without a text."""
        if not texts:
            return []
        seen, size = self.encode(picture), self.questions_per_batch
        parts = (texts[start : start + size] for start in range(0, len(texts), size))
        return [read for part in parts for read in self.read(seen, part)]

    def _batches(self, texts: Sequence[Sequence[str]]) -> Iterator[list[tuple[int, int]]]:
        """Yield places (row, column) in `texts`, short texts first."""
        lengths = {
            (row, column): self.length(text)
            for row, asked in enumerate(texts)
            for column, text in enumerate(asked)
        }
        places = sorted(lengths, key=lambda place: lengths[place])
        groups = groupby(places, key=lambda place: self.pads or lengths[place])
        for group in (list(members) for _, members in groups):
            for start in range(0, len(group), self.questions_per_batch):
                yield group[start : start + self.questions_per_batch]
