"""The page's pictures: base and merged side by side, with the judge's answers."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

from selma.core.errors import RecordError
from selma.report.content import OUTCOMES, Example, Picture, Verdict

MAX_SIDE_PX = 384  # larger pictures are reduced, so that the page stays one that can be mailed
PIXELATED_BELOW_PX = 128  # smaller pictures are enlarged without smoothing
_HEADINGS = {
    "worse": ("Worse than the base model", "worse"),
    "both_fail": ("Both fail alike", "equally wrong"),
    "better": ("Better than the base model", "better"),
}


def gallery(examples: Sequence[Example], n_by_outcome: Mapping[str, int]) -> str:
    """Write the section of example pictures, failures first."""
    total = sum(n_by_outcome.values())
    counts = ", ".join(f"{n_by_outcome[outcome]} {_HEADINGS[outcome][1]}" for outcome in OUTCOMES)
    parts = [
        "<h2>Pictures</h2>\n<p>Left base, right merged: the same prompt and the same noise. Of "
        f"{total} pairs, {counts}, {n_by_outcome['both_right']} both right. Shown is a balanced "
        "choice, failures first. ✓ the picture gives the answer that the prompt demands, ✗ it does "
        "not, ○ it does, but does not count, since the question it depends on is wrong.</p>"
    ]
    for outcome in OUTCOMES:
        own = [example for example in examples if example.outcome == outcome]
        if own:
            cards = "\n".join(_card(example) for example in own)
            heading = f'<h3 style="margin-top:1.5rem">{_HEADINGS[outcome][0]}</h3>'
            parts.append(f'{heading}\n<div class="examples">{cards}</div>')
    return "\n".join(parts)


def _card(example: Example) -> str:
    lines = "".join(
        f"<tr><td>{escape(question)}</td><td>{_verdict(before)}</td><td>{_verdict(after)}</td></tr>"
        for question, before, after in zip(
            example.questions, example.base.verdicts, example.merged.verdicts, strict=True
        )
    )
    base, pixels = _figure("base", example.base, example.prompt)
    merged, _ = _figure("merged", example.merged, example.prompt)
    return (
        f'<article class="card example{" pixels" if pixels else ""}">'
        f'<span class="chip">{escape(example.skill)}</span> '
        f'<span class="soft small">{escape(example.item_id)}, sample {example.sample}</span>'
        f'<p class="prompt">{escape(example.prompt)}</p><div class="pair">{base}{merged}</div>'
        '<div class="answers"><table><thead><tr><th>question</th><th>base</th><th>merged</th>'
        f"</tr></thead><tbody>{lines}</tbody></table></div></article>"
    )


def _figure(model: str, picture: Picture, prompt: str) -> tuple[str, bool]:
    png, side = _reduced(picture.png)
    data = base64.b64encode(png).decode("ascii")
    html = (
        f'<figure><img alt="{escape(f"{model}: {prompt}")}" src="data:image/png;base64,{data}">'
        f"<figcaption>{model} <b>{100 * picture.score:.0f} %</b></figcaption></figure>"
    )
    return html, side < PIXELATED_BELOW_PX


def _reduced(png: bytes) -> tuple[bytes, int]:
    """Give a picture of at most `MAX_SIDE_PX` and its longer side; small ones are not touched."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            side = max(image.size)
            if side <= MAX_SIDE_PX:
                return png, side
            small = image.convert("RGB")
            small.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    except (UnidentifiedImageError, OSError) as error:
        raise RecordError(f"a sample's picture is not a whole PNG ({error})") from error
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", compress_level=9)
    return buffer.getvalue(), max(small.size)


def _verdict(verdict: Verdict) -> str:
    tone, sign = ("good", "✓") if verdict.right else ("bad", "✗")
    if verdict.right and not verdict.counted:
        tone, sign = "soft", "○"
    return f'<span class="{tone}">{sign}</span> {escape(verdict.answer)}'
