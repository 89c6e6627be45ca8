"""The raters that rows name, loaded with their judges and the LLM, and what they say of a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from selma.llm.generators import FREE, Answer, LlmOptions, RecordedLlm
from selma.llm.transcript import Exchange, Transcript
from selma.measuring.rating import Rater, load_rater, rate_rows

Row = Mapping[str, Any]
LIBRARIES = ("transformers.models.clip.modeling_clip",)  # what takes long to import


@dataclass(frozen=True)
class Rated:
    """Ratings of a table's rows by rater, and what was asked of the LLM."""

    ratings: dict[str, list[float]]
    exchanges: list[Exchange]


def rate_by_all(
    raters: Mapping[str, Row], rows: Sequence[Row], *, llm: LlmOptions, answer: Answer | None,
    transcript: Transcript, seed: int, device: str, directory: Path,
    advance: Callable[[int], None],
) -> Rated:  # fmt: skip
    """Rate a table's pictures by several raters.

    Args:
        raters: by name what `stages.rater_row` wrote: a rater's row, and its judge's.
        rows: as of `rate_rows`.
        llm: how the LLM is asked; its temperature is the rater's own.
        answer: answers a request; None if no rater asks, see `asks`.
        transcript: what was asked before.
        seed: of the run.
        device: of the scorers.
        directory: of this work alone.
        advance: called with the number of pictures after each batch of each rater.

    Raises:
        as `load_rater` and `rate_rows`.
    """
    ratings, exchanges = {}, list[Exchange]()
    for name, one in sorted(raters.items()):
        rater, asked = open_rater(
            one, llm=llm, answer=answer, transcript=transcript, seed=seed, device=device,
            replies=directory / f"{name}-replies.jsonl",
        )  # fmt: skip
        ratings[name] = rate_rows(rows, rater, name=name, directory=directory, advance=advance)
        exchanges += asked.used if asked else []
    return Rated(ratings, exchanges)


def open_rater(
    one: Row, *, llm: LlmOptions, answer: Answer | None, transcript: Transcript, seed: int,
    device: str, replies: Path,
) -> tuple[Rater, RecordedLlm | None]:  # fmt: skip
    """Load one rater, and the LLM that asks for it; arguments and errors as of `rate_by_all`."""
    asked, judge = None, None
    if answer is not None and "judge" in one:
        options = replace(llm, temperature=one["row"]["temperature"])
        asked, judge = RecordedLlm(options, answer, transcript), one["judge"]["row"]
    rater = load_rater(
        one["row"], judge=judge, generator=asked, seed=seed, device=device, replies=replies
    )
    return rater, asked


def asks(raters: Mapping[str, Row]) -> bool:
    """Whether any of the raters has an LLM write questions."""
    return any("judge" in one for one in raters.values())


def libraries_of(raters: Mapping[str, Row], llm: LlmOptions) -> Sequence[str] | None:
    """What processes that share the work load before they part; None if they may not share it.

    A server's limit is of all requests at once.
    """
    judges = {one["judge"]["row"]["kind"] for one in raters.values() if "judge" in one}
    paid = "endpoint" in judges or (asks(raters) and llm.backend not in FREE)
    return None if paid else LIBRARIES
