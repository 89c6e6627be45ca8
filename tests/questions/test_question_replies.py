"""Numbered lines and labelled records are read out of replies as LLMs write them."""

import pytest

from selma.core.errors import ReplyError
from selma.questions.replies import labelled_records, numbered_texts

TEXTS = {1: "Is there a cube?", 2: "Is the cube purple?", 3: "Is it on a rug?"}
STYLES = (
    "{} | {}", "{}|{}", "{}. {}", "{}) {}", "({}) {}", "[{}] {}", "{}: {}", "{} - {}", "{}\t{}",
    "#{} | {}", "id {} | {}", "ID: {} | {}", "Q{}: {}", "Question {}: {}", "- {} | {}", "* {}. {}",
    "**{}** | {}", "**{}.** {}", "**{} | {}**", "{} | **{}**", "{} | `{}`", "| {} | {} |",
    "   {} |   {}  ",
)  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
def test_every_style_of_numbering_gives_the_same_texts(style):
    reply = "\n".join(style.format(number, text) for number, text in TEXTS.items())
    assert numbered_texts(reply, 3) == TEXTS


@pytest.mark.parametrize(
    "frame",
    [
        "Sure! Here are 3 questions:\n\n{}\n\nLet me know if you need more!",
        "```\n{}\n```",
        "<think>\n1 | no idea\n9 | hm\n</think>\n{}",
        "| id | question |\n|---|---|\n{}",
        "I go through the tuples:\n1. the cube\n2. its color\n\n{}",
        "Note: 16:9 is no tuple.\n\n{}\n---\n",
    ],
)
def test_what_stands_around_the_lines_does_not_matter(frame):
    lines = "\r\n\r\n".join(f"{number} | {text}" for number, text in TEXTS.items())
    assert numbered_texts(frame.format(lines), 3) == TEXTS


def test_lines_may_come_in_any_order_be_wrapped_and_be_told_twice():
    reply = "3 | Is it\n  on a rug?\n1 | Is there a cube?\n2 | Is the cube purple?\n" * 2
    assert numbered_texts(reply, 3) == TEXTS


def test_a_bar_within_a_text_belongs_to_it():
    assert (
        numbered_texts('1 | Does the sign say "A|B | C"?', 1)[1] == 'Does the sign say "A|B | C"?'
    )


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("1 | a\n3 | c", "no line for id 2"),
        ("", "no line for id 1, 2, 3"),
        ("Sorry, I cannot do that.", "no line for id 1, 2, 3"),
        ("1 | a\n2 | b\n3 | c\n4 | d", "line for id 4, ids are 1 to 3"),
        ("0 | z\n1 | a\n2 | b\n3 | c", "line for id 0"),
        ("1 | a\n2 | b\n2 | c\n3 | d", "two different lines for id 2"),
    ],
)
def test_ids_that_are_missing_unknown_or_told_in_two_ways_are_refused(reply, reason):
    with pytest.raises(ReplyError, match=reason) as caught:
        numbered_texts(reply, 3)
    assert caught.value.reply == reply


NAMES = ("element", "question", "choices")


@pytest.mark.parametrize(
    "reply",
    [
        "Element: cube\nQuestion: What is it?\nChoices: cube, ball",
        "1. Element: cube\n   Question: What is it?\n   Choices: cube, ball\n",
        "- **Element:** cube\n- **Question:** What is it?\n- **Choices:** cube, ball",
        "**Element**: cube\n\nquestion: What is it?\n\nCHOICES: cube, ball",
        "Here you are:\n\nElement: cube\nQuestion: What is it?\nChoices:\n- cube\n- ball\n",
        "Element: cube\nQuestion:\nWhat is it?\nChoices:\n(A) cube\n(B) ball",
        "<think>Element: dog\n</think>Element: cube\nQuestion: What is it?\nChoices: cube, ball",
    ],
)
def test_every_style_of_record_gives_the_same_fields(reply):
    found = labelled_records(reply, NAMES)
    assert found == [{"element": "cube", "question": "What is it?", "choices": "cube, ball"}]


def test_a_record_begins_where_the_first_label_comes_and_may_be_cut_off():
    reply = "Element: a\nQuestion: b?\nElement: c\nColor: red\nthat is all"
    assert labelled_records(reply, NAMES) == [{"element": "a", "question": "b?"}, {"element": "c"}]


def test_a_colon_within_a_text_belongs_to_it():
    found = labelled_records("Element: clock\nQuestion: Is it 10:30: yes?\n", NAMES)
    assert found[0]["question"] == "Is it 10:30: yes?"
