"""HPS v2 (arXiv 2306.09341): the names of its versions, and what its own benchmark reports.

A model's picture for prompt 17 of a style is `STYLE/00017.jpg`, a score 100 · cosine. The authors'
script skips a missing picture, which moves all later ones to earlier chunks; here that is an error,
or a picture stays in its own chunk.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selma.core.errors import RecordError

HPS_VERSIONS = {"v2.0": "HPS_v2_compressed.pt", "v2.1": "HPS_v2.1_compressed.pt"}
POCKET_VERSION = "pocket"  # a small CLIP of that metric, no published version
RESIZE_BY_ANTIALIAS = {False: "tensor-bicubic", True: "tensor-bicubic-antialias"}
STYLES = ("anime", "concept-art", "paintings", "photo")
PICTURES_PER_STYLE = 800
CHUNK = 80  # pictures


@dataclass(frozen=True)
class StyleScore:
    """What the benchmark reports for one style."""

    mean: float  # of the chunks' means
    deviation: float  # the chunk means' population standard deviation, printed after ±
    pictures: int  # how many were scored


@dataclass(frozen=True)
class BenchmarkScore:
    """What the benchmark reports for a model: its average is the mean of all pictures."""

    styles: Mapping[str, StyleScore]
    mean: float
    pictures: int


def picture_path(style: str, index: int) -> str:
    """Name the picture for a style's prompt, from 0, in the model's folder; else RecordError."""
    if style not in STYLES or not 0 <= index < PICTURES_PER_STYLE:
        raise RecordError(
            f"HPS benchmark: no prompt {index} of style {style!r}; expected 0 to "
            f"{PICTURES_PER_STYLE - 1} of {', '.join(STYLES)}"
        )
    return f"{style}/{index:05d}.jpg"


def benchmark_score(
    scores: Mapping[str, NDArray[np.float64]], *, partial: bool = False
) -> BenchmarkScore:
    """Aggregate scores, one a prompt (800,) for each of `STYLES`, as the benchmark does.

    NaN is a missing picture, which only `partial` allows. RecordError: a style is missing, unknown
    or without pictures, or has another number of prompts.
    """
    if set(scores) != set(STYLES):
        raise RecordError(
            f"HPS benchmark: got styles {', '.join(sorted(scores))}; expected {', '.join(STYLES)}"
        )
    styles = {style: style_score(scores[style], style, partial=partial) for style in STYLES}
    pooled = np.concatenate([scores[style] for style in STYLES]).astype(np.float64)
    pictures = sum(score.pictures for score in styles.values())
    return BenchmarkScore(styles, float(np.nanmean(pooled)), pictures)


def style_score(scores: NDArray[np.float64], style: str, *, partial: bool = False) -> StyleScore:
    """Aggregate the scores of one style, as `benchmark_score`; chunks without any are left out."""
    if scores.shape != (PICTURES_PER_STYLE,):
        raise RecordError(
            f"HPS benchmark: {style} has scores of shape {scores.shape}, expected "
            f"({PICTURES_PER_STYLE},)"
        )
    if np.isinf(scores).any():
        raise RecordError(f"HPS benchmark: a score of {style} is infinite")
    there = ~np.isnan(scores)
    if not there.any() or not (partial or there.all()):
        raise RecordError(
            f"HPS benchmark: {int((~there).sum())} pictures of {style} are missing, first "
            f"{picture_path(style, int(np.argmin(there)))}; draw them, or allow a partial result"
        )
    chunks = scores.astype(np.float64).reshape(-1, CHUNK)  # (10, 80)
    means = [float(np.nanmean(chunk)) for chunk in chunks if not np.isnan(chunk).all()]
    return StyleScore(float(np.mean(means)), float(np.std(means)), int(there.sum()))
