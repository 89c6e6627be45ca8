"""Trains a preference scorer and writes its directory."""

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.choices import choose
from selma.core.errors import MissingDataError
from selma.core.tables import read_table
from selma.foundation.params import ScorerParams
from selma.foundation.preference_pairs import PreferenceSet, build_preference_set, build_twin_set
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
    Accuracy,
    pair_accuracies,
    preference_loss_at,
    pretraining,
    score_rankings,
)
from selma.foundation.training import fit, round_to_float16
from selma.runtime.progress import progress
from selma.scorers.pixels import write_image_settings
from selma.training.loop import one_cycle

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lesson:
    """A scorer, how it is trained, and the folder that keeps the progress of a stopped run."""

    name: str
    scorer: Scorer
    tokenizer: "CLIPTokenizer"
    plan: ScorerParams
    seed: int
    work: Path

    def pretrain(self, refused: frozenset[str]) -> list[float]:
        """Pre-train the scorer on twins. Returns one loss per step."""
        plan = self.plan
        with progress(plan.twins, f"{self.name} twins") as advance:
            twins = build_twin_set(self.seed, self.name, plan.twins, refused, advance)
        tokens = tokenize(self.tokenizer, twins.captions)
        loss_at, parameters = pretraining(self.scorer, twins, tokens, plan.batch_size, self.seed)
        rate, steps = plan.pretrain_learning_rate, plan.pretrain_steps
        return self._fit("pretraining", rate, steps, loss_at=loss_at, parameters=parameters)

    def train_on_rankings(self, rankings: PreferenceSet, tokens: TokenTable) -> list[float]:
        """Train the pre-trained scorer on rankings. Returns one loss per step."""
        plan, parameters = self.plan, self.scorer.parameters()
        loss_at = preference_loss_at(self.scorer, rankings, tokens, plan.batch_size, self.seed)
        rate, steps = plan.learning_rate, plan.train_steps
        return self._fit("training", rate, steps, loss_at=loss_at, parameters=parameters)

    def _fit(self, phase: str, rate: float, steps: int, **what: Any) -> list[float]:
        keep, every = self.work / f"{phase}.safetensors", self.plan.checkpoint_every_steps
        schedule = one_cycle(rate, steps)
        title = f"{self.name} {phase}"
        return fit(title, keep, steps, every, learning_rate_at=schedule, **what).curve()


def make_scorer(
    name: str,
    tokenizer: "CLIPTokenizer",
    refused: frozenset[str],
    plan: ScorerParams,
    *,
    seed: int,
    work: Path,
) -> tuple[Scorer, dict[str, Accuracy], list[float]]:
    """Train a scorer on pairs of which none has a refused prompt.

    Returns the scorer as its files will hold it, its accuracy on held-out pairs, overall and by
    kind of flaw, and one loss per step.
    """
    scorer = build_scorer(name, tokenizer, seed)
    with progress(plan.rankings + plan.held_out_rankings, f"{name} rankings") as advance:
        rankings, held_out = (
            build_preference_set(seed, name, split, size, refused, advance)
            for split, size in (("train", plan.rankings), ("held-out", plan.held_out_rankings))
        )
    lesson = Lesson(name, scorer, tokenizer, plan, seed, work)
    tokens = tokenize(tokenizer, rankings.prompts)
    losses = lesson.pretrain(refused) + lesson.train_on_rankings(rankings, tokens)
    round_to_float16(scorer.parameters())
    if isinstance(scorer, RewardScorer):
        scores = score_rankings(scorer, rankings, tokens)
        scorer.model.set_scale(float(scores.mean()), float(scores.std()))
    tokens = tokenize(tokenizer, held_out.prompts)
    accuracies = pair_accuracies(held_out, score_rankings(scorer, held_out, tokens))
    logger.info("%s: accuracy %.3f on held-out pairs", name, accuracies["overall"].accuracy)
    return scorer, accuracies, losses


def build_scorer(name: str, tokenizer: "CLIPTokenizer", seed: int) -> Scorer:
    """Make an untrained scorer; ConfigError if there is none of that name."""
    builders: dict[str, Callable[[], Scorer]] = {
        "hps": lambda: ClipScorer(build_clip(tokenizer, seed)),
        "imagereward": lambda: RewardScorer(build_reward_model(tokenizer, seed)),
        "pickscore": lambda: ClipScorer(build_clip(tokenizer, seed)),
    }
    return choose("preference scorer", name, builders)()


def save_scorer(scorer: Scorer, tokenizer: "CLIPTokenizer", out: Path) -> None:
    """Write weights, configs, tokenizer and image settings to a directory, whole or not at all.

    The weights are stored as float16; the scorer's own are rounded to them first.
    """
    round_to_float16(scorer.parameters())
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    scorer.save(part)
    tokenizer.save_pretrained(part)
    write_image_settings(IMAGE_SETTINGS, part)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(part, out)


def read_tokenizer(path: Path) -> "CLIPTokenizer":
    """Read a CLIPTokenizer directory; MissingDataError if it is not there."""
    from transformers import CLIPTokenizer

    if not (path / "tokenizer_config.json").exists():
        raise MissingDataError(f"{path}/tokenizer_config.json: not found; run `dvc pull`")
    return CLIPTokenizer.from_pretrained(path, local_files_only=True)


def read_refused(benchmarks: Sequence[Path]) -> frozenset[str]:
    """Read all prompts of benchmark tables, in lower case."""
    rows = [row for path in benchmarks for row in read_table(path, "benchmark")]
    return frozenset(row["prompt"].lower() for row in rows)
