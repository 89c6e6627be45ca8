"""The HTML page: self-contained, all text escaped, the same bytes for the same content."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from selma.core.errors import RecordError
from selma.report.charts import Chart, Curve, Mark, curve_points
from selma.report.examples import OUTCOMES, Example, Verdict
from selma.report.grid import as_png, open_png
from selma.report.hacking import alarm_sign, hacking_sentences
from selma.report.numbers import ALL_SKILLS, Record, Results, digits_of, interval, plain, signed

MAX_SIDE_PX = 384  # larger pictures are reduced, so that the page stays one that can be mailed
PIXELATED_BELOW_PX = 128  # smaller pictures are enlarged without smoothing
TONES = {"better": "good", "worse": "bad", "undecided": "soft"}  # CSS class of each verdict
PALETTE = (  # of the models in their order: on white, on black
    ("#98a1ad", "#7d8794"),
    ("#2563c9", "#6aa2ff"),
    ("#d48a1c", "#e0a040"),
    ("#8a4fc4", "#b98af0"),
    ("#0f8f97", "#43c2ca"),
    ("#c44f8a", "#f08ab9"),
    ("#7a6a4f", "#b5a27f"),
    ("#5d8a1c", "#9cc957"),
)


@dataclass(frozen=True)
class Content:
    """All that the page is made of, in the order in which it is shown."""

    comparison: Mapping[str, Any]  # metrics/comparison.json
    measure: str  # of the headline and of the pictures
    skills: Sequence[str] = ()  # that an expert was trained for; empty if that is not known
    curves: Mapping[str, Curve] = field(default_factory=dict)  # by training
    certificates: Mapping[str, Record] = field(default_factory=dict)  # metrics/merges/NAME.json
    examples: Sequence[Example] = ()  # chosen
    n_by_outcome: Mapping[str, int] = field(default_factory=dict)  # of all pairs of pictures


def render_page(content: Content) -> str:
    """Write the page; RecordError if the comparison lacks a record or a picture is no whole PNG."""
    results = Results(content.comparison)
    if content.measure not in results.measures:
        raise RecordError(
            f"report.measure: {content.measure!r} was not compared; "
            f"choose one of: {', '.join(results.measures)}"
        )
    rows = [PALETTE[place % len(PALETTE)] for place in range(max(len(results.models), 2))]
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            content=content,
            results=results,
            tones=TONES,
            palette_rows=rows,
            charts=[
                _skill_charts(results, measure, content.skills) for measure in results.measures
            ],
            curves={name: list(curve) for name, curve in content.curves.items() if curve},
            points=curve_points,
            gallery=_gallery(content, results),
            mark=_mark,
            hacking=hacking_sentences(results.hacking, results.measures),
            alarms={model: alarm_sign(results.hacking, model) for model in results.models},
        )
    )


def environment() -> Environment:
    """Find the templates, with the filters that they use; what they show is escaped."""
    made = Environment(
        loader=PackageLoader("selma.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"px": "{:.1f}".format, "percent": "{:.4g} %".format, "short": _short}
    made.filters |= {"interval": interval, "signed": signed}
    made.filters |= {"plain": plain, "digits": digits_of}
    return made


def _skill_charts(
    results: Results, measure: str, taught: Sequence[str]
) -> tuple[Record, Chart, Chart | None]:
    """Charts of scores and of the subject's differences, a group of marks per skill."""
    about, colours = results.measures[measure], results.colours()
    scores: dict[str, list[Mark]] = {}
    differences: dict[str, list[Mark]] = {}
    for skill in results.skills_of(measure):
        known = not taught or skill in taught or skill == ALL_SKILLS
        label = skill if known else f"({skill})"
        scores[label] = [
            _placed(results.score(measure, model, skill), "score", model, colours[model])
            for model in results.models
        ]
        records = [results.difference(measure, pair, skill) for pair in results.pairs]
        styles = [f"{colours[r['baseline']]} {r['verdict']}" for r in records]
        differences[label] = [
            _placed(record, "difference", f"− {record['baseline']}", style)
            for record, style in zip(records, styles, strict=True)
        ]
    rows = len(results.models)  # in both charts, so that their groups stand side by side
    bars = about["unit"] == "percent"  # any other unit has no natural zero: bars would mislead
    right = Chart(differences, rows, zero=True) if results.pairs else None
    return about, Chart(scores, rows, bars=bars), right


def _placed(record: Record, key: str, name: str, style: str) -> Mark:
    value, low, high = record[key], record["low"], record["high"]
    digits = digits_of(record["unit"])
    tip = f"{name}: {value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
    if "verdict" in record:
        tip += f", {record['verdict']}"
    return Mark(style, tip, value, low, high)


def _short(text: str) -> str:
    """Cut hashes to their first characters."""
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{24,}\b", r"\1…", text)


def _gallery(content: Content, results: Results) -> list[tuple[str, list[dict[str, Any]]]]:
    """The chosen examples of each outcome, with their pictures as data."""
    unit = results.measures[content.measure]["unit"]
    names = list(dict.fromkeys((results.reference, results.subject)))
    groups: dict[str, list[dict[str, Any]]] = {outcome: [] for outcome in OUTCOMES}
    for example in content.examples:
        pictures: list[dict[str, Any]] = []
        for name, picture in zip(names, example.pictures, strict=True):
            png, side = _reduced(picture.png)
            score = f"{picture.score:.0f} %" if unit == "percent" else plain(picture.score, 3)
            data = base64.b64encode(png).decode("ascii")
            pictures.append({"model": name, "data": data, "score": score, "side": side})
        verdicts = zip(*(picture.verdicts for picture in example.pictures), strict=True)
        asked = list(zip(example.questions, verdicts, strict=True))
        pixels = pictures[0]["side"] < PIXELATED_BELOW_PX
        groups[example.outcome].append(
            {"example": example, "pictures": pictures, "asked": asked, "pixels": pixels}
        )
    return [(outcome, cards) for outcome, cards in groups.items() if cards]


def _reduced(png: bytes) -> tuple[bytes, int]:
    """A picture of at most `MAX_SIDE_PX` (a small one's very bytes), and its longer side."""
    image = open_png(png)
    if max(image.size) <= MAX_SIDE_PX:
        return png, max(image.size)
    image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    return as_png(image), max(image.size)


def _mark(verdict: Verdict) -> tuple[str, str]:
    """CSS class and sign of a judge's answer."""
    if not verdict.right:
        return "bad", "✗"
    return ("good", "✓") if verdict.counted else ("soft", "○")
