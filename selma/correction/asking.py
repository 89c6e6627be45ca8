"""Asks an LLM about one picture, and again, with what was wrong, when a reply cannot be read."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from selma.core.seeds import derive_seed
from selma.correction.layout import Checked, Layout
from selma.correction.replies import ReplyLimits, parse_layout, parse_scene
from selma.correction.requests import layout_request, parse_request
from selma.correction.scene import Scene
from selma.llm.generators import TextGenerator
from selma.llm.repair import ask_until_read

T = TypeVar("T")


@dataclass(frozen=True)
class Exchange:
    """A request, its reply and why the reply could not be used; "" if it could."""

    step: str
    seed: int
    request: str
    reply: str
    refused: str


@dataclass
class Conversation:
    """What an LLM is asked about one picture, and all that was said."""

    generator: TextGenerator
    prompt: str
    retries: int  # further tries for a step after its first
    seed: int  # of the picture; each request's follows from it, the step and the try
    limits: ReplyLimits
    exchanges: list[Exchange] = field(default_factory=list)

    def scene(self) -> Scene:
        """Ask for the prompt's objects; ReplyError if no reply could be read."""
        return self._ask(
            "parse",
            lambda refused: parse_request(self.prompt, refused),
            lambda reply: parse_scene(reply, self.limits),
        )

    def layout(self, mode: str, scene: Scene, current: Layout, round_number: int) -> Checked:
        """Ask for the layout the picture shall have; ReplyError if no reply could be read."""
        nouns = [*scene.nouns, *(one.label.noun for one in current)]
        return self._ask(
            f"{mode} {round_number}",
            lambda refused: layout_request(mode, self.prompt, current, refused),
            lambda reply: parse_layout(reply, nouns, self.limits),
        )

    def _ask(self, step: str, build: Callable[[str], str], parse: Callable[[str], T]) -> T:
        return ask_until_read(
            self.generator, build, parse,
            retries=self.retries,
            seed_at=lambda attempt: derive_seed(self.seed, "correction", step, attempt),
            heard=lambda *said: self.exchanges.append(Exchange(step, *said)),
        )  # fmt: skip
