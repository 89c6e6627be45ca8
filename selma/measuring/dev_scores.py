"""The act of scoring a merge in memory: draw, ask and score, as the stages of these names do."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selma.adapters.factors import Adapter
from selma.comparing.breakdown import weighted_mean
from selma.diffusion.backbone import Backbone
from selma.diffusion.drawing import draw
from selma.diffusion.loading import with_updates
from selma.judges.protocol import Judge, JudgeSettings
from selma.measuring.asking import ask
from selma.measuring.scoring import score_answers
from selma.pictures.checks import check_table

Row = Mapping[str, Any]


@dataclass(frozen=True)
class DevSplit:
    """Prompts with questions, how they are drawn, who answers, and how the answers are scored."""

    name: str
    rows: Sequence[Row]  # of a benchmark table
    seed: int
    drawing: Mapping[str, Any]  # keyword arguments of `draw`: per_prompt, guidance_scale, …
    judge: Judge
    judge_kind: str
    judge_settings: JudgeSettings
    asking: Mapping[str, Any]  # of `ask`: revision, normalise, batch_size
    measure: str  # dsg or tifa
    scoring: Mapping[str, Any]  # `settings` of `score_answers`
    no_answer_max: float

    def score(self, adapter: Adapter, backbone: Backbone, what: str, directory: Path) -> float:
        """Score an adapter on a backbone, whose weights are afterwards what they were before.

        The seeds of the pictures are the same for every adapter, and no benchmark's. `directory`
        keeps the progress and is removed at the end; `what` is scored is for messages.

        Raises:
            AdapterMismatchError: the adapter does not fit the backbone.
            BackendError: a picture is not finite, or the judge does not answer.
            RecordError: pictures are black or alike, or too many replies are no answer.
        """
        updates = (
            (name, layer.delta().view(layer.weight_shape)) for name, layer in adapter.items()
        )
        prompts = {row["item_id"]: row["prompt"] for row in self.rows}
        with with_updates(backbone.components, updates, what):
            drawn = draw(
                prompts, backbone, names=("dev", self.name), seed=self.seed,
                directory=directory, advance=lambda _: None, **self.drawing,
            )  # fmt: skip
        pictures = check_table(what, drawn.rows, self.rows, only_asked=True)
        answers, about = ask(
            self.rows, pictures, kind=self.judge_kind, settings=self.judge_settings,
            log=directory / "answers.jsonl", replies=directory / "replies.jsonl",
            advance=lambda _: None, judge=self.judge, **self.asking,
        )  # fmt: skip
        scores, scored = score_answers(
            self.measure, self.rows, answers, about, settings=self.scoring, measure=self.measure,
            title=self.measure, benchmark_name=self.name, no_answer_max=self.no_answer_max,
        )  # fmt: skip
        shutil.rmtree(directory)
        return float(scored["factor"]) * weighted_mean(scores)
