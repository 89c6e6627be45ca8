"""TIFA's questions are read from a reply; unsound ones are dropped and counted."""

import pytest

from selma.core.errors import ReplyError
from selma.questions.tifa import ELEMENT_TYPES, parse_choices, split_choices


def record(**changes):
    fields = {
        "Element": "surfer",
        "Type": "animal/human",
        "Question": "Who is on the beach?",
        "Choices": "swimmer, surfer, diver, skier",
        "Answer": "surfer",
    }
    return "".join(f"{name}: {text}\n" for name, text in (fields | changes).items()) + "\n"


def kept(**changes):
    return parse_choices(record(**changes)).rows[0]


def test_a_record_becomes_a_question_of_a_benchmark_row():
    assert parse_choices(record()).rows == [
        {
            "question_id": 1,
            "question": "Who is on the beach?",
            "choices": ["swimmer", "surfer", "diver", "skier"],
            "answer": "surfer",
            "dependency": "0",
            "category": "animal/human",
            "element": "surfer",
        }
    ]


def test_there_are_the_twelve_types_of_tifa():
    assert len(set(ELEMENT_TYPES)) == 12
    for element_type in ELEMENT_TYPES:
        assert kept(Type=element_type)["category"] == element_type


@pytest.mark.parametrize(
    ("said", "meant"),
    [("animal", "animal/human"), ("Human", "animal/human"), ("Colour.", "color")],
)
def test_types_have_other_spellings(said, meant):
    assert kept(Type=said)["category"] == meant


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("yes, no", ["yes", "no"]),
        ("Yes, No.", ["yes", "no"]),
        ("red, blue, red, Red", ["red", "blue"]),
        ('"red", "dark blue"', ["red", "dark blue"]),
        ("1,000, 2,000", ["1,000", "2,000"]),
        ("red", ["red"]),
        ("", []),
    ],
)
def test_choices_are_split_at_comma_and_blank(text, choices):
    assert split_choices(text) == choices


@pytest.mark.parametrize("answer", ["surfer", "Surfer", "surfer.", '"surfer"'])
def test_the_answer_is_spelled_as_its_choice(answer):
    assert kept(Answer=answer)["answer"] == "surfer"


@pytest.mark.parametrize(
    ("changes", "defect"),
    [
        ({"Answer": "sailor"}, "answer is no choice"),
        ({"Answer": "surfer, diver"}, "answer is no choice"),
        ({"Choices": "surfer"}, "fewer than two choices"),
        ({"Choices": "surfer, Surfer"}, "fewer than two choices"),
        ({"Type": "sport"}, "unknown element type"),
        ({"Answer": ""}, "field missing"),
        ({"Element": ""}, "field missing"),
    ],
)
def test_an_unsound_question_is_dropped_and_counted(changes, defect):
    found = parse_choices(record(**changes) + record(Question="What is it?"))
    assert [row["question"] for row in found.rows] == ["What is it?"]
    assert found.rows[0]["question_id"] == 1
    assert found.dropped == {defect: 1}


def test_a_question_asked_before_is_dropped():
    found = parse_choices(
        record() + record(Question="who is  on the BEACH?", Choices="surfer, cat")
    )
    assert len(found.rows) == 1
    assert found.dropped == {"repeated question": 1}


def test_a_dropped_question_does_not_forbid_its_text_to_a_sound_one():
    found = parse_choices(record(Answer="sailor") + record())
    assert len(found.rows) == 1


def test_a_record_cut_off_is_dropped():
    found = parse_choices(record() + "Element: beach\nType: location\nQuestion: Where is")
    assert (len(found.rows), found.dropped) == (1, {"field missing": 1})


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "no question at all"),
        ("Sorry, no.", "no question at all"),
        (
            record(Type="x") + record(Answer="y"),
            "1 × answer is no choice, 1 × unknown element type",
        ),
    ],
)
def test_a_reply_without_a_sound_question_is_refused(reply, reason):
    with pytest.raises(ReplyError, match=reason) as caught:
        parse_choices(reply)
    assert caught.value.reply == reply
