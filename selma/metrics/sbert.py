"""Maps a free answer to the choice it is nearest to in meaning, as TIFA does (arXiv 2303.11897).

The authors' encoder is sentence-transformers/all-mpnet-base-v2; `selma[sbert]` brings the package.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from selma.core.choices import choose
from selma.core.devices import check_device, full_float32
from selma.core.errors import MissingDataError, MissingDependencyError, RecordError, one_line
from selma.core.fingerprints import weights_revision

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TEXTS_PER_BATCH = 64
_YES_NO = ("yes", "no")
# Encoders by config.json's model_type, and how many of their positions no token can have.
_UNUSED_POSITIONS = {"bert": 0, "mpnet": 2}
_POOLER = "pooler.dense.weight"
_SAME = 1e-6  # the rounding of unit vectors' products: texts of the same tokens are as near


class SbertMapper:
    """Takes the choice that a free answer means; remembers what it has embedded."""

    def __init__(self, encoder: "SentenceTransformer", about: Mapping[str, Any]) -> None:
        """Take a loaded encoder of unit vectors, and in JSON's types all that decides a mapping."""
        self.about = about
        self._encoder = encoder
        self._embeddings: dict[str, NDArray[np.float32]] = {}

    def __call__(self, answer: str, choices: Sequence[str]) -> str:
        """Return the choice that equals the answer, letter by letter, or is nearest in meaning.

        Nearest is the highest dot product of the embeddings; of equals the first. So no answer is
        wrong for its words alone: "0" may be taken for "1". No choices means yes and no.
        """
        among = tuple(choices) or _YES_NO
        if answer in among:
            return answer
        self._embed([answer, *among])
        rows = np.stack([self._embeddings[choice] for choice in among])  # (C, D)
        nearness = rows @ self._embeddings[answer]  # (C,)
        return among[int(np.argmax(nearness >= nearness.max() - _SAME))]

    def prepare(self, pairs: Iterable[tuple[str, Sequence[str]]]) -> None:
        """Embed in batches all that these pairs of answer and choices need; for speed alone."""
        self._embed(
            text
            for answer, choices in pairs
            if answer not in (tuple(choices) or _YES_NO)
            for text in (answer, *(choices or _YES_NO))
        )

    def _embed(self, texts: Iterable[str]) -> None:
        new = [text for text in dict.fromkeys(texts) if text not in self._embeddings]
        if new:
            options = {"batch_size": TEXTS_PER_BATCH, "show_progress_bar": False}
            with full_float32():
                found = self._encoder.encode(new, **options)
            self._embeddings.update(zip(new, found, strict=True))


def load_sbert_mapper(directory: Path, *, device: str = "cpu") -> SbertMapper:
    """Load a sentence encoder whose sentence is the mean of its tokens' states, in float32.

    `directory` is in transformers' layout: config.json, safetensors weights, tokenizer; a pooler
    may be there or not. Raises MissingDataError without a file, MissingDependencyError without
    sentence-transformers, RecordError if the files do not fit each other, and ConfigError for a
    kind of encoder that is not known here.
    """
    try:
        import sentence_transformers
        from sentence_transformers.sentence_transformer import modules
    except ImportError as error:
        raise MissingDependencyError(
            "tifa mapping 'sbert' needs sentence-transformers: pip install 'selma[sbert]'"
        ) from error
    check_device(device)
    for name in ("config.json", "tokenizer_config.json"):
        if not (directory / name).is_file():
            raise MissingDataError(
                f"{directory}/{name}: not found; expected the folder of a sentence encoder such as "
                "sentence-transformers/all-mpnet-base-v2"
            )
    local = {"local_files_only": True}
    try:
        config = transformers.AutoConfig.from_pretrained(directory, **local)
        unused = choose("sentence encoder", config.model_type, _UNUSED_POSITIONS)
        weights = {
            # Mean pooling does not use the head over the first token: a file may hold or lack it.
            "add_pooling_layer": _holds(directory, _POOLER),
            "dtype": torch.float32,
            "use_safetensors": True,
            **local,
        }
        _, report = transformers.AutoModel.from_pretrained(
            directory, output_loading_info=True, **weights
        )
        tower = modules.Transformer(str(directory), model_kwargs=weights, processor_kwargs=local)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise RecordError(f"{directory}: not a sentence encoder: {one_line(error)}") from error
    wrong = {name: sorted(map(str, keys)) for name, keys in report.items() if keys}
    if wrong:
        raise RecordError(f"{directory}: weights and config.json do not fit: {wrong}")
    positions = config.max_position_embeddings - unused
    tower.max_seq_length = min(tower.tokenizer.model_max_length, positions)
    parts = [tower, modules.Pooling(config.hidden_size, "mean"), modules.Normalize()]
    encoder = sentence_transformers.SentenceTransformer(modules=parts, device=device).eval()
    libraries = (torch, transformers, sentence_transformers)
    about = {
        "mapping": "sbert",
        "model": directory.name,
        "weights_sha256": weights_revision(directory).removeprefix("sha256:"),
        "model_type": config.model_type,
        "max_tokens": tower.max_seq_length,
        "dtype": "float32",
        "libraries": {one.__name__.replace("_", "-"): one.__version__ for one in libraries},
    }
    return SbertMapper(encoder, about)


def _holds(directory: Path, name: str) -> bool:
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, framework="pt") as handle:
            if name in set(handle.keys()):
                return True
    return False
