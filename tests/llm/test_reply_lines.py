"""The one reader of numbers and bullets in replies."""

import pytest

from selma.llm.replies import read_lines


@pytest.mark.parametrize(
    ("line", "number", "text"),
    [
        ("3:1,2", 3, "1,2"),
        ("3: 10:30 on a clock", 3, "10:30 on a clock"),
        ("10:30 on a clock", None, "10:30 on a clock"),
        ("1.5 litres of milk", None, "1.5 litres of milk"),
        ("16:9 is wide", None, "16:9 is wide"),
        ("3 blue stars", None, "3 blue stars"),
        ("2 - 3 stars", 2, "3 stars"),
        ("2 -3 degrees", None, "2 -3 degrees"),
        ("**Prompt 4:** a cat", 4, "a cat"),
        ("**4. a cat**", 4, "a cat"),
        ("- `7` | a cat", 7, "a cat"),
        ("| 7 | a cat |", 7, "a cat"),
        ("12345. a cat", None, "12345. a cat"),
    ],
)
def test_a_number_is_told_from_a_text_that_begins_with_one(line, number, text):
    (read,) = read_lines(line)
    assert (read.number, read.text) == (number, text)


def test_a_line_says_how_it_is_marked_and_where_it_stands():
    lines = list(
        read_lines("Here:\n- a cat\n\n    2 | a dog\n```\n|\n|---|--|\n<think>1. hm\n</think>\nend")
    )
    assert [
        (line.text, line.marked, line.bar, line.indent, line.after_blank) for line in lines
    ] == [
        ("Here:", False, False, 0, True),
        ("a cat", True, False, 0, False),
        ("a dog", True, True, 4, True),
        ("end", False, False, 0, True),
    ]
