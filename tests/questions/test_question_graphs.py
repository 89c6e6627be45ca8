"""The three replies of a DSG graph are read; those that break its rules are refused."""

import csv
import graphlib
from collections import defaultdict
from pathlib import Path

import pytest

from selma.core.errors import ReplyError
from selma.questions.dsg import parse_dependencies, parse_questions, parse_tuples

DSG_1K = Path(__file__).parents[2].parent / "shared" / "data" / "eval" / "dsg-1k-anns.csv"
TUPLES = ["entity - whole (cube)", "attribute - color (cube, purple)", "global - style (photo)"]


@pytest.mark.parametrize(
    "reply",
    [
        "1 | entity - whole (cube)\n2 | attribute - color (cube, purple)\n"
        "3 | global - style (photo)",
        "1. Entity - Whole (cube)\n2. Attribute – Colour (cube, purple)\n3. GLOBAL: style (photo).",
        "Sure:\n- entity - whole (cube)\n- attribute-color (cube, purple)\n- global/style(photo)",
        "7 | entity - whole (cube)\n7 | attribute - color (cube,\n  purple)\n"
        "9 | global - style (photo)",
        "| 1 | entity - whole (cube) |\n| 2 | attribute - color (cube, purple) |\n"
        "| 3 | global - style (photo) |",
    ],
)
def test_tuples_are_read_whatever_their_numbers_and_dashes(reply):
    assert parse_tuples(reply) == (TUPLES, 0)


def test_a_tuple_keeps_what_is_in_its_brackets():
    text = 'other - text rendering (sign, "A | B (new) - 1,2")'
    assert parse_tuples(f"1 | {text}") == ([text], 0)


def test_a_tuple_without_a_detailed_type_has_a_dash_for_it():
    assert parse_tuples("1 | global (photo)")[0] == ["global - - (photo)"]


def test_a_repeated_tuple_is_kept_once_at_its_first_place_and_counted():
    reply = "1 | entity - whole (cube)\n2 | entity - whole (rug)\n3 | entity - whole (Cube)"
    assert parse_tuples(reply) == (["entity - whole (cube)", "entity - whole (rug)"], 1)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "no line"),
        ("I'm sorry, I can't help with that.", "no line"),
        ("1 | entity - whole (cube)\n2 | purple cube", "'purple cube' is not type"),
        ("1. entity - whole (cube)\n2. a purple cube", "'a purple cube' is not type"),
        ("1 | thing - whole (cube)", r"'thing - whole \(cube\)' is not type"),
        ("1 | entity - whole ( )", "is not type"),
        ("1 | entity - whole (cu", "is not type"),
    ],
)
def test_a_reply_without_tuples_or_with_a_line_that_is_none_is_refused(reply, reason):
    with pytest.raises(ReplyError, match=reason) as caught:
        parse_tuples(reply)
    assert caught.value.reply == reply


@pytest.mark.parametrize(
    ("cell", "parents"),
    [
        ("0", ()),
        ("none", ()),
        ("-", ()),
        ("0 (it stands alone)", ()),
        ("1", (1,)),
        ("2,1", (2, 1)),
        ("1, 2", (1, 2)),
        ("1 and 2", (1, 2)),
        ("1 & 2", (1, 2)),
        ("[1, 2]", (1, 2)),
        ("ids 1, 2", (1, 2)),
        ("depends on 1 (cube) and 2 (rug)", (1, 2)),
        ("1,1", (1,)),
        ("0,2", (2,)),
        ("relation - spatial (cube, rug, on) | 1,2", (1, 2)),
    ],
)
def test_a_dependency_cell_is_read_in_many_spellings(cell, parents):
    assert parse_dependencies(f"1 | 0\n2 | 0\n3 | {cell}", 3) == {1: (), 2: (), 3: parents}


def test_a_parent_may_come_after_its_child():
    assert parse_dependencies("1 | 2\n2 | 0", 2) == {1: (2,), 2: ()}


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (("0", "2", "0"), "id 2 needs itself"),
        (("0", "4", "0"), "id 2 needs id 4, ids are 1 to 3"),
        (("0", "1, right", "0"), "id 2 needs '1, right', expected ids or 0"),
        (("0", "the cube", "0"), "expected ids or 0"),
        (("0", "", "0"), "expected ids or 0"),
        (("2", "1", "0"), "ids 1, 2 need each other in a circle"),
        (("2", "3", "1"), "ids 1, 2, 3 need each other in a circle"),
        (("2", "1", "2"), "ids 1, 2 need each other in a circle"),
    ],
)
def test_a_graph_that_breaks_its_rules_is_refused(cells, reason):
    reply = "\n".join(f"{number} | {cell}" for number, cell in enumerate(cells, start=1))
    with pytest.raises(ReplyError, match=reason) as caught:
        parse_dependencies(reply, 3)
    assert caught.value.reply == reply


QUESTIONS = {1: "Is there a cube?", 2: "Is the cube purple?", 3: "Is this a photo?"}


@pytest.mark.parametrize(
    "form",
    [
        "{n} | {q}",
        "{n} | {t} | {q}",
        "{n}. {q} Yes",
        "{n} | {q} (Answer: yes)",
        "{n} | {q} - yes.",
        "- {q}",
        "{q}",
    ],
)
def test_questions_are_read_without_their_tuples_and_answers(form):
    lines = [form.format(n=n, q=QUESTIONS[n], t=t) for n, t in enumerate(TUPLES, start=1)]
    assert parse_questions("Of course.\n" + "\n".join(lines), TUPLES) == QUESTIONS


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ("2 | What color is the cube?", "id 2: 'What color is the cube[?]' is not a yes/no"),
        ("2 | how many cubes are there?", "is not a yes/no question"),
        ("2 | The cube is purple.", "is not a yes/no question"),
        ("2 | Is the cube purple? No", "is not a yes/no question"),
        ("2 |", "is not a yes/no question"),
        ("Is the cube purple?", "no line for id 2"),
        ("2 | Is the cube purple?\n4 | Is there a dog?", "line for id 4"),
    ],
)
def test_a_reply_that_leaves_a_tuple_without_a_yes_no_question_is_refused(second, reason):
    reply = f"1 | Is there a cube?\n{second}\n3 | Is this a photo?"
    with pytest.raises(ReplyError, match=reason) as caught:
        parse_questions(reply, TUPLES)
    assert caught.value.reply == reply


@pytest.fixture(scope="module")
def dsg_1k():
    if not DSG_1K.exists():
        pytest.skip(f"{DSG_1K} is not there")
    items = defaultdict(list)
    with DSG_1K.open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            items[row["item_id"]].append(row)
    return items


@pytest.mark.parametrize("style", ["{} | {}", "{}. {}", "**{}** | {}", "| {} | {} |", "- {}) {}"])
def test_all_tuples_and_questions_of_dsg_1k_are_read_as_they_are(dsg_1k, style):
    for rows in dsg_1k.values():
        tuples = [" ".join(row["tuple"].split()).replace(", )", ",)") for row in rows]
        reply = "\n".join(style.format(n, text) for n, text in enumerate(tuples, start=1))
        assert parse_tuples(f"Sure!\n\n{reply}")[0] == list(dict.fromkeys(tuples))
        questions = dict(enumerate((row["question_natural_language"] for row in rows), start=1))
        reply = "\n".join(style.format(n, text) for n, text in questions.items())
        assert parse_questions(reply, tuples) == questions


def sound(rows):
    """Tell by other means whether all parents exist and no question needs itself in the end."""
    graph = {int(row["proposition_id"]): row["dependency"].split(",") for row in rows}
    if set(graph) != set(range(1, len(rows) + 1)):
        return False
    if not all(cell.strip().isdigit() for cells in graph.values() for cell in cells):
        return False
    edges = {child: [int(cell) for cell in cells] for child, cells in graph.items()}
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError:
        return False
    return all(0 <= parent <= len(rows) for parents in edges.values() for parent in parents)


def test_the_graphs_of_dsg_1k_are_read_but_for_those_with_defects(dsg_1k):
    refused = 0
    for rows in dsg_1k.values():
        reply = "\n".join(f"{row['proposition_id']} | {row['dependency']}" for row in rows)
        if sound(rows):
            wanted = [[int(cell) for cell in row["dependency"].split(",")] for row in rows]
            found = parse_dependencies(reply, len(rows))
            assert [set(found[n]) for n in sorted(found)] == [set(w) - {0} for w in wanted]
        else:
            refused += 1
            with pytest.raises(ReplyError):
                parse_dependencies(reply, len(rows))
    assert refused == 47
