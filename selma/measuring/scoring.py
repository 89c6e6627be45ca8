"""The act of scoring: answers or pictures become scores that say what they are."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.core.choices import choose
from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.core.seeds import derive_seed
from selma.core.tables import content_hash
from selma.metrics.dsg import score_dsg
from selma.metrics.tifa import load_mapping, score_tifa
from selma.pictures.checks import PictureSet
from selma.scorers.clip_models import Scorer
from selma.scorers.clipscore import CLIPSCORES
from selma.scorers.hps import HPS_VERSIONS
from selma.scorers.preference import SCORERS, score_samples

Row = Mapping[str, Any]
Rows = Sequence[Row]
Scores = tuple[list[dict[str, Any]], dict[str, Any]]  # rows of a scores table, what it is about
TITLES = {
    "dsg": "DSG", "tifa": "TIFA", "pickscore": "PickScore", "hps": "HPS",
    "imagereward": "ImageReward", "clipscore": "CLIPScore", "vqascore": "VQAScore",
}  # fmt: skip
VERSIONS = {"pickscore": "arXiv 2305.01569", "imagereward": "arXiv 2304.05977"}


def score_answers(
    kind: str,
    benchmark: Rows,
    answers: Rows,
    judge_about: Mapping[str, Any] | None,
    *,
    settings: Mapping[str, Any],
    measure: str,
    title: str,
    benchmark_name: str,
    no_answer_max: float,
    allow_partial: bool = False,
) -> Scores:
    """Score one judge's answers by DSG or TIFA; no model runs, but for TIFA's mapping sbert.

    The settings are DSG's policy and mean, or TIFA's mapping and sbert_path; `judge_about` is what
    the answers table says of its judge, None if it says nothing. `measure` is the name of the row
    of params, or the metric; `title` its name for people. `no_answer_max` is the share of replies
    that may be no answer; `allow_partial` leaves out pictures that lack one, instead of refusing.

    Raises:
        ConfigError: there is no such kind, policy, mean or mapping.
        MissingDataError: an answer is missing.
        RecordError: an answer belongs to no question, or too many replies are no answer.
    """
    common: dict[str, Any] = {
        "judge_about": judge_about, "allow_partial": allow_partial, "no_answer_max": no_answer_max
    }  # fmt: skip
    if kind == "dsg":
        rows, about = score_dsg(benchmark, answers, **settings, **common)
    elif kind == "tifa":
        mapping = load_mapping(settings["mapping"], settings["sbert_path"], benchmark, answers)
        rows, about = score_tifa(benchmark, answers, mapping=mapping, **common)
    else:
        raise ConfigError(f"unknown kind of measure {kind!r}; choose one of: dsg, tifa")
    return rows, about | _name(measure, title, benchmark_name, benchmark)


def check_version(kind: str, version: str | None, antialias: bool | None) -> None:
    """Check that a preference scorer's version and antialias are such as it has, or ConfigError."""
    if kind in VERSIONS and version is not None:
        raise ConfigError(f"version: {kind} has one version, expected null, got {version!r}")
    if kind not in VERSIONS:
        known = {"hps": {*HPS_VERSIONS, "pocket"}, "clipscore": set(CLIPSCORES)}[kind]
        choose(f"version of {kind}", str(version), dict.fromkeys(known))
    if antialias is not None and kind != "hps":
        raise ConfigError(f"antialias: is an option of hps, not of {kind}; expected null")


def load_scorer(
    kind: str, directory: Path, *, version: str | None, antialias: bool | None, device: str
) -> Scorer:
    """Load the preference scorer of a kind, a key of `SCORERS`, from its folder.

    The version is that of HPS or the variant of CLIPScore, None for those that have one version;
    `antialias` is HPS's, of the tensor's resize, None takes what the folder says.

    Raises:
        ConfigError: an option is wrong, missing or not the scorer's.
        MissingDataError: a file is not there.
        RecordError: the files do not fit each other, or are of another scorer.
    """
    load = choose("preference scorer", kind, SCORERS)
    check_version(kind, version, antialias)
    options = {"antialias": antialias} if kind == "hps" else {}
    return load(directory, version or VERSIONS[kind], device=device, **options)


def score_pictures(
    benchmark: Rows,
    pictures: PictureSet,
    scorer: Scorer,
    *,
    kind: str,
    judge: str,
    measure: str,
    title: str,
    benchmark_name: str,
    batch_size: int,
    advance: Callable[[int], None],
    shuffle_seed: int | None = None,
) -> Scores:
    """Score each picture of a benchmark against its prompt.

    The kind is the scorer's key in `SCORERS`, `judge` names its weights; `measure` and `title` are
    as of `score_answers`. `advance` is called with the number of pictures of each batch. With a
    `shuffle_seed` each picture is scored against another item's prompt, as a control.

    Raises:
        MissingDataError: there is no picture to score.
        RecordError: a score is not finite.
    """
    scores, about = score_samples(
        _scored_rows(benchmark, pictures, shuffle_seed),
        scorer,
        metric=kind,
        judge=judge,
        sources={row["item_id"]: row["source"] for row in benchmark},
        batch_size=batch_size,
        advance=advance,
    )
    prompts = "own" if shuffle_seed is None else f"another item's, seed {shuffle_seed}"
    named = _name(measure, title, benchmark_name, benchmark)
    return scores, about | _coverage(pictures, scores) | named | {"prompts": prompts}


def _scored_rows(benchmark: Rows, pictures: PictureSet, shuffle_seed: int | None) -> Rows:
    """The pictures with the prompts they are scored against."""
    if not pictures.rows:
        raise MissingDataError("no picture of the benchmark can be scored")
    if shuffle_seed is None:
        return pictures.rows
    others = shuffled_prompts({row["item_id"]: row["prompt"] for row in benchmark}, shuffle_seed)
    return [{**row, "prompt": others[row["item_id"]]} for row in pictures.rows]


def _coverage(pictures: PictureSet, scores: Rows) -> dict[str, Any]:
    return {
        "coverage": len(scores) / pictures.n_wanted,
        "left_out": pictures.findings.problems(),
        "n_items": len({row["item_id"] for row in scores}),
        "n_pictures": len(scores),
        "n_wanted": pictures.n_wanted,
    }


def _name(measure: str, title: str, benchmark_name: str, benchmark: Rows) -> dict[str, Any]:
    sha256 = content_hash(benchmark, "benchmark")
    named = {"measure": measure, "title": title}
    return {**named, "benchmark": benchmark_name, "benchmark_sha256": sha256}


def score_by_probability(
    benchmark: Rows,
    pictures: PictureSet,
    *,
    settings: Any,
    variant: str,
    benchmark_name: str,
    advance: Callable[[int], None],
) -> Scores:
    """Score pictures by VQAScore, a chat model's probability of "Yes", like `score_pictures`.

    The settings are the chat model's `JudgeSettings`; the variant is a key of `vqascore.VARIANTS`.
    """
    from selma.judges.chat.vqascore import load_vqascore
    from selma.judges.loading import describe_judge
    from selma.pictures.png import picture_of

    scorer = load_vqascore(settings, variant)
    sources = {row["item_id"]: row["source"] for row in benchmark}
    samples, size = _scored_rows(benchmark, pictures, None), settings.questions_per_batch
    scores: list[float] = []
    for start in range(0, len(samples), size):
        batch = samples[start : start + size]
        scores += scorer([picture_of(row) for row in batch], [row["prompt"] for row in batch])
        advance(len(batch))
    rows = [
        {
            "item_id": row["item_id"], "sample": row["sample"], "source": sources[row["item_id"]],
            "score": score, "weight": 1.0, "details": "{}",
        }
        for row, score in zip(samples, scores, strict=True)
    ]  # fmt: skip
    described = describe_judge(scorer.about, settings)
    about = {
        "factor": 1.0,
        "judge": described["path"],
        "judge_settings": described,
        "libraries": described.pop("libraries", {}),
        "metric": "vqascore",
        "policy": variant,
        "preprocessing": json.dumps(described.pop("preprocessing")),
        "revision": described["revision"],
        "unit": "probability",
        "version": "arXiv 2404.01291",
    }
    named = _name("vqascore", TITLES["vqascore"], benchmark_name, benchmark)
    return rows, about | _coverage(pictures, rows) | named


def shuffled_prompts(prompts: Mapping[str, str], seed: int) -> dict[str, str]:
    """The prompt of another item for each, as a control: such scores should be clearly lower.

    The different prompts stand on a circle, in an order that seed and prompt alone decide, and each
    is replaced by the next one. So no item keeps its prompt, also if two items share one, and what
    replaces a prompt changes only if a prompt is put between the two. All by item id.

    Raises:
        RecordError: all prompts are the same.
    """
    texts = set(prompts.values())
    circle = sorted(texts, key=lambda text: (derive_seed(seed, "shuffle", text), text))
    if len(circle) < 2:
        raise RecordError(
            f"shuffled prompts: {len(prompts)} items have {len(circle)} different prompts; "
            "expected at least 2"
        )
    following = dict(zip(circle, [*circle[1:], circle[0]], strict=True))
    return {item_id: following[prompt] for item_id, prompt in prompts.items()}
