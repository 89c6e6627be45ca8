"""Preference scorers: how much people would like a picture for its prompt, higher is better.

Each is a folder of safetensors weights, configs and tokenizer, all in float32: small CLIPs,
PickScore (arXiv 2305.01569) as published, and what `selma convert` makes of HPS v2 (arXiv
2306.09341) and ImageReward (arXiv 2304.05977).
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.choices import choose_name
from selma.core.devices import check_device, full_float32
from selma.core.errors import ConfigError, RecordError
from selma.core.files import read_text, write_json
from selma.core.shards import work_off
from selma.scorers.clip_models import Scorer, Variant, clip_scorer, describe_scorer, load_clip
from selma.scorers.clipscore import load_clipscore
from selma.scorers.hps import HPS_VERSIONS, POCKET_VERSION, RESIZE_BY_ANTIALIAS
from selma.scorers.prompt_rules import Tokens, describe_prompts, prompt_tokenizer

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from selma.scorers.pixels import ImageSettings

logger = logging.getLogger(__name__)
Row = Mapping[str, Any]
HPS_FACTOR = 100.0  # HPS prints 100 × cosine, whatever scale the model learned
ORIGIN_FILE = "selma.json"
LIBRARIES = ("numpy", "pillow", "tokenizers", "torch", "transformers")


@dataclass(frozen=True)
class Origin:
    """What a converted model was made from; kept beside it in `ORIGIN_FILE`.

    `metric` is a key of `SCORERS`, `resize` one of `pixels.RESIZES`: what the authors did.
    """

    metric: str
    version: str
    source_file: str
    source_sha256: str
    resize: str


def read_origin(directory: Path, metric: str) -> Origin | None:
    """Read what a folder was converted from, None if it was not; RecordError if it is damaged."""
    path = directory / ORIGIN_FILE
    if not path.exists():
        return None
    try:
        origin = Origin(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise RecordError(f"{path}: does not say what was converted: {error}") from error
    if origin.metric != metric:
        raise RecordError(
            f"{path}: the model is of metric {origin.metric!r}, expected {metric!r}; "
            "give the folder of the right model"
        )
    return origin


def load_pickscore(directory: Path, version: str, *, device: str = "cpu") -> Scorer:
    """Load a CLIP that scores exp(logit_scale) · cosine, the scale read from the weights."""
    settings, _ = _settings_and_origin(directory, "pickscore")
    clip = load_clip(directory, device)
    scale = float(clip.logit_scale.detach().exp())
    variant = Variant("exp(logit_scale) * cosine", "transformers", lambda cosines: scale * cosines)
    return clip_scorer(directory, clip, settings, version, variant)


def load_hps(
    directory: Path, version: str, *, device: str = "cpu", antialias: bool | None = None
) -> Scorer:
    """Load a CLIP that scores 100 · cosine: of `selma convert hps`, or of no published version.

    `antialias` is of the resize of a tensor, whose default in torchvision changed to true in 0.17
    and moves scores; None takes what the folder says. Pillow always does it. Raises ConfigError if
    version or device is unknown, or Pillow shall not antialias; MissingDataError without a file;
    RecordError if the folder holds another version or metric, or its files do not fit each other.
    """
    choose_name("HPS version", version, (*HPS_VERSIONS, POCKET_VERSION))
    settings, origin = _settings_and_origin(directory, "hps")
    held = POCKET_VERSION if origin is None else origin.version
    if held != version:
        remedy = "give the folder of the right model"
        if version in HPS_VERSIONS:
            remedy = f"`selma convert hps {HPS_VERSIONS[version]} --version {version}` makes one"
        raise RecordError(
            f"{directory}: holds {f'HPS {held}' if origin else f'no {ORIGIN_FILE}'}, expected HPS "
            f"{version}; versions are not comparable, {remedy}"
        )
    if antialias is not None and origin is not None:
        settings = replace(settings, resize=RESIZE_BY_ANTIALIAS[antialias])
    elif antialias is False:
        raise ConfigError(
            f"{directory}: its pictures are resized by Pillow, which always antialiases; "
            "set antialias to true"
        )
    variant = Variant(
        f"{HPS_FACTOR:g} * cosine",
        "transformers" if origin is None else "open_clip",
        lambda cosines: HPS_FACTOR * cosines,
    )
    scorer = clip_scorer(directory, load_clip(directory, device), settings, version, variant)
    filtered = settings.resize != RESIZE_BY_ANTIALIAS[False]
    return replace(scorer, about={**scorer.about, "antialias": filtered, **_checkpoint(origin)})


def load_imagereward(directory: Path, version: str, *, device: str = "cpu") -> Scorer:
    """Load a reward model that scores (raw − mean) / standard deviation; raises as `load_hps`."""
    from selma.scorers import image_reward

    check_device(device)
    settings, origin = _settings_and_origin(directory, "imagereward")
    model = image_reward.load(directory)
    model.network.to(device)
    max_tokens = model.config.text_max_tokens
    vocab_size = model.config.text["vocab_size"]
    tokenize = prompt_tokenizer(
        directory, "transformers", max_tokens=max_tokens, vocab_size=vocab_size
    )

    def score(pixel_values: "torch.Tensor", tokens: Tokens) -> "torch.Tensor":
        inputs = (pixel_values, tokens.input_ids, tokens.attention_mask)
        with full_float32():
            return model.reward(*(tensor.to(device) for tensor in inputs)).cpu()

    unit = "(raw - mean) / standard deviation"
    words = f"{settings}; {describe_prompts('transformers', '', max_tokens)}"
    about = describe_scorer(directory, version, unit, words, device) | _checkpoint(origin)
    return Scorer(about, settings, tokenize, score)


SCORERS: dict[str, Callable[..., Scorer]] = {
    "clipscore": load_clipscore,
    "hps": load_hps,
    "imagereward": load_imagereward,
    "pickscore": load_pickscore,
}


def score_samples(
    samples: Sequence[Row],
    scorer: Scorer,
    *,
    metric: str,
    judge: str,
    sources: Mapping[str, str],
    batch_size: int,
    advance: Callable[[int], None],
    directory: Path | None = None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Score each picture of `samples`, rows of a samples table, against its own prompt.

    `judge` names the weights, `sources` says where each item's prompt comes from, and `advance`
    gets the number of pictures done after each batch. `directory` keeps each batch's scores, so
    that it resumes and several processes share the work; None keeps nothing. Returns rows of a
    scores table, whose `details` say whether the prompt was truncated, and what is to be kept about
    them all. RecordError: a picture cannot be read, a score is not finite, an item has no source.
    """
    for row in samples:
        if row["item_id"] not in sources:
            raise RecordError(f"{judge}: item {row['item_id']!r} is not in the benchmark")

    def path_of(number: int) -> Path | None:
        return directory and directory / f"scores-{number:06d}.json"

    def kept(number: int, _: Sequence[Row]) -> list[tuple[float, bool]] | None:
        path = path_of(number)
        return json.loads(read_text(path)) if path and path.exists() else None

    def make(number: int, batch: Sequence[Row]) -> list[tuple[float, bool]]:
        scores = _score_batch(batch, scorer, judge)
        if path := path_of(number):
            write_json(path, scores)
        return scores

    batches = work_off(samples, batch_size, kept=kept, make=make, advance=advance)
    scored = [one for batch in batches for one in batch]
    rows = [
        {
            **{"item_id": row["item_id"], "sample": row["sample"], "weight": 1.0},
            **{"source": sources[row["item_id"]], "score": value},
            "details": json.dumps({"truncated": cut}),
        }
        for row, (value, cut) in zip(samples, scored, strict=True)
    ]
    cut_prompts = sum(cut for _, cut in scored)
    if cut_prompts:
        logger.warning("%s: %d of %d prompts were truncated", metric, cut_prompts, len(rows))
    about = {
        **scorer.about,
        "metric": metric,
        "policy": "",
        "judge": judge,
        "libraries": {name: package_version(name) for name in LIBRARIES},
        "truncated": cut_prompts,
    }
    return rows, about


def score_pairs(
    pictures: "Sequence[NDArray[np.uint8]]", prompts: Sequence[str], scorer: Scorer, where: str
) -> list[tuple[float, bool]]:
    """Score pictures (H, W, 3) of any sizes; also whether each one's prompt was truncated.

    RecordError, which begins with `where`, if a score is not finite.
    """
    import torch

    from selma.scorers.pixels import preprocess

    tokens = scorer.tokenize(prompts)
    with torch.inference_mode():
        scores = scorer.score(torch.from_numpy(preprocess(pictures, scorer.settings)), tokens)
    if not bool(torch.isfinite(scores).all()):
        raise RecordError(f"{where} is not finite")
    return list(zip(scores.tolist(), map(bool, tokens.truncated), strict=True))


def _score_batch(batch: Sequence[Row], scorer: Scorer, judge: str) -> list[tuple[float, bool]]:
    from selma.pictures.png import picture_of

    pictures, prompts = [picture_of(row) for row in batch], [row["prompt"] for row in batch]
    where = f"{judge}: a score of items {batch[0]['item_id']!r} …"
    return score_pairs(pictures, prompts, scorer, where)


def _settings_and_origin(directory: Path, metric: str) -> tuple["ImageSettings", Origin | None]:
    from selma.scorers.pixels import read_image_settings

    settings, origin = read_image_settings(directory), read_origin(directory, metric)
    return settings if origin is None else replace(settings, resize=origin.resize), origin


def _checkpoint(origin: Origin | None) -> dict[str, str]:
    if origin is None:
        return {}
    return {"checkpoint": f"{origin.source_file}, sha256:{origin.source_sha256}"}
