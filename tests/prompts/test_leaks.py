"""The benchmark gate."""

import pytest

from selma.prompts.diversity import BenchmarkGate, normalise

GATE = BenchmarkGate({"dsg/7": "A red circle, on the white background.", "dsg/8": "three stars"})


@pytest.mark.parametrize(
    ("prompt", "item"),
    [
        ("a red circle on a white background", "dsg/7"),
        ("RED circle  on white background!", "dsg/7"),
        ("the Three stars", "dsg/8"),
    ],
)
def test_a_benchmark_prompt_is_refused_in_any_dress(prompt: str, item: str):
    assert GATE.leaked(prompt) == item


def test_a_prompt_of_another_meaning_passes_however_near():
    assert GATE.leaked("a red circle on a black background") is None
    near = GATE.nearest("a red circle on the black background")
    assert near.prompt_id == "dsg/7"
    assert near.rouge_l == pytest.approx(6 / 7)


def test_articles_alone_and_other_scripts_do_not_normalise_to_nothing():
    assert normalise("The A") == "the a"
    assert normalise("Ein roter Kreis, ГРОМ") == "ein roter kreis гром"
