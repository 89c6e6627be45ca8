"""All that happened to one picture, as JSON: what was seen, suggested, planned, done and said."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from selma.correction.asking import Exchange
from selma.correction.detections import Detection
from selma.correction.layout import Checked, Layout, entries_of
from selma.correction.plan import KINDS, Plan
from selma.correction.scene import Scene
from selma.correction.scoring import Done, done_as_json

TRACE_VERSION = 1


@dataclass(frozen=True)
class Look:
    """What a detector sees in a picture, and whether the picture passes; None: no rule is known."""

    found: Sequence[Detection]
    layout: Layout
    passes: bool | None

    def as_json(self) -> dict[str, Any]:
        """Write detections with scores, and the layout made of them."""
        detections = [
            {"label": one.label.text, "box": one.box.values(), "score": float(one.score)}
            for one in self.found
        ]
        return {"detections": detections, "layout": entries_of(self.layout), "passes": self.passes}


@dataclass(frozen=True)
class Round:
    """One round: what was suggested, planned and, unless the plan was empty, edited."""

    suggestion: Checked
    plan: Plan
    plan_passes: bool | None  # whether the suggested layout would pass; None: no rule is known
    seed: int  # of the editor
    after: Look | None  # None if nothing was edited
    edit: Mapping[str, Done]

    def as_json(self) -> dict[str, Any]:
        """Write it, with the scores of plan and edit apart."""
        return {
            "suggestion": entries_of(self.suggestion.layout),
            "clamped": dict(self.suggestion.clamped),
            "plan": self.plan.as_json(),
            "plan_passes": self.plan_passes,
            "seed": self.seed,
            "after": self.after and self.after.as_json(),
            "edit": done_as_json(self.edit),
        }


@dataclass
class Trace:
    """What happened to a picture so far; `failure` says why it was given up."""

    prompt: str
    mode: str
    seed: int
    scene: Scene | None = None
    before: Look | None = None
    rounds: list[Round] = field(default_factory=list)
    verdict: str = ""
    chosen_round: int = 0  # whose picture is the result; 0 is the picture as it came
    failure: str = ""

    @property
    def looks(self) -> list[Look | None]:
        """At the picture as it came, then after each round; None where nobody looked."""
        return [self.before, *(one.after for one in self.rounds)]

    def operations(self) -> dict[str, int]:
        """How many operations of each kind made the result."""
        made = self.rounds[: self.chosen_round]
        return {kind: sum(one.plan.counts()[kind] for one in made) for kind in KINDS}

    def as_json(self, exchanges: Sequence[Exchange]) -> dict[str, Any]:
        """Write it with every text that an LLM was sent and replied."""
        return {
            "version": TRACE_VERSION,
            "prompt": self.prompt,
            "mode": self.mode,
            "seed": self.seed,
            "scene": self.scene and _scene(self.scene),
            "before": self.before and self.before.as_json(),
            "rounds": [one.as_json() for one in self.rounds],
            "verdict": self.verdict,
            "chosen_round": self.chosen_round,
            "operations": self.operations(),
            "failure": self.failure,
            "llm": [asdict(one) for one in exchanges],
        }


def _scene(scene: Scene) -> dict[str, Any]:
    objects = [[noun, attributes] for noun, attributes in scene.entries()]
    return {"objects": objects, "bg_prompt": scene.background, "neg_prompt": scene.negation}
