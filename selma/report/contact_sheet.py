"""A contact sheet of corrections: each picture before, its boxes, and after, as one HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from selma.report.page import PIXELATED_BELOW_PX, environment

TONES = {
    "fixed": "good", "pass_before": "good", "failed": "bad", "worse": "bad", "refused": "bad"
}  # CSS class of a verdict; others are soft  # fmt: skip


@dataclass(frozen=True)
class Card:
    """One picture's corrections; places of files are relative to the page's folder."""

    name: str
    prompt: str
    verdict: str
    lines: Sequence[str]  # what was done or planned, round by round, and why it failed
    files: Mapping[str, str]  # of "before", "boxes", "after", those there are
    width: int  # of the picture, pixels


def render_sheet(title: str, cards: Sequence[Card], verdicts: Mapping[str, str]) -> str:
    """Write the page; all text is escaped.

    Args:
        title: of the page.
        cards: in their order.
        verdicts: what each verdict means.
    """
    counts = {name: sum(card.verdict == name for card in cards) for name in verdicts}
    known = {name: number for name, number in counts.items() if number}
    return environment().get_template("contact_sheet.html.j2").render(
        title=title, cards=cards, counts=known, verdicts=verdicts, tones=TONES, link=_link,
        pixelated_below=PIXELATED_BELOW_PX, palette_rows=[],
    )  # fmt: skip


def _link(place: Any) -> str:
    return quote(str(place))
