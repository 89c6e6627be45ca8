"""Maps a free answer to the choice it is nearest to in meaning, as TIFA does.

Source: TIFA, arXiv 2303.11897, and the code of its authors, with the sentence encoder
sentence-transformers/all-mpnet-base-v2.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selma.core.choices import choose
from selma.core.errors import MissingDataError, RecordError
from selma.core.fingerprints import weights_revision

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEXTS_PER_BATCH = 64
_YES_NO = ("yes", "no")
# Encoders by config.json's model_type, and how many of their positions no token can have.
_UNUSED_POSITIONS = {"bert": 0, "mpnet": 2}
_POOLER = "pooler.dense.weight"

Tokens = tuple[int, ...]


class SbertMapper:
    """Gives the choice for a free answer; remembers what it has embedded and answered."""

    def __init__(
        self,
        encoder: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        *,
        max_tokens: int,
        device: str,
        about: Mapping[str, Any],
    ) -> None:
        """Take a loaded encoder; `load_sbert_mapper` loads one.

        Args:
            encoder: in evaluation mode, float32.
            tokenizer: of the same model.
            max_tokens: longer texts are cut off.
            device: where the encoder is.
            about: all that decides a mapping, in JSON's types.
        """
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._device = device
        self._about = dict(about)
        self._tokens: dict[str, Tokens] = {}
        self._embeddings: dict[Tokens, NDArray[np.float32]] = {}
        self._choices: dict[tuple[str, tuple[str, ...]], str] = {}

    @property
    def about(self) -> Mapping[str, Any]:
        """Say in JSON's types all that decides a mapping."""
        return self._about

    def __call__(self, answer: str, choices: Sequence[str]) -> str:
        """Give the choice that equals the answer, letter by letter, or is nearest in meaning.

        Nearest is the highest dot product of the embeddings; of equals the first. So no answer is
        wrong for its words alone: "0" may be taken for "1". Texts of the same tokens ("Red" and
        "red" in an uncased model) are equal to the last bit.

        Args:
            answer: any text.
            choices: what can be chosen; none means yes and no.
        """
        key = (answer, tuple(choices) or _YES_NO)
        if key not in self._choices:
            self._choices[key] = answer if answer in key[1] else self._nearest(*key)
        return self._choices[key]

    def prepare(self, pairs: Iterable[tuple[str, Sequence[str]]]) -> None:
        """Embed in batches all that these pairs of answer and choices need; for speed alone."""
        needed = dict.fromkeys(
            text
            for answer, choices in pairs
            if answer not in (tuple(choices) or _YES_NO)
            for text in (answer, *(choices or _YES_NO))
        )
        self._embed(list(needed))

    def _nearest(self, answer: str, choices: tuple[str, ...]) -> str:
        self._embed([answer, *choices])
        wanted = self._embeddings[self._tokens[answer]]  # (D,)
        rows = np.stack([self._embeddings[self._tokens[choice]] for choice in choices])  # (C, D)
        # A sum by row, not a matrix product: there, equal rows may differ in the last bit.
        return choices[int(np.argmax((rows * wanted).sum(axis=1)))]

    def _embed(self, texts: Sequence[str]) -> None:
        """Embed what is not yet known; the texts of a batch have one length, so none is padded."""
        new = [text for text in dict.fromkeys(texts) if text not in self._tokens]
        if not new:
            return
        encoded = self._tokenizer(new, truncation=True, max_length=self._max_tokens)["input_ids"]
        self._tokens.update(zip(new, map(tuple, encoded), strict=True))
        waiting = {self._tokens[text] for text in new} - set(self._embeddings)
        for batch in _batches(waiting):
            for tokens, embedding in zip(batch, self._encode(batch), strict=True):
                self._embeddings[tokens] = embedding

    def _encode(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        """Embed token sequences of one length, (N, T), as unit vectors, (N, D)."""
        import torch

        ids = torch.tensor(batch, device=self._device)  # (N, T)
        with torch.inference_mode():
            states = self._encoder(input_ids=ids, attention_mask=torch.ones_like(ids))
            means = states.last_hidden_state.mean(dim=1)  # (N, D); every token counts
            units = torch.nn.functional.normalize(means, dim=1)
        found: NDArray[np.float32] = units.float().cpu().numpy()
        return found


def load_sbert_mapper(directory: Path, *, device: str = "cpu") -> SbertMapper:
    """Load a sentence encoder whose sentence is the mean of its tokens' states, in float32.

    Args:
        directory: a folder in transformers' layout: config.json, safetensors weights, tokenizer.
        device: "cpu" or "cuda".

    Raises:
        MissingDataError: a file is not there.
        RecordError: the files do not fit each other; a pooler, present or absent, is no matter.
        ConfigError: the encoder is of a kind that is not known here.
    """
    import torch
    import transformers
    from safetensors import SafetensorError

    for name in ("config.json", "tokenizer_config.json"):
        if not (directory / name).is_file():
            raise MissingDataError(
                f"{directory}/{name}: not found; expected the folder of a sentence encoder such as "
                "sentence-transformers/all-mpnet-base-v2"
            )
    try:
        config = transformers.AutoConfig.from_pretrained(directory, local_files_only=True)
        unused = choose("sentence encoder", config.model_type, _UNUSED_POSITIONS)
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)
        encoder, report = transformers.AutoModel.from_pretrained(
            directory,
            # Mean pooling does not use the head over the first token: a file may hold or lack it.
            add_pooling_layer=_holds(directory, _POOLER),
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        problem = " ".join(str(error).split())[:300]
        raise RecordError(f"{directory}: not a sentence encoder: {problem}") from error
    _check(directory, report)
    encoder.eval().to(device)
    max_tokens = min(tokenizer.model_max_length, config.max_position_embeddings - unused)
    about = {
        "mapping": "sbert",
        "model": directory.name,
        "weights_sha256": weights_revision(directory).removeprefix("sha256:"),
        "model_type": config.model_type,
        "max_tokens": max_tokens,
        "dtype": "float32",
        "libraries": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    return SbertMapper(encoder, tokenizer, max_tokens=max_tokens, device=device, about=about)


def _check(directory: Path, report: Mapping[str, Iterable[Any]]) -> None:
    """Refuse weights that are missing, unexpected or of another shape."""
    wrong = {name: sorted(map(str, keys)) for name, keys in report.items() if keys}
    if wrong:
        raise RecordError(f"{directory}: weights and config.json do not fit: {wrong}")


def _holds(directory: Path, name: str) -> bool:
    from safetensors import safe_open

    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, framework="pt") as handle:
            if name in set(handle.keys()):
                return True
    return False


def _batches(sequences: Iterable[Tokens]) -> Iterator[list[Tokens]]:
    """Group by length, short ones first; at most `TEXTS_PER_BATCH` together."""
    ordered = sorted(sequences, key=lambda tokens: (len(tokens), tokens))
    batch: list[Tokens] = []
    for tokens in ordered:
        if batch and (len(batch) == TEXTS_PER_BATCH or len(batch[0]) != len(tokens)):
            yield batch
            batch = []
        batch.append(tokens)
    if batch:
        yield batch
