"""Replies of an LLM are read whatever they look like, or refused with a reason."""

import pytest

from selma.core.errors import ReplyError
from selma.correction.layout import Box
from selma.correction.replies import ReplyLimits, parse_layout, parse_scene
from selma.correction.scene import Label, split_label

LIMITS = ReplyLimits(objects_max=30, bytes_max=4000)
NOUNS = ["dog", "tree", "palm tree"]


def updated(text):
    return f"They change places.\nUpdated Objects: {text}"


GOOD = {
    "tuples": "[('dog #1', [0.1, 0.2, 0.3, 0.4])]",
    "lists": "[['dog #1', [0.1, 0.2, 0.3, 0.4]]]",
    "double quotes": '[["dog #1", [0.1, 0.2, 0.3, 0.4]]]',
    "a tuple for the box": "[('dog #1', (.1, 2e-1, 0.3, +0.4)),]",
    "a code fence": "\n```python\n[\n  ('dog #1', [0.1, 0.2, 0.3, 0.4]),\n]\n```",
    "words behind it": "[('dog #1', [0.1, 0.2, 0.3, 0.4])]\nNote: [1] I hope this helps ]",
    "white space": "[(' dog  # 1 ', [ 0.1 , 0.2,0.3\n,0.4 ] ) ]",
}


@pytest.mark.parametrize("form", GOOD)
def test_a_layout_is_read_in_all_the_forms_that_llms_write(form):
    (one,) = parse_layout(updated(GOOD[form]), NOUNS, LIMITS).layout
    assert (one.name, one.box) == ("dog #1", Box(0.1, 0.2, 0.3, 0.4))


def test_a_bold_title_and_thoughts_do_not_matter():
    reply = "<think>Updated Objects: [('cat #1', [0, 0, 1, 1])]</think>**Updated Objects:** []"
    assert parse_layout(reply, NOUNS, LIMITS).layout == ()


def test_a_list_in_the_reasoning_does_not_hide_the_answer():
    reply = "Updated Objects: [two dogs] would do.\n" + updated("[('dog #1', [0, 0, 1, 1])]")
    assert [one.name for one in parse_layout(reply, NOUNS, LIMITS).layout] == ["dog #1"]


BAD = {
    "no list": ("They stay as they are.", "no list behind 'Updated Objects:'"),
    "no end": (updated("[('dog #1', [0, 0, 1, 1])"), "found the end"),
    "a word for a number": (updated("[('dog #1', ['left', 0, 1, 1])]"), "four numbers"),
    "NaN": (updated("[('dog #1', [nan, 0, 1, 1])]"), "found 'nan"),
    "infinite": (updated("[('dog #1', [1e999, 0, 1, 1])]"), "inf is no number"),
    "no width": (updated("[('dog #1', [0, 0, 0, 1])]"), "above 0"),
    "a negative height": (updated("[('dog #1', [0, 0, 1, -0.5])]"), "above 0"),
    "three numbers": (updated("[('dog #1', [0, 0, 1])]"), r"\[x, y, width, height\]"),
    "a name twice": (updated("[('dog #1', [0, 0, 1, 1]), ['dog  #1', [0, 0, 1, 1]]]"), "twice"),
    "no number in a name": (updated("[('dog', [0, 0, 1, 1])]"), "a name like 'dog #1'"),
    "pixels": (updated("[('dog #1', [100, 120, 60, 60])]"), "outside the picture"),
    "code": (updated("[__import__('os').getcwd()]"), "found .__import__"),
    "depth": (updated("[" * 3000), "too deep"),
    "a text for the list": (updated("('dog #1', [0, 0, 1, 1])"), "expected"),
    "31 objects": (
        updated(str([(f"dog #{k}", [0, 0, 1, 1]) for k in range(1, 32)])),
        "31 objects are too many",
    ),
    "many bytes": (updated("[" + " " * 5000 + "]"), "more than 4000"),
}  # fmt: skip


@pytest.mark.parametrize("defect", BAD)
def test_a_layout_that_breaks_a_rule_is_refused_with_the_reason(defect):
    reply, reason = BAD[defect]
    with pytest.raises(ReplyError, match=reason) as caught:
        parse_layout(reply, NOUNS, LIMITS)
    assert caught.value.reply == reply


def test_boxes_that_stick_out_are_clamped_and_reported():
    reply = updated("[('dog #1', [-0.1, 0.5, 0.3, 0.6]), ('dog #2', [0.559, 0, 0.441, 1])]")
    checked = parse_layout(reply, NOUNS, LIMITS)
    assert checked.clamped == {"dog #1": [-0.1, 0.5, 0.3, 0.6]}
    assert checked.layout[0].box == Box(0.0, 0.5, 0.2, 0.5)
    assert checked.layout[1].box == Box(0.559, 0, 0.441, 1)


SCENE = """Two animals.
Objects: [("dog", ["black", None]), ["palm tree", [null, 'None']]]
Background: An oil painting [in the style of Monet]
Negation: {}
I hope this helps!"""


@pytest.mark.parametrize(
    ("written", "negation"),
    [("", ""), ("None.", ""), ("n/a", ""), ("shadows and cats", "shadows and cats")],
)
def test_a_scene_is_read_line_by_line(written, negation):
    scene = parse_scene(SCENE.format(written), LIMITS)
    assert scene.entries() == [("dog", ["black", None]), ("palm tree", [None, None])]
    assert scene.background == "An oil painting [in the style of Monet]"
    assert scene.negation == negation
    assert scene.nouns == ("dog", "palm tree") and scene.attributed == (Label("black", "dog"),)


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        ("dogs", "no list behind 'Objects:'"),
        ("[('dog', 2)]", "one attribute or None for each"),
        ("[('dog', [])]", "one attribute or None for each"),
        ("[('', [None])]", "a noun"),
        ("[('dog #1', [None])]", "a noun"),
        ("[('dog', [3])]", "an attribute or None"),
        ("['dog']", "'noun'"),
        (f"[('dog', {[None] * 31})]", "31 objects are too many"),
    ],
)
def test_a_scene_that_breaks_a_rule_is_refused_with_the_reason(objects, reason):
    with pytest.raises(ReplyError, match=reason):
        parse_scene(f"Objects: {objects}\nBackground: A photo\nNegation:", LIMITS)


def test_a_scene_without_background_is_refused():
    with pytest.raises(ReplyError, match="'Background:' is missing"):
        parse_scene("Objects: [('dog', [None])]\nNegation:", LIMITS)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("dog", Label(None, "dog")),
        ("white and small dog", Label("white and small", "dog")),
        ("green palm tree", Label("green", "palm tree")),
        ("green tree", Label("green", "tree")),
        ("hotdog", Label(None, "hotdog")),
        ("robotic cat", Label(None, "robotic cat")),
    ],
)
def test_a_label_is_split_by_known_nouns(text, label):
    assert split_label(text, NOUNS) == label and label.text == text
