"""Trains a preference scorer from files to files."""

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from selma.core.choices import choose
from selma.core.errors import MissingDataError
from selma.core.files import write_curve, write_json
from selma.core.tables import read_table
from selma.foundation.params import ScorerParams
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
    pair_accuracies,
    patch_head,
    preference_loss_at,
    pretraining_loss_at,
    score_rankings,
)
from selma.foundation.training import fit, round_to_float16
from selma.foundation.twins import build_twin_set
from selma.runtime.progress import progress
from selma.scorers.pixels import write_image_settings
from selma.training.loop import Checkpointing, one_cycle

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter
    from transformers import CLIPTokenizer

logger = logging.getLogger(__name__)
SCORE_BATCH = 128  # rankings at a time; does not change a score beyond rounding


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
        plan, scorer = self.plan, self.scorer
        with progress(plan.twins, f"{self.name} twins") as advance:
            twins = build_twin_set(self.seed, self.name, plan.twins, refused, advance)
        head = patch_head(self.seed)
        parameters = scorer.parameters()
        parameters |= {f"patch_head.{part}": value for part, value in head.named_parameters()}
        tokens = tokenize(self.tokenizer, twins.captions)
        loss_at = pretraining_loss_at(scorer, head, twins, tokens, plan.batch_size, self.seed)
        rate, steps = plan.pretrain_learning_rate, plan.pretrain_steps
        return self._fit("pretraining", parameters, loss_at, rate, steps)

    def train_on_rankings(self, rankings: PreferenceSet, tokens: TokenTable) -> list[float]:
        """Train the pre-trained scorer on rankings. Returns one loss per step."""
        plan, scorer = self.plan, self.scorer
        loss_at = preference_loss_at(scorer, rankings, tokens, plan.batch_size, self.seed)
        rate, steps = plan.learning_rate, plan.train_steps
        return self._fit("training", scorer.parameters(), loss_at, rate, steps)

    def _fit(
        self,
        phase: str,
        parameters: "dict[str, Parameter]",
        loss_at: "Callable[[int], Tensor]",
        rate: float,
        steps: int,
    ) -> list[float]:
        return fit(
            f"{self.name} {phase}",
            parameters,
            loss_at,
            learning_rate_at=one_cycle(rate, steps),
            train_steps=steps,
            keep=Checkpointing(
                self.work / f"{phase}.safetensors", self.plan.checkpoint_every_steps
            ),
        ).losses


def make_scorer(
    name: str,
    *,
    tokenizer_path: Path,
    benchmarks: Sequence[Path],
    out: Path,
    metrics: Path,
    curve: Path,
    plan: ScorerParams,
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
    lesson = Lesson(name, scorer, tokenizer, plan, seed, work)
    tokens = tokenize(tokenizer, rankings.prompts)
    losses = lesson.pretrain(refused) + lesson.train_on_rankings(rankings, tokens)
    round_to_float16(scorer.parameters())
    if isinstance(scorer, RewardScorer):
        scores = score_rankings(scorer, rankings, tokens, batch_size=SCORE_BATCH)
        scorer.model.set_scale(float(scores.mean()), float(scores.std()))
    tokens = tokenize(tokenizer, held_out.prompts)
    scores = score_rankings(scorer, held_out, tokens, batch_size=SCORE_BATCH)
    accuracies = pair_accuracies(held_out, scores)
    logger.info("%s: accuracy %.3f on held-out pairs", name, accuracies["overall"].accuracy)
    save_scorer(scorer, tokenizer, out)
    write_json(metrics, {kind: asdict(value) for kind, value in accuracies.items()})
    write_curve(curve, losses)


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
