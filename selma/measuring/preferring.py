"""The act of scoring pictures by a preference model."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.core.choices import choose
from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.core.seeds import derive_seed
from selma.measuring.naming import Row, Scores, describe_measure
from selma.pictures.checks import PictureSet
from selma.scorers.clip_models import Scorer
from selma.scorers.clipscore import CLIPSCORES
from selma.scorers.hps import HPS_VERSIONS, POCKET_VERSION
from selma.scorers.preference import SCORERS, score_samples

VERSIONS = {"pickscore": "arXiv 2305.01569", "imagereward": "arXiv 2304.05977"}


def check_version(kind: str, version: str | None, antialias: bool | None) -> None:
    """Check that a preference scorer's version and antialias are such as it has, or ConfigError."""
    if kind in VERSIONS and version is not None:
        raise ConfigError(f"version: {kind} has one version, expected null, got {version!r}")
    if kind not in VERSIONS:
        known = {"hps": {*HPS_VERSIONS, POCKET_VERSION}, "clipscore": set(CLIPSCORES)}[kind]
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
    benchmark: Sequence[Row],
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
    directory: Path | None = None,
    shuffle_seed: int | None = None,
) -> Scores:
    """Score each picture of a benchmark against its prompt.

    The kind is the scorer's key in `SCORERS`, `judge` names its weights; `measure` and `title` are
    as of `score_answers`. `advance` is called with the number of pictures of each batch, and
    `directory` keeps its scores, so that it resumes and several processes share the work. With a
    `shuffle_seed` each picture is scored against another item's prompt, as a control.

    Raises:
        MissingDataError: there is no picture to score.
        RecordError: a score is not finite.
    """
    scores, about = score_samples(
        scored_rows(benchmark, pictures, shuffle_seed),
        scorer,
        metric=kind,
        judge=judge,
        sources={row["item_id"]: row["source"] for row in benchmark},
        batch_size=batch_size,
        directory=directory,
        advance=advance,
    )
    prompts = "own" if shuffle_seed is None else f"another item's, seed {shuffle_seed}"
    named = describe_measure(measure, title, benchmark_name, benchmark)
    return scores, about | picture_coverage(pictures, scores) | named | {"prompts": prompts}


def scored_rows(
    benchmark: Sequence[Row], pictures: PictureSet, shuffle_seed: int | None
) -> Sequence[Row]:
    """The pictures with the prompts they are scored against; MissingDataError if there are none."""
    if not pictures.rows:
        raise MissingDataError("no picture of the benchmark can be scored")
    if shuffle_seed is None:
        return pictures.rows
    others = shuffled_prompts({row["item_id"]: row["prompt"] for row in benchmark}, shuffle_seed)
    return [{**row, "prompt": others[row["item_id"]]} for row in pictures.rows]


def picture_coverage(pictures: PictureSet, scores: Sequence[Row]) -> dict[str, Any]:
    """What share of the benchmark's pictures was scored, and what was left out."""
    return {
        "coverage": len(scores) / pictures.n_wanted,
        "left_out": pictures.findings.problems(),
        "n_items": len({row["item_id"] for row in scores}),
        "n_pictures": len(scores),
        "n_wanted": pictures.n_wanted,
    }


def shuffled_prompts(prompts: Mapping[str, str], seed: int) -> dict[str, str]:
    """Item id → another item's prompt, as a control: such scores should be clearly lower.

    The different prompts stand on a circle, in an order that seed and prompt alone decide, and each
    is replaced by the next one. So no item keeps its prompt, also if two items share one, and what
    replaces a prompt changes only if a prompt is put between the two.

    Raises:
        RecordError: all prompts are the same.
    """
    circle = sorted(
        set(prompts.values()), key=lambda text: (derive_seed(seed, "shuffle", text), text)
    )
    if len(circle) < 2:
        raise RecordError(
            f"shuffled prompts: {len(prompts)} items have {len(circle)} different prompts; "
            "expected at least 2"
        )
    following = dict(zip(circle, [*circle[1:], circle[0]], strict=True))
    return {item_id: following[prompt] for item_id, prompt in prompts.items()}
