"""Trains a preference scorer from files to files."""

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
from selma.core.tables import read_table
from selma.foundation.preference_pairs import PreferenceSet, build_preference_set
from selma.foundation.scorer_models import (
    IMAGE_SETTINGS,
    ClipScorer,
    RewardScorer,
    Scorer,
    TokenTable,
    build_clip,
    build_reward_model,
    tokenize,
)
from selma.foundation.scorers import (
    Plan,
    pair_accuracies,
    patch_head,
    preference_loss_at,
    pretraining_loss_at,
    score_rankings,
)
from selma.foundation.storage import load_as_float32, round_to_float16
from selma.foundation.twins import build_twin_set
from selma.runtime.progress import progress, training_progress
from selma.scorers import image_reward
from selma.scorers.pixels import write_image_settings
from selma.training.loop import Checkpointing, one_cycle, train

if TYPE_CHECKING:
    import torch
    from transformers import CLIPTokenizer

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
    plan: Plan,
    seed: int,
    work: Path,
) -> None:
    """Train a scorer and write its directory, its held-out accuracy and its loss curve.

    No training pair has a prompt of the benchmarks. What is at `out` is replaced. The folder `work`
    keeps the progress of a run that may be stopped.

    Raises:
        MissingDataError: the tokenizer or a benchmark is not there.
    """
    tokenizer, refused = read_tokenizer(tokenizer_path), read_refused(benchmarks)
    scorer = build_scorer(name, tokenizer, seed)
    with progress(plan.rankings + plan.held_out_rankings, f"{name} rankings") as advance:
        rankings, held_out = (
            build_preference_set(seed, name, split, size, refused, advance)
            for split, size in (("train", plan.rankings), ("held-out", plan.held_out_rankings))
        )
    losses = pretrain(name, scorer, tokenizer, refused, work, plan, seed)
    tokens = tokenize(tokenizer, rankings.prompts)
    losses += train_on_rankings(name, scorer, rankings, tokens, work, plan, seed)
    round_to_float16(scorer.parameters())
    if isinstance(scorer, RewardScorer):
        scores = score_rankings(scorer, rankings, tokens, batch_size=SCORE_BATCH)
        scorer.model.set_scale(float(scores.mean()), float(scores.std()))
    tokens = tokenize(tokenizer, held_out.prompts)
    accuracies = pair_accuracies(
        held_out, score_rankings(scorer, held_out, tokens, batch_size=SCORE_BATCH)
    )
    logger.info("%s: accuracy %.3f on held-out pairs", name, accuracies["overall"].accuracy)
    save_scorer(scorer, tokenizer, out)
    write_json(metrics, {kind: asdict(value) for kind, value in accuracies.items()})
    write_curve(curve, losses)


def build_scorer(name: str, tokenizer: "CLIPTokenizer", seed: int) -> Scorer:
    """Make an untrained scorer.

    Raises:
        ConfigError: there is no such scorer.
    """
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
    plan: Plan,
    seed: int,
) -> list[float]:
    """Pre-train a scorer on twins; mutates it. Returns one loss per step."""
    with progress(plan.twins, f"{name} twins") as advance:
        twins = build_twin_set(seed, name, plan.twins, refused, advance)
    head = patch_head(seed)
    parameters = scorer.parameters()
    parameters |= {f"patch_head.{part}": value for part, value in head.named_parameters()}
    tokens = tokenize(tokenizer, twins.captions)
    loss_at = pretraining_loss_at(
        scorer, head, twins, tokens, batch_size=plan.batch_size, seed=seed
    )
    keep = Checkpointing(work / "pretraining.safetensors", plan.checkpoint_every_steps)
    rate, steps = plan.pretrain_learning_rate, plan.pretrain_steps
    return _train(f"{name} pre-training", parameters, loss_at, steps, rate, keep)


def train_on_rankings(
    name: str,
    scorer: Scorer,
    rankings: PreferenceSet,
    tokens: TokenTable,
    work: Path,
    plan: Plan,
    seed: int,
) -> list[float]:
    """Train a pre-trained scorer on rankings; mutates it. Returns one loss per step."""
    loss_at = preference_loss_at(scorer, rankings, tokens, batch_size=plan.batch_size, seed=seed)
    keep = Checkpointing(work / "training.safetensors", plan.checkpoint_every_steps)
    rate, steps = plan.learning_rate, plan.train_steps
    return _train(f"{name} training", scorer.parameters(), loss_at, steps, rate, keep)


def _train(
    title: str,
    parameters: "dict[str, torch.nn.Parameter]",
    loss_at: "Callable[[int], torch.Tensor]",
    steps: int,
    learning_rate: float,
    checkpointing: Checkpointing,
) -> list[float]:
    with training_progress(steps, title) as on_step:
        return train(
            parameters,
            loss_at,
            train_steps=steps,
            learning_rate_at=one_cycle(learning_rate, steps),
            checkpointing=checkpointing,
            on_step=on_step,
        ).losses


def save_scorer(scorer: Scorer, tokenizer: "CLIPTokenizer", out: Path) -> None:
    """Write weights, configs, tokenizer and image settings to a directory, whole or not at all.

    The weights are stored as float16; the scorer's own are rounded to them first.
    """
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
    """Read all prompts of benchmark tables, in lower case."""
    rows = [row for path in benchmarks for row in read_table(path, "benchmark")]
    return frozenset(row["prompt"].lower() for row in rows)
