"""A rating is what the scorer or the judge says of the picture and its own prompt."""

import math

import numpy as np
import pytest
from tiny_world import shipped_params

from selma.core.errors import BackendError, ConfigError, RecordError
from selma.judges.loading import JUDGES
from selma.measuring.rating import load_rater, rate_rows
from selma.pictures.png import encode_png
from selma.pocket.render import render
from selma.pocket.scenes import Scene, SceneObject
from selma.pocket.writer import MODEL, REVISION, PocketWriter

STAR = SceneObject("star", "red", "large", 9.0, 16.0)
RING = SceneObject("ring", "blue", "small", 24.0, 16.0)
PROMPT = "a red star and a blue ring"  # two things and two colours: four questions
BOTH, STAR_ALONE, NOTHING = (
    render(Scene("white", objects)) for objects in ((STAR, RING), (STAR,), ())
)
WRONG_COLOUR = render(Scene("white", (STAR, SceneObject("ring", "green", "small", 24.0, 16.0))))
JUDGE = shipped_params()["judges"]["pocket"]
DSG = shipped_params()["raters"]["faithfulness"]
TIFA = {**DSG, "kind": "tifa", "mapping": "exact"}
LLM = PocketWriter(MODEL, REVISION)


def faithfulness(tmp_path, row=DSG, llm=LLM, **judge):
    return load_rater(
        row, judge={**JUDGE, **judge}, generator=llm, seed=0, device="cpu", replies=tmp_path / "r"
    )  # fmt: skip


@pytest.mark.parametrize("policy", ["official", "none"])
def test_dsg_is_the_share_of_the_prompts_questions_that_the_picture_gets_right(tmp_path, policy):
    rater = faithfulness(tmp_path, {**DSG, "policy": policy})
    found = rater.rate([PROMPT] * 4, [BOTH, WRONG_COLOUR, STAR_ALONE, NOTHING])
    assert found.dtype == np.float64
    assert list(found) == [1.0, 0.75, 0.5, 0.0]


def test_tifa_asks_with_choices(tmp_path):
    found = faithfulness(tmp_path, TIFA).rate([PROMPT] * 3, [BOTH, WRONG_COLOUR, NOTHING])
    assert found[0] == 1.0 > found[1] > found[2] == 0.0


def test_each_picture_is_rated_by_its_own_prompt_whatever_stands_beside_it(tmp_path):
    others = ["a blue ring", "two red stars", PROMPT]
    together = faithfulness(tmp_path).rate(others, [BOTH] * 3)
    alone = [faithfulness(tmp_path).rate([prompt], [BOTH])[0] for prompt in reversed(others)]
    assert list(together) == alone[::-1]
    assert together[0] == together[2] == 1.0 > together[1]


def test_a_prompt_nobody_could_ask_about_is_not_rated(tmp_path):
    found = faithfulness(tmp_path).rate(["a dog", PROMPT], [BOTH, BOTH])
    assert math.isnan(found[0]) and found[1] == 1.0


class Counting:
    """An LLM that counts the requests about each prompt."""

    def __init__(self):
        self.asked = []

    def generate(self, request, *, seed):
        self.asked.append(request)
        return LLM.generate(request, seed=seed)


def test_questions_are_written_once_for_a_prompt_also_if_there_are_none(tmp_path):
    llm = Counting()
    rater = faithfulness(tmp_path, llm=llm)
    rater.prepare([PROMPT, "a dog"])
    first = len(llm.asked)
    rater.rate([PROMPT, PROMPT, "a dog"], [BOTH, NOTHING, BOTH])
    assert first == len(llm.asked) > 3


def test_a_judge_that_swallows_a_question_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setitem(JUDGES, "silent", lambda settings, replies: Silent())
    with pytest.raises(BackendError, match="0 answers to 4 questions"):
        faithfulness(tmp_path, kind="silent").rate([PROMPT], [BOTH])


class Silent:
    about = {"class": "silent"}
    words = ()

    def __call__(self, pictures, questions):
        return [list(self.words) for _ in pictures]


def test_no_more_pictures_are_judged_at_once_than_the_row_says(tmp_path, monkeypatch):
    seen = []

    class Counted(Silent):
        def __call__(self, pictures, questions):
            seen.append(len(pictures))
            return [["yes"] * len(own) for own in questions]

    monkeypatch.setitem(JUDGES, "counted", lambda settings, replies: Counted())
    rater = faithfulness(tmp_path, kind="counted", batch_size=2)
    assert list(rater.rate([PROMPT] * 5, [BOTH] * 5)) == [1.0] * 5
    assert seen == [2, 2, 1]


class Vague(Silent):
    words = ("yes", "yes", "yes", "perhaps")


def rows(*pictures):
    return [
        {"prompt_id": f"p{n}", "sample": 0, "prompt": prompt,
         "image": {"bytes": encode_png(picture), "path": None}}
        for n, (prompt, picture) in enumerate(pictures)
    ]  # fmt: skip


ROWS = rows((PROMPT, BOTH), (PROMPT, NOTHING), ("a dog", BOTH), (PROMPT, STAR_ALONE))


def rated(tmp_path, rater, some=ROWS, done=lambda _: None):
    return rate_rows(some, rater, name="mine", directory=tmp_path, advance=done)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_rows_are_rated_in_their_order_in_every_batch_size(tmp_path, batch_size):
    done = []
    found = rated(tmp_path, faithfulness(tmp_path, batch_size=batch_size), done=done.append)
    assert found[:2] == [1.0, 0.0] and math.isnan(found[2]) and found[3] == 0.5
    assert sum(done) == 4


def test_what_was_rated_is_not_rated_again(tmp_path, monkeypatch):
    rated(tmp_path, faithfulness(tmp_path, batch_size=2))
    monkeypatch.setitem(JUDGES, "silent", lambda settings, replies: Silent())
    found = rated(tmp_path, faithfulness(tmp_path, kind="silent", batch_size=2))
    assert found[3] == 0.5


def test_replies_that_are_no_answer_count_as_wrong_up_to_a_share_of_all(tmp_path, monkeypatch):
    monkeypatch.setitem(JUDGES, "vague", lambda settings, replies: Vague())
    tolerant = {**DSG, "no_answer_max": 0.25}
    vague = {"kind": "vague", "batch_size": 1}
    assert rated(tmp_path / "a", faithfulness(tmp_path, tolerant, **vague), ROWS[:2]) == [0.75] * 2
    strict = faithfulness(tmp_path, {**DSG, "no_answer_max": 0.24}, **vague)
    with pytest.raises(RecordError, match=r"mine: 2 of 8 replies \(25.0%\) are no answer"):
        rated(tmp_path / "b", strict, ROWS[:2])


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    broken = [{**ROWS[0], "image": {"bytes": b"cut", "path": None}}]
    with pytest.raises(RecordError, match="p0/0: 3 bytes are not a whole picture"):
        rated(tmp_path, faithfulness(tmp_path), broken)


def scorer(tiny_models, name="pickscore", **changes):
    row = {"kind": name, "path": str(tiny_models / f"models/pocket/{name}"), "version": None}
    row |= {"antialias": None, "batch_size": 2, **changes}
    return load_rater(row, judge=None, generator=None, seed=0, device="cpu", replies=None)


def test_a_scorer_rates_on_its_own_scale(tiny_models):
    """The cosine by stock transformers, times CLIP's own factor."""
    import torch
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    folder = tiny_models / "models/pocket/pickscore"
    clip, prompts = CLIPModel.from_pretrained(folder).eval(), [PROMPT, "a dog"]
    shown = CLIPImageProcessor.from_pretrained(folder)([BOTH, NOTHING], return_tensors="pt")
    tokens = CLIPTokenizer.from_pretrained(folder)(prompts, padding=True, return_tensors="pt")
    with torch.no_grad():
        out = clip(**tokens, **shown)
        wanted = clip.logit_scale.exp() * (out.image_embeds * out.text_embeds).sum(1)
    found = scorer(tiny_models).rate(prompts, [BOTH, NOTHING])
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-4)


def test_rows_that_a_scorer_rates(tiny_models, tmp_path):
    alone = scorer(tiny_models).rate([r["prompt"] for r in ROWS], [BOTH, NOTHING, BOTH, STAR_ALONE])
    found = rated(tmp_path, scorer(tiny_models))
    np.testing.assert_allclose(found, alone, rtol=1e-5)


def test_nothing_to_rate_is_nothing(tiny_models, tmp_path):
    assert list(scorer(tiny_models).rate([], [])) == list(faithfulness(tmp_path).rate([], [])) == []
    assert rated(tmp_path, scorer(tiny_models), []) == []


def test_a_kind_that_is_no_rater_lists_those_that_are(tmp_path):
    with pytest.raises(ConfigError, match="kind of rater 'dgs'.*dsg.*pickscore.*tifa"):
        faithfulness(tmp_path, {**DSG, "kind": "dgs"})
