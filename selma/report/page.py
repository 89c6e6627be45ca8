"""The HTML page: self-contained, all text escaped, the same bytes for the same content."""

from collections.abc import Sequence
from html import escape

from selma.report.charts import Mark, bar_chart, interval_chart, line_chart
from selma.report.content import Content
from selma.report.gallery import gallery
from selma.report.numbers import (
    ALL_SKILLS,
    BASELINES,
    MODELS,
    Record,
    digits_of,
    find,
    finding,
    interval,
    metrics_of,
    plain,
    signed,
    skills_of,
    title_of,
)
from selma.report.style import STYLE

_TONE = {"better": "good", "worse": "bad", "not clear": "soft"}


def render_page(content: Content) -> str:
    """Write the whole page."""
    sections = [
        _top(content),
        _headline(content),
        _measured(content),
        _by_skill(content),
        _losses(content),
        _certificate(content),
        gallery(content.examples, content.n_by_outcome),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>selma: report</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body><main>\n"
        + "\n".join(sections)
        + "\n</main></body>\n</html>\n"
    )


def _top(content: Content) -> str:
    metric = metrics_of(content.comparisons)[0]
    gain = find(content.comparisons, metric=metric, baseline="base", skill=ALL_SKILLS)
    digits = digits_of(gain)
    values = {
        model: find(content.scores, metric=metric, model=model, skill=ALL_SKILLS)["score"]
        for model in MODELS
    }
    words = {
        "better": "follows prompts better than",
        "worse": "follows prompts worse than",
        "not clear": "cannot be told apart from",
    }
    lead = (
        f"The merged model {words[finding(gain)]} the base model it was made from: "
        f"{title_of(metric)} {plain(values['merged'], digits)} against "
        f"{plain(values['base'], digits)}, a difference of {signed(gain['difference'], digits)} "
        f"({_percent(gain['confidence'])} interval {interval(gain)}) on {gain['n_items']} prompts "
        f"× {gain['n_samples']} pictures."
    )
    return (
        "<h1>Does the merged model follow its prompts?</h1>\n"
        f'<p class="lead">{escape(lead)}</p>\n{_world(gain)}\n<div class="tiles">'
        + "".join(_tile(f"{title_of(metric)}, {m}", plain(values[m], digits)) for m in MODELS)
        + _tile("merged − base", signed(gain["difference"], digits), _TONE[finding(gain)])
        + "</div>"
    )


def _world(record: Record) -> str:
    if not record["judge"].startswith("pocket"):
        return ""
    return (
        '<p class="soft">Measured in the pocket world: the method is the real one, the models are '
        "small, and the pictures are flat shapes, so that the judge can check every answer in the "
        "pixels. The numbers say nothing about the size of an effect on large models.</p>"
    )


def _tile(label: str, value: str, tone: str = "") -> str:
    return (
        f'<div class="card tile"><span class="soft small">{escape(label)}</span>'
        f'<b class="{tone}">{escape(value)}</b></div>'
    )


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _headline(content: Content) -> str:
    confidence = _percent(content.comparisons[0]["confidence"])
    head = ["metric", *MODELS]
    for baseline in BASELINES:
        head += [f"merged − {baseline}", f"{confidence} interval", "wins / ties / losses"]
    rows = []
    for metric in metrics_of(content.scores):
        scores = [find(content.scores, metric=metric, model=m, skill=ALL_SKILLS) for m in MODELS]
        cells = [escape(title_of(metric))]
        cells += [plain(score["score"], digits_of(score)) for score in scores]
        for baseline in BASELINES:
            cells += _difference(
                find(content.comparisons, metric=metric, baseline=baseline, skill=ALL_SKILLS)
            )
        rows.append(cells)
    return (
        '<h2>The numbers</h2>\n<p class="soft">Every model draws the same prompts from the same '
        "noise. The interval is a paired bootstrap over prompts; a difference is coloured only if "
        "its interval leaves 0 out. Wins, ties and losses count prompts. “mixture” is one LoRA "
        f"trained on all skills’ pictures together.</p>\n{_table(head, rows)}"
    )


def _difference(record: Record) -> list[str]:
    text = signed(record["difference"], digits_of(record))
    return [
        f'<b class="{_TONE[finding(record)]}">{text}</b>',
        interval(record),
        f"{record['wins']} / {record['ties']} / {record['losses']}",
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table; cells are HTML, heads are text."""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
    return (
        f'<div class="card scroll"><table><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody>'
        "</table></div>"
    )


def _measured(content: Content) -> str:
    rows = []
    for metric in metrics_of(content.comparisons):
        record = find(content.comparisons, metric=metric, baseline="base", skill=ALL_SKILLS)
        texts = [title_of(metric), record["unit"], record["judge"], record["policy"]]
        texts += [record["version"], f"{record['n_items']} × {record['n_samples']}"]
        texts += [f"{record['p_value']:.4f}"]
        rows.append([escape(text) for text in texts])
    head = ["metric", "unit", "judge or model", "policy", "version", "prompts × pictures"]
    return (
        "<h2>What was measured</h2>\n"
        '<p class="soft">The p value: merged − base by random sign flips, two-sided.</p>\n'
        + _table([*head, "p value"], rows)
    )


def _by_skill(content: Content) -> str:
    taught = set(content.curves)
    parts = [
        '<h2>By skill</h2>\n<p class="key soft">'
        + "".join(f'<span><i class="{model}"></i>{model}</span>' for model in MODELS)
        + "Whiskers are intervals. A skill in brackets has no expert: nothing was trained for it."
        "</p>"
    ]
    for metric in metrics_of(content.scores):
        labels = {
            skill: skill if skill in taught or skill == ALL_SKILLS else f"({skill})"
            for skill in skills_of(content.scores, metric)
        }
        parts.append(_skill_charts(content, metric, labels))
    return "\n".join(parts)


def _skill_charts(content: Content, metric: str, labels: dict[str, str]) -> str:
    scores, differences = {}, {}
    for skill, label in labels.items():
        found = [find(content.scores, metric=metric, model=m, skill=skill) for m in MODELS]
        scores[label] = [Mark(r["model"], r["score"], r["low"], r["high"]) for r in found]
        found = [
            find(content.comparisons, metric=metric, baseline=b, skill=skill) for b in BASELINES
        ]
        differences[label] = [
            Mark(r["baseline"], r["difference"], r["low"], r["high"]) for r in found
        ]
    unit, digits = found[0]["unit"], digits_of(found[0])
    name = title_of(metric)
    if unit == "percent":
        left = bar_chart(f"{name} by skill", scores, digits)
    else:  # the unit has no natural zero: bars would lie
        left = interval_chart(f"{name} by skill", scores, digits, zero=False)
    right = interval_chart(f"{name}: merged minus baselines", differences, digits, zero=True)
    return (
        '<div class="charts" style="margin-bottom:1rem">'
        f'<figure class="card"><h3>{escape(name)}</h3><figcaption>score, {escape(unit)}'
        f'</figcaption>{left}</figure><figure class="card"><h3>{escape(name)}: merged − baseline'
        "</h3><figcaption>right of the line: merged is better; the colour names the baseline"
        f"</figcaption>{right}</figure></div>"
    )


def _losses(content: Content) -> str:
    losses = [loss for curve in content.curves.values() for _, loss in curve]
    if not losses:
        return ""
    limits = (min(losses), max(losses))
    figures = "".join(
        f'<figure class="card"><figcaption>{escape(name)}</figcaption>'
        f"{line_chart(f'training loss of {name}', curve, limits)}</figure>"
        for name, curve in content.curves.items()
        if curve
    )
    return (
        '<h2>Training</h2>\n<p class="soft">Loss of each expert and of the mixture, all on one '
        f'scale.</p>\n<div class="curves">{figures}</div>'
    )


def _certificate(content: Content) -> str:
    facts = content.certificate
    skills = sorted(facts["cosine"])
    rows = []
    for skill in skills:
        cells = [escape(skill), f"{facts['norm'][skill]:.3f}"]
        for other in skills:
            value = facts["cosine"][skill][other]
            tint = max(0.0, min(1.0, value)) * 0.5
            cells.append(
                f'<span style="background:rgba(var(--heat),{tint:.2f});padding:.2rem .5rem;'
                f'border-radius:6px">{plain(value, 2)}</span>'
            )
        rows.append(cells)
    return (
        "<h2>The merge, checked</h2>\n<p>The merged adapter differs from the dense weighted sum of "
        f"the experts’ updates by {facts['relative_error']:.1e} of its norm. Its rank is "
        f"{facts['rank']}, its norm {facts['merged_norm']:.3f}. The table has each expert’s norm "
        "and the cosine between experts’ updates.</p>\n" + _table(["expert", "norm", *skills], rows)
    )
