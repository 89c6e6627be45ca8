import pytest

from selma.correction.editors.latent.prompts import object_prompt, scene_prompt
from selma.correction.layout import check_layout
from selma.diffusion.loading import load_backbone
from selma.diffusion.tiny import write_tiny_gated
from selma.diffusion.tokens import Span, tokens_of

NOUNS = ["kite", "owl", "seagull", "boat", "palm tree", "wolf"]


def layout(*names):
    return check_layout([[name, [0.1, 0.1, 0.2, 0.2]] for name in names], NOUNS, 99).layout


def said(prompt):
    return [
        [prompt.text[span.start : span.end] for span in (phrase.whole, phrase.noun)]
        for phrase in prompt.phrases
    ]


def test_a_scene_names_all_its_objects_in_the_goals_order():
    goal = layout("red kite #1", "owl #1", "kite #1")
    prompt = scene_prompt("A beach", goal, goal[1:2])
    assert prompt.text == "A beach with a red kite, an owl, a kite"
    assert said(prompt) == [["an owl", "owl"]]


def test_an_added_object_is_found_where_it_is_said_and_not_where_another_is():
    goal = layout("kite #1", "kite #2", "red kite #1")
    prompt = scene_prompt("Kites: a kite shop", goal, goal[1:2])
    (phrase,) = prompt.phrases
    assert prompt.text == "Kites: a kite shop with a kite, a kite, a red kite"
    assert phrase.whole == Span(32, 38)


def test_added_objects_of_one_label_are_one_phrase_at_the_end():
    goal = layout("banana boat #1", "green palm tree #1", "banana boat #2", "wolf #1", "wolf #2")
    prompt = scene_prompt("A sea", goal, goal)
    assert prompt.text.endswith("a wolf, a wolf | two banana boats | two wolves")
    assert said(prompt) == [
        ["two banana boats", "boats"],
        ["a green palm tree", "palm tree"],
        ["two wolves", "wolves"],
    ]
    assert [len(phrase.objects) for phrase in prompt.phrases] == [2, 1, 2]


def test_without_objects_the_prompt_is_the_background():
    assert scene_prompt("A beach", (), ()).text == "A beach"


def test_one_object_alone():
    assert object_prompt("A beach", layout("owl #3")[0]).text == "A beach with an owl"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """Of 77 tokens, and each letter is one."""
    folder = tmp_path_factory.mktemp("gated") / "model"
    write_tiny_gated(folder, prediction_type="epsilon", latent_size=(4, 4))
    return load_backbone(str(folder), "float32", "cpu").encoders[0].tokenizer


def test_the_tokens_of_a_phrase_are_those_in_its_place(tokenizer):
    prompt = scene_prompt("An owl", layout("owl #1"), layout("owl #1"))  # "An owl with an owl"
    (phrase,) = prompt.phrases
    whole, noun = tokens_of(tokenizer, prompt.text, [phrase.whole, phrase.noun])
    assert whole == (10, 11, 12, 13, 14)  # after the start and the nine letters of "An owl with"
    assert noun == (12, 13, 14)
    ids = tokenizer(prompt.text)["input_ids"]
    assert "".join(tokenizer.convert_ids_to_tokens([ids[n] for n in noun])) == "owl</w>"


def test_what_a_long_prompt_loses_has_no_tokens(tokenizer):
    goal = layout(*(f"palm tree #{number}" for number in range(1, 12)), "owl #1")
    prompt = scene_prompt("A sea", goal, (goal[0], goal[-1]))
    first, last = tokens_of(tokenizer, prompt.text, [one.whole for one in prompt.phrases])
    assert first == tuple(range(9, 18))
    assert last == ()
