"""Preference scorers: how much people would like a picture for its prompt, higher is better.

Each is a local directory of safetensors weights, configs and tokenizer files. All run in float32.
Sources: PickScore, arXiv 2305.01569; HPS v2, arXiv 2306.09341; ImageReward, arXiv 2304.05977.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.errors import MissingDataError, RecordError

if TYPE_CHECKING:
    import torch
    from transformers import CLIPModel

    from selma.evaluation.pixels import ImageSettings

logger = logging.getLogger(__name__)
Row = Mapping[str, Any]
HPS_FACTOR = 100.0  # HPS prints 100 × cosine, whatever scale the model learned


@dataclass(frozen=True)
class Tokens:
    """Prompts as a text tower reads them.

    Attributes:
        input_ids: (N, T).
        attention_mask: (N, T), 0 for padding.
        truncated: for each prompt, whether its end was cut off.
    """

    input_ids: "torch.Tensor"
    attention_mask: "torch.Tensor"
    truncated: list[bool]


@dataclass(frozen=True)
class Scorer:
    """A preference model that is ready to score.

    Attributes:
        version: what the score is, in words.
        settings: how pictures become its input.
        tokenize: prompts → Tokens.
        score: ((N, 3, S, S) pixel values, tokens) → (N,) scores.
    """

    version: str
    settings: "ImageSettings"
    tokenize: Callable[[Sequence[str]], Tokens]
    score: Callable[["torch.Tensor", Tokens], "torch.Tensor"]


def load_pickscore(directory: Path, version: str) -> Scorer:
    """Load a CLIP that scores exp(logit_scale) · cosine.

    Raises:
        MissingDataError: a file is not there.
        RecordError: the files do not fit each other.
    """
    return _load_clip(directory, version, lambda clip: float(clip.logit_scale.detach().exp()))


def load_hps(directory: Path, version: str) -> Scorer:
    """Load a CLIP that scores 100 · cosine; raises as `load_pickscore`."""
    return _load_clip(directory, version, lambda clip: HPS_FACTOR)


def load_imagereward(directory: Path, version: str) -> Scorer:
    """Load a reward model (see `image_reward`) that scores (raw − mean) / standard deviation.

    Raises:
        MissingDataError: a file is not there.
        RecordError: the files do not fit each other.
    """
    from selma.evaluation import image_reward
    from selma.evaluation.pixels import read_image_settings

    model = image_reward.load(directory)
    tokenize = _tokenizer(directory, model.config.text_max_tokens)

    def score(pixel_values: "torch.Tensor", tokens: Tokens) -> "torch.Tensor":
        return model.reward(pixel_values, tokens.input_ids, tokens.attention_mask)

    return Scorer(version, read_image_settings(directory), tokenize, score)


SCORERS: dict[str, Callable[[Path, str], Scorer]] = {
    "hps": load_hps,
    "imagereward": load_imagereward,
    "pickscore": load_pickscore,
}


def clip_cosines(clip: "CLIPModel", pixel_values: "torch.Tensor", tokens: Tokens) -> "torch.Tensor":
    """Give the cosine of each picture with its prompt, (N,).

    Args:
        clip: both towers.
        pixel_values: (N, 3, S, S).
        tokens: of N prompts.
    """
    import torch

    pictures = clip.get_image_features(pixel_values=pixel_values).pooler_output  # (N, D)
    texts = clip.get_text_features(
        input_ids=tokens.input_ids, attention_mask=tokens.attention_mask
    ).pooler_output  # (N, D)
    # Some releases of transformers return the unprojected state here, of another width.
    expected = (len(pixel_values), clip.config.projection_dim)
    assert pictures.shape == texts.shape == expected, (pictures.shape, texts.shape, expected)
    return torch.nn.functional.cosine_similarity(pictures, texts)


def score_samples(
    samples: Sequence[Row],
    scorer: Scorer,
    *,
    metric: str,
    judge: str,
    batch_size: int,
    advance: Callable[[int], None],
) -> list[dict[str, Any]]:
    """Score each picture against its own prompt.

    Args:
        samples: rows of a samples table.
        scorer: the preference model.
        metric: kept in the details.
        judge: names the scorer's weights; kept in the details.
        batch_size: pictures at a time.
        advance: told how many pictures are done.

    Returns:
        Rows of a scores table; `details` is JSON and says whether the prompt was truncated.

    Raises:
        RecordError: a picture cannot be read, or a score is not finite.
    """
    import torch

    from selma.evaluation.pixels import decode_png, preprocess

    about = {"judge": judge, "metric": metric, "policy": "", "version": scorer.version, "weight": 1}
    rows: list[dict[str, Any]] = []
    for start in range(0, len(samples), batch_size):
        batch = samples[start : start + batch_size]
        pixels = preprocess([decode_png(row["image"]["bytes"]) for row in batch], scorer.settings)
        tokens = scorer.tokenize([row["prompt"] for row in batch])
        with torch.inference_mode():
            scores = scorer.score(torch.from_numpy(pixels), tokens)
        if not bool(torch.isfinite(scores).all()):
            raise RecordError(f"{judge}: a score of items {batch[0]['item_id']!r} … is not finite")
        for row, value, cut in zip(batch, scores.tolist(), tokens.truncated, strict=True):
            details = json.dumps({**about, "truncated": cut}, sort_keys=True, ensure_ascii=False)
            key = {"item_id": row["item_id"], "sample": row["sample"]}
            rows.append({**key, "score": value, "details": details})
        advance(len(batch))
    cut_prompts = sum(json.loads(row["details"])["truncated"] for row in rows)
    if cut_prompts:
        logger.warning("%s: %d of %d prompts were truncated", metric, cut_prompts, len(rows))
    return rows


def _load_clip(directory: Path, version: str, scale: Callable[["CLIPModel"], float]) -> Scorer:
    import torch
    from transformers import CLIPModel

    from selma.evaluation.pixels import read_image_settings

    settings = read_image_settings(directory)
    try:
        clip, report = CLIPModel.from_pretrained(
            directory,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
            use_safetensors=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        problem = " ".join(str(error).split())[:300]
        raise RecordError(f"{directory}: not a CLIP model: {problem}") from error
    wrong = {name: sorted(keys) for name, keys in report.items() if keys}
    if wrong:
        raise RecordError(f"{directory}: weights and config.json do not fit: {wrong}")
    clip.eval()
    factor = scale(clip)
    text = clip.config.text_config
    tokenize = _tokenizer(directory, text.max_position_embeddings, text.eos_token_id)

    def score(pixel_values: "torch.Tensor", tokens: Tokens) -> "torch.Tensor":
        return factor * clip_cosines(clip, pixel_values, tokens)

    return Scorer(version, settings, tokenize, score)


def _tokenizer(
    directory: Path, max_tokens: int, end_id: int | None = None
) -> Callable[[Sequence[str]], Tokens]:
    """Read a tokenizer; prompts are cut and padded to `max_tokens`.

    With `end_id`, the text tower's state at that token is the text's feature, so it must be there.
    """
    from transformers import AutoTokenizer

    if not (directory / "tokenizer_config.json").exists():
        raise MissingDataError(f"{directory}/tokenizer_config.json: not found; run `dvc pull`")
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    # 2 is CLIP's historical value: the tower takes the highest id, which must be the end token.
    highest = tokenizer.eos_token_id == len(tokenizer) - 1
    if end_id not in (None, tokenizer.eos_token_id) and not (end_id == 2 and highest):
        raise RecordError(
            f"{directory}: the text tower looks for end token {end_id}, the tokenizer's is "
            f"{tokenizer.eos_token_id}; config.json and tokenizer must be of one model"
        )

    def tokenize(prompts: Sequence[str]) -> Tokens:
        whole = tokenizer(list(prompts), add_special_tokens=True)["input_ids"]
        cut = tokenizer(
            list(prompts),
            padding="max_length",
            truncation=True,
            max_length=max_tokens,
            return_tensors="pt",
        )
        truncated = [len(ids) > max_tokens for ids in whole]
        return Tokens(cut["input_ids"], cut["attention_mask"], truncated)

    return tokenize
