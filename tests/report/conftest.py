"""A small, whole content for the report: two skills, two metrics, pictures of one colour."""

import io
import json

import pytest
from PIL import Image

from selma.report.content import Content, build_examples, choose_examples, count_outcomes

METRICS = {"dsg": ("percent", 100.0), "pickscore": ("exp(logit_scale) * cosine", 20.0)}
SKILLS = ("all", "count", "<b>odd</b>")


def png(colour, side=32):
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def item(item_id, skill, prompt="two red stars"):
    asked = ((1, "is there a star?", "0"), (2, "is it red?", "1"))
    questions = [
        {"question_id": number, "question": text, "choices": [], "answer": "yes"}
        | {"dependency": dependency, "category": "entity", "element": ""}
        for number, text, dependency in asked
    ]
    return {"item_id": item_id, "prompt": prompt, "source": skill, "questions": questions}


def tables(benchmark, right, side=32):
    """Give samples, answers and scores where `right(item_id)` says how many answers are yes."""
    samples, answers, scores = [], [], []
    for row in benchmark:
        key = {"item_id": row["item_id"], "sample": 0}
        good = right(row["item_id"])
        samples.append({**key, "image": {"bytes": png((good * 100, 0, 0), side), "path": None}})
        points = [
            {"question_id": n, "raw": int(n <= good), "filtered": int(n <= good)} for n in (1, 2)
        ]
        answers += [
            {**key, "question_id": n, "answer": "yes" if n <= good else "no"} for n in (1, 2)
        ]
        scores.append({**key, "score": good / 2, "details": json.dumps({"questions": points})})
    return samples, answers, scores


def examples_of(benchmark, base, merged):
    first, second = tables(benchmark, base), tables(benchmark, merged)
    samples, answers, scores = (
        {"base": one, "merged": other} for one, other in zip(first, second, strict=True)
    )
    return build_examples(benchmark, samples, answers, scores)


def records():
    about = {"judge": "pocket@1", "policy": "official", "version": "v", "confidence": 0.95}
    outcome = {"difference": 2.5, "high": 3.5, "p_value": 0.01, "wins": 3, "ties": 1, "losses": 0}
    scores, comparisons = [], []
    for metric, (unit, value) in METRICS.items():
        for skill in SKILLS:
            common = {**about, "metric": metric, "unit": unit, "n_items": 4, "n_samples": 1}
            common["skill"] = skill
            for step, model in enumerate(("base", "mixture", "merged")):
                score = value * (0.5 + 0.1 * step)
                interval = {"low": score * 0.9, "high": score * 1.1}
                scores.append({**common, **interval, "model": model, "score": score})
            for baseline, low in (("base", 1.5), ("mixture", -0.5)):
                names = {"model": "merged", "baseline": baseline}
                comparisons.append({**common, **outcome, **names, "low": low})
    return scores, comparisons


@pytest.fixture
def content():
    benchmark = [
        item("a", "count", "<script>alert(1)</script> & two red stars"),
        item("b", "count"), item("c", "<b>odd</b>"), item("d", "count"),
    ]  # fmt: skip
    examples = examples_of(
        benchmark, {"a": 2, "b": 0, "c": 0, "d": 2}.get, {"a": 1, "b": 0, "c": 2, "d": 2}.get
    )
    scores, comparisons = records()
    return Content(
        scores,
        comparisons,
        {"relative_error": 1.2e-7, "rank": 80, "norm": {"count": 1.0}, "merged_norm": 0.7,
         "cosine": {"count": {"count": 1.0}}},
        {"count": [(10, 0.5), (20, 0.4)], "mixture": [(10, 0.6), (20, 0.3)]},
        choose_examples(examples, 24),
        count_outcomes(examples),
    )  # fmt: skip
