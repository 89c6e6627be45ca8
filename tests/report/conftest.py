"""A small, whole content for the report: two skills, two measures, pictures of one colour."""

import io
import json

import pytest
from PIL import Image

from selma.report.examples import build_examples, choose_examples, count_outcomes
from selma.report.page import Content

MEASURES = {"dsg_a": ("DSG", "percent", 100.0), "pick": ("PickScore", "cosine & co", 20.0)}
SKILLS = ("count", "all", "<b>odd</b>")
MODELS = ("old", "new", "both")


def png(colour, side=32, height=None):
    buffer = io.BytesIO()
    Image.new("RGB", (side, height or side), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def item(item_id, skill, prompt="two red stars"):
    asked = ((1, "is there a star?", "0"), (2, 'is it "red" & <i>warm</i>?', "1"))
    questions = [
        {"question_id": number, "question": text, "choices": [], "answer": "yes"}
        | {"dependency": dependency, "category": "entity", "element": ""}
        for number, text, dependency in asked
    ]
    return {"item_id": item_id, "prompt": prompt, "source": skill, "questions": questions}


def tables(benchmark, right, side=32):
    """Samples, answers and scores where `right(item_id)` says how many answers are yes.

    For -1 the second answer alone is yes: right, but not counted.
    """
    samples, answers, scores = [], [], []
    for row in benchmark:
        key = {"item_id": row["item_id"], "sample": 0}
        good = right(row["item_id"])
        raw = [0, 1] if good < 0 else [int(good >= 1), int(good >= 2)]
        counted = [raw[0], raw[0] * raw[1]]
        colour = (max(good, 0) * 100, 0, 0)
        samples.append({**key, "image": {"bytes": png(colour, side), "path": None}})
        points = [{"question_id": n, "raw": raw[n - 1], "filtered": counted[n - 1]} for n in (1, 2)]
        answers += [
            {**key, "question_id": n, "answer": "yes" if raw[n - 1] else "no"} for n in (1, 2)
        ]
        details = json.dumps({"questions": points})
        scores.append({**key, "score": sum(counted) / 2, "details": details})
    return samples, answers, scores


def examples_of(benchmark, old, new, *, answered=True):
    first, second = tables(benchmark, old), tables(benchmark, new)
    samples, answers, scores = (
        {"old": one, "new": other} for one, other in zip(first, second, strict=True)
    )
    return build_examples(benchmark, samples, answers if answered else None, scores, factor=100.0)


def comparison(models=MODELS, subject="new", reference="old", against=("both",)):
    """Scores 50, 60, 70, … percent in the order of the models; the subject wins by 2.5."""
    about = {"confidence": 0.95, "resamples": 10_000, "n_items": 4, "n_samples": 1}
    outcome = {"p_value": 0.0123, "wins": 3, "ties": 1, "losses": 0}
    pairs = [(subject, baseline) for baseline in (reference, *against) if baseline != subject]
    pairs += [(model, reference) for model in models if model not in (subject, reference)]
    scores, comparisons = [], []
    for measure, (_, unit, value) in MEASURES.items():
        for skill in SKILLS:
            common = {**about, "measure": measure, "unit": unit, "skill": skill}
            for step, model in enumerate(models):
                score = value * (0.5 + 0.1 * step)
                ends = {"low": score * 0.9, "high": score * 1.1}
                scores.append({**common, **ends, "model": model, "score": score})
            for model, baseline in pairs:
                better = (model, baseline) == (subject, reference)
                comparisons.append(
                    {**common, **outcome, "model": model, "baseline": baseline}
                    | {"difference": 2.5 if better else -0.5, "low": 1.5 if better else -2.5}
                    | {"high": 3.5 if better else 1.5}
                    | {"verdict": "better" if better else "undecided"}
                )
    described = {"judge": "judge@" + "a1" * 32, "policy": "", "version": "v<1>", "metric": "m"}
    return {
        "subject": subject, "reference": reference, "against": list(against),
        "models": list(models), "scores": scores, "comparisons": comparisons,
        "measures": [
            {**described, "name": name, "title": title, "unit": unit, "benchmark": "bench"}
            for name, (title, unit, _) in MEASURES.items()
        ],
    }  # fmt: skip


def changed(content, **values):
    """The same content with other values in every comparison."""
    comparison = content.comparison
    records = [{**record, **values} for record in comparison["comparisons"]]
    return {**comparison, "comparisons": records}


@pytest.fixture
def examples():
    benchmark = [
        item("a", "count", """<script>alert("1")</script> & 'two' red stars"""),
        item("b", "count"), item("c", "<b>odd</b>"), item("d", "count"),
    ]  # fmt: skip
    return examples_of(
        benchmark, {"a": 2, "b": 0, "c": 0, "d": 2}.get, {"a": 1, "b": -1, "c": 2, "d": 2}.get
    )


@pytest.fixture
def content(examples):
    return Content(
        comparison(),
        "dsg_a",
        ["count"],
        {"count": [(10, 0.5), (20, 0.4)], "all of it": [(10, 0.6), (40, 0.3)]},
        {"sum": {"relative_error": 1.2e-7, "rank": 80, "merged_norm": 0.7, "cosine_to_mean": 1.0,
                 "norm": {"y": 1.0, "x": 2.0},
                 "cosine": {"x": {"x": 1.0, "y": -0.25}, "y": {"x": -0.25, "y": 1.0}}}},
        choose_examples(examples, 24),
        count_outcomes(examples),
    )  # fmt: skip
