"""Scores pictures of the LMD benchmark by its pass rules, with intervals over distinct prompts."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selma.comparing.statistics import Bootstrap, Floats, percentiles, resampled_means
from selma.core.errors import MissingDataError, RecordError, one_line
from selma.core.tables import is_table, read_table
from selma.correction.canvas import to_rgb
from selma.correction.detections import Detection, Thresholds, postprocess
from selma.correction.detectors.protocol import Detector
from selma.correction.lmd import CATEGORIES, LmdPrompt, Vocabulary, lmd_prompts, read_prompt
from selma.correction.predicates import Predicate
from selma.correction.words import with_article
from selma.pictures.png import UNREADABLE, decode_png

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
VERSION = "pass rules of the LMD benchmark as SLD counts them (arXiv 2311.16090)"
RESAMPLED = "distinct prompts, each with all its pictures; the categories' sizes stay"
SHOWN = 5


@dataclass(frozen=True)
class Judged:
    """A picture of the benchmark, by the number of its prompt or its key in a table."""

    name: str
    prompt: str
    predicate: Predicate
    load: Callable[[], "Image"]  # RecordError if it is none


@dataclass(frozen=True)
class LmdPictures:
    """Pictures that are there, and the names or prompts of those that are missing."""

    found: list[Judged]
    missing: list[str]

    @property
    def wanted(self) -> int:
        return len(self.found) + len(self.missing)


def read_lmd_pictures(path: Path, words: Vocabulary, rounds: int) -> LmdPictures:
    """Find the benchmark's pictures in a folder or a table; none is opened yet.

    Args:
        path: a folder with ``NNN/round<i>.jpg`` and ``NNN/initial_image.jpg`` by the prompts'
            numbers (also .png), or a samples or images .parquet.
        words: of the prompts.
        rounds: the largest i that counts; the largest one there is taken, else the initial image.

    Raises:
        MissingDataError: there is no such file or folder.
        RecordError: a prompt of the table is none of the benchmark's.
    """
    prompts = lmd_prompts(words)
    if path.suffix == ".parquet":
        return _of_table(path, prompts, words)
    if not path.is_dir():
        raise MissingDataError(f"{path}: no such folder; expected pictures, or a .parquet")
    found, missing = [], []
    for one in prompts:
        picture = _newest(path / f"{one.number:03d}", rounds)
        if picture is None:
            missing.append(f"{one.number:03d}")
        else:
            load = _Opened(picture)
            found.append(Judged(f"{one.number:03d}", one.text, one.predicate, load))
    return LmdPictures(found, missing)


def judge_pictures(
    pictures: Sequence[Judged],
    detector: Detector,
    *,
    attribution: float,
    others: float,
    nms_iou: float,
    batch_size: int,
    advance: Callable[[int], None],
) -> list[bool]:
    """Say of each picture whether it passes.

    Args:
        pictures: of the benchmark.
        detector: asked for the rule's labels alone, all at once.
        attribution: lowest score that counts for prompts with attributes.
        others: for the other prompts.
        nms_iou: boxes of a label that overlap as much are one object.
        batch_size: pictures opened at a time; changes no result.
        advance: called with the number of pictures after each batch.

    Raises:
        RecordError: a picture cannot be read.
    """
    thresholds = Thresholds(attribution, others, nms_iou)
    passed = []
    for start in range(0, len(pictures), batch_size):
        batch = pictures[start : start + batch_size]
        asked = [list(dict.fromkeys(one.predicate.labels())) for one in batch]
        texts = [[f"image of {with_article(label.text)}" for label in one] for one in asked]
        seen = detector.detect([one.load() for one in batch], texts)
        for one, labels, raw in zip(batch, asked, seen, strict=True):
            found = [Detection(labels[box.query], box.box, box.score) for box in raw]
            passed.append(one.predicate.passes(postprocess(found, thresholds)))
        advance(len(batch))
    return passed


def lmd_result(
    pictures: LmdPictures, passed: Sequence[bool], how: Bootstrap, *, allow_partial: bool
) -> dict[str, Any]:
    """Count passes by category and overall, in percent, with intervals.

    Prompts repeat (a negation ten times), and a prompt's pictures are alike, so distinct prompts
    are drawn again, each with all its pictures, within each category. The overall score is the mean
    over pictures, as published. Where all prompts of a category say the same there is no interval.

    Raises:
        MissingDataError: pictures are missing, unless that is allowed.
        RecordError: there is none.
    """
    check_complete(pictures, allow_partial=allow_partial)
    asked = [(one.predicate.category, one.prompt) for one in pictures.found]
    found = estimate_passes(asked, np.array(passed, dtype=float), how)
    return {
        "metric": "lmd", "version": VERSION, "unit": "percent", "resampled": RESAMPLED,
        "resamples": how.resamples, "confidence": how.confidence, "seed": how.seed,
        "coverage": len(passed) / pictures.wanted, "missing": pictures.missing,
        **_told(found.whole),
        "categories": {category: _told(cell) for category, cell in found.categories.items()},
        "failed": [
            one.name for one, ok in zip(pictures.found, passed, strict=True) if not ok
        ],
    }  # fmt: skip


@dataclass(frozen=True)
class PassEstimate:
    """A mean over pictures; its interval over distinct prompts, None where all of them agree."""

    mean: float
    low: float | None
    high: float | None
    pictures: int
    distinct_prompts: int


@dataclass(frozen=True)
class PassEstimates:
    """Of all pictures, and of each category that has some."""

    whole: PassEstimate
    categories: dict[str, PassEstimate]


def estimate_passes(
    asked: Sequence[tuple[str, str]], values: Floats, how: Bootstrap
) -> PassEstimates:
    """Estimate passes of the benchmark's pictures, or how two ways to make them differ.

    Distinct prompts are drawn again, each with all its pictures, within each category.

    Args:
        asked: category and prompt of each picture, at least one.
        values: 1 for a picture that passes and 0 for others, or differences of these, (n,).
        how: of the intervals.
    """
    cells, means = {}, {}
    pairs = list(zip(asked, values.tolist(), strict=True))
    for category in CATEGORIES:
        own = [(prompt, value) for (kind, prompt), value in pairs if kind == category]
        if own:
            cells[category], means[category] = _cell(own, how.named("lmd", category))
    total = len(values)
    shares = {category: cell.pictures / total for category, cell in cells.items()}
    together = np.sum([shares[category] * means[category] for category in cells], axis=0)
    alike = all(cell.low is None for cell in cells.values())
    low, high = (None, None) if alike else percentiles(together, how)
    distinct = sum(cell.distinct_prompts for cell in cells.values())
    return PassEstimates(PassEstimate(float(values.mean()), low, high, total, distinct), cells)


def check_complete(pictures: LmdPictures, *, allow_partial: bool) -> None:
    """Check that all pictures are there; raises as `lmd_result`."""
    if not pictures.found:
        raise RecordError("none of the benchmark's pictures is there; nothing can be scored")
    if pictures.missing and not allow_partial:
        names = ", ".join(pictures.missing[:SHOWN]) + ", …" * (len(pictures.missing) > SHOWN)
        raise MissingDataError(
            f"{len(pictures.missing)} of {pictures.wanted} pictures are missing ({names}); add "
            "them, or score what is there with --allow-partial"
        )


def _cell(scored: Sequence[tuple[str, float]], how: Bootstrap) -> tuple[PassEstimate, Floats]:
    """Estimate one category's pictures, given by prompt; also its resampled means, (R,)."""
    by_prompt: dict[str, list[float]] = {}
    for prompt, value in sorted(scored, key=lambda pair: pair[0]):
        by_prompt.setdefault(prompt, []).append(value)
    values = np.array([sum(own) / len(own) for own in by_prompt.values()])
    weights = np.array([float(len(own)) for own in by_prompt.values()])
    means = resampled_means(values, weights, how)
    alike = bool((values == values[0]).all())
    low, high = (None, None) if alike else percentiles(means, how)
    mean = sum(value for _, value in scored) / len(scored)
    return PassEstimate(mean, low, high, len(scored), len(by_prompt)), means


def _told(found: PassEstimate) -> dict[str, Any]:
    """Write an estimate of passes in percent."""
    passed = round(found.mean * found.pictures)
    return {
        "score": 100 * passed / found.pictures, "passed": passed, "pictures": found.pictures,
        "distinct_prompts": found.distinct_prompts,
        "low": None if found.low is None else 100 * found.low,
        "high": None if found.high is None else 100 * found.high,
    }  # fmt: skip


def _newest(folder: Path, rounds: int) -> Path | None:
    names = [*(f"round{number}" for number in range(rounds, 0, -1)), "initial_image"]
    places = (folder / f"{name}{suffix}" for name in names for suffix in SUFFIXES)
    return next((place for place in places if place.is_file()), None)


@dataclass(frozen=True)
class _Opened:
    path: Path

    def __call__(self) -> "Image":
        from PIL import Image

        try:
            with Image.open(self.path) as picture:
                return to_rgb(picture)
        except (*UNREADABLE, Image.DecompressionBombError, RecordError) as error:
            raise RecordError(
                f"{self.path}: no picture that can be read ({one_line(error)})"
            ) from error


@dataclass(frozen=True)
class _Decoded:
    row: Mapping[str, Any]
    name: str

    def __call__(self) -> "Image":
        from PIL import Image

        return Image.fromarray(decode_png(self.row["image"]["bytes"], self.name))


def _of_table(path: Path, prompts: Sequence[LmdPrompt], words: Vocabulary) -> LmdPictures:
    """Take a table's pictures; each prompt must have as many as the benchmark repeats it."""
    kind = "images" if is_table(path, "images") else "samples"
    found = list(_rows(path, kind, words))
    there = Counter(_plain(one.prompt) for one in found)
    lacking = Counter(_plain(one.text) for one in prompts) - there
    return LmdPictures(found, sorted(lacking.elements()))


def _rows(path: Path, kind: str, words: Vocabulary) -> Iterator[Judged]:
    for row in read_table(path, kind):
        name = f"{row['prompt_id' if kind == 'images' else 'item_id']}/{row['sample']}"
        try:
            rule = read_prompt(row["prompt"], words)
        except RecordError as error:
            raise RecordError(f"{path}: {name}: {error}") from error
        yield Judged(name, _plain(row["prompt"]), rule, _Decoded(row, f"{path}: {name}"))


def _plain(prompt: str) -> str:
    """A prompt as the benchmark writes it; see `read_prompt`."""
    return " ".join(prompt.split()).removesuffix(".").rstrip()
