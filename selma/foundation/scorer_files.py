"""Trains a preference scorer from files to files: what the stages train_pickscore, … share."""

import copy
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from selma.core.choices import choose
from selma.core.errors import MissingDataError
from selma.core.files import write_curve, write_json
from selma.foundation.scorer_models import IMAGE_SETTINGS, ClipScorer, RewardScorer, Scorer
from selma.foundation.scorers import ScorerParams
from selma.foundation.storage import load_as_float32, round_to_float16
from selma.runtime.progress import progress, training_progress
from selma.runtime.workspace import workspace

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

    from selma.foundation.preference_pairs import PreferenceSet
    from selma.foundation.scorer_models import TokenTable

logger = logging.getLogger(__name__)
SCORE_BATCH = 128  # rankings at a time; does not change a score beyond rounding


def make_scorer(
    name: str,
    *,
    tokenizer_path: Path,
    benchmarks: Sequence[Path],
    out: Path,
    metrics: Path,
    curve: Path,
    params: ScorerParams,
    seed: int,
    threads: int,
) -> None:
    """Train a scorer and write its directory, its held-out accuracy and its loss curve.

    Args:
        name: "hps", "imagereward" or "pickscore".
        tokenizer_path: a CLIPTokenizer directory.
        benchmarks: benchmark tables, whose prompts no training pair may have.
        out: the scorer's directory; what is there is replaced.
        metrics: pair accuracy overall and by kind of flaw, JSON.
        curve: loss of both phases, CSV.
        params: sizes, steps and rates.
        seed: the foundation's seed.
        threads: recorded, because the last bits depend on it.

    Raises:
        MissingDataError: the tokenizer or a benchmark is not there.
    """
    from selma.foundation.preference_pairs import build_preference_set
    from selma.foundation.scorer_models import tokenize
    from selma.foundation.scorers import pair_accuracies, score_rankings

    tokenizer = read_tokenizer(tokenizer_path)
    refused = read_refused(benchmarks)
    scorer = build_scorer(name, tokenizer, seed)
    settings = {"seed": seed, "threads": threads, **params.model_dump()}
    with workspace(f"train_{name}", [tokenizer_path, *benchmarks], settings) as work:
        with progress(params.rankings + params.held_out_rankings, f"{name} rankings") as advance:
            rankings = build_preference_set(seed, name, "train", params.rankings, refused, advance)
            held_out = build_preference_set(
                seed, name, "held-out", params.held_out_rankings, refused, advance
            )
        losses = pretrain(name, scorer, tokenizer, refused, work, params, seed)
        tokens = tokenize(tokenizer, rankings.prompts)
        losses += train_on_rankings(name, scorer, rankings, tokens, work, params, seed)
        round_to_float16(scorer.parameters())
        if isinstance(scorer, RewardScorer):
            scores = score_rankings(scorer, rankings, tokens, batch_size=SCORE_BATCH)
            scorer.model.set_scale(float(scores.mean()), float(scores.std()))
        scores = score_rankings(
            scorer, held_out, tokenize(tokenizer, held_out.prompts), batch_size=SCORE_BATCH
        )
        accuracies = pair_accuracies(held_out, scores)
        logger.info("%s: accuracy %.3f on held-out pairs", name, accuracies["overall"].accuracy)
        save_scorer(scorer, tokenizer, out)
        write_json(metrics, {kind: asdict(value) for kind, value in accuracies.items()})
        write_curve(curve, losses)


def build_scorer(name: str, tokenizer: "CLIPTokenizer", seed: int) -> Scorer:
    """Make the untrained scorer of a name.

    Raises:
        ConfigError: there is no such scorer.
    """
    from selma.foundation.scorer_models import build_clip, build_reward_model

    builders: dict[str, Callable[[], Scorer]] = {
        "hps": lambda: ClipScorer(build_clip(tokenizer, seed)),
        "imagereward": lambda: RewardScorer(build_reward_model(tokenizer, seed)),
        "pickscore": lambda: ClipScorer(build_clip(tokenizer, seed)),
    }
    return choose("preference scorer", name, builders)()


def pretrain(
    name: str,
    scorer: Scorer,
    tokenizer: "CLIPTokenizer",
    refused: frozenset[str],
    work: Path,
    params: ScorerParams,
    seed: int,
) -> list[float]:
    """Pre-train a scorer on twins; mutates it. Gives one loss per step."""
    from selma.foundation.scorer_models import tokenize
    from selma.foundation.scorers import patch_head, pretraining_loss_at
    from selma.foundation.twins import build_twin_set
    from selma.training.loop import Checkpointing, one_cycle, train

    with progress(params.twins, f"{name} twins") as advance:
        twins = build_twin_set(seed, name, params.twins, refused, advance)
    head = patch_head(seed)
    parameters = scorer.parameters()
    parameters |= {f"patch_head.{part}": value for part, value in head.named_parameters()}
    tokens = tokenize(tokenizer, twins.captions)
    with training_progress(params.pretrain_steps, f"{name} pre-training") as on_step:
        state = train(
            parameters,
            pretraining_loss_at(
                scorer, head, twins, tokens, batch_size=params.batch_size, seed=seed
            ),
            train_steps=params.pretrain_steps,
            learning_rate_at=one_cycle(params.pretrain_learning_rate, params.pretrain_steps),
            checkpointing=Checkpointing(
                work / "pretraining.safetensors", params.checkpoint_every_steps
            ),
            on_step=on_step,
        )
    return state.losses


def train_on_rankings(
    name: str,
    scorer: Scorer,
    rankings: "PreferenceSet",
    tokens: "TokenTable",
    work: Path,
    params: ScorerParams,
    seed: int,
) -> list[float]:
    """Train a pre-trained scorer on rankings; mutates it. Gives one loss per step."""
    from selma.foundation.scorers import preference_loss_at
    from selma.training.loop import Checkpointing, one_cycle, train

    with training_progress(params.train_steps, f"{name} training") as on_step:
        state = train(
            scorer.parameters(),
            preference_loss_at(scorer, rankings, tokens, batch_size=params.batch_size, seed=seed),
            train_steps=params.train_steps,
            learning_rate_at=one_cycle(params.learning_rate, params.train_steps),
            checkpointing=Checkpointing(
                work / "training.safetensors", params.checkpoint_every_steps
            ),
            on_step=on_step,
        )
    return state.losses


def save_scorer(scorer: Scorer, tokenizer: "CLIPTokenizer", out: Path) -> None:
    """Write weights, configs, tokenizer and image settings to a directory, whole or not at all.

    The weights are stored as float16; the scorer's own are rounded to them first.
    """
    from selma.scorers import image_reward
    from selma.scorers.pixels import write_image_settings

    round_to_float16(scorer.parameters())
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    if isinstance(scorer, RewardScorer):
        halved = copy.deepcopy(scorer.model.network).half()
        image_reward.save(image_reward.RewardModel(scorer.model.config, halved), part)
    elif isinstance(scorer, ClipScorer):
        copy.deepcopy(scorer.clip).half().save_pretrained(part)
        load_as_float32(part)
    else:
        raise TypeError(f"{type(scorer).__name__} has no file format")
    tokenizer.save_pretrained(part)
    write_image_settings(IMAGE_SETTINGS, part)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(part, out)


def read_tokenizer(path: Path) -> "CLIPTokenizer":
    """Read a CLIPTokenizer directory.

    Raises:
        MissingDataError: it is not there.
    """
    from transformers import CLIPTokenizer

    if not (path / "tokenizer_config.json").exists():
        raise MissingDataError(f"{path}/tokenizer_config.json: not found; run `dvc pull`")
    return CLIPTokenizer.from_pretrained(path, local_files_only=True)


def read_refused(benchmarks: Sequence[Path]) -> frozenset[str]:
    """Give all prompts of benchmark tables, in lower case."""
    from selma.core.tables import read_table

    rows = [row for path in benchmarks for row in read_table(path, "benchmark")]
    return frozenset(row["prompt"].lower() for row in rows)
