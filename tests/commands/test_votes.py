"""`selma votes`: counts from the command line or a CSV file."""

import argparse
import json

import pytest

from selma.commands import votes
from selma.core.errors import ConfigError, MissingDataError, RecordError

TABLE_8 = """\
skill,win,lose,tie
All,241,114,245
Localized Narratives,19,5,12
"Counts, of things",26,11,17
"""


def run(*words):
    parser = argparse.ArgumentParser()
    votes.add_parser(parser.add_subparsers())
    args = parser.parse_args(["votes", *map(str, words)])
    return args.run(args)


def test_the_papers_votes_are_printed_with_both_intervals_and_what_they_assume(capsys):
    assert run("--win", 241, "--lose", 114, "--tie", 245, "--votes-per-prompt", 3) == 0
    out = capsys.readouterr().out
    for words in ("67.89", "[62.86, 72.53]", "[59.03, 75.62]", "60.58", "[57.62, 63.54]",
                  "[55.46, 65.71]", "1.4e-11", "treat all votes as independent",
                  "the 3 votes of a prompt always agreed"):  # fmt: skip
        assert words in out


def test_without_votes_per_prompt_the_text_says_what_is_missing(capsys):
    run("--win", 241, "--lose", 114, "--tie", 245)
    out = capsys.readouterr().out
    assert "67.89" in out
    assert "59.03" not in out
    assert "--votes-per-prompt N also gives" in out


def test_json_holds_every_number_unrounded(capsys):
    run("--win", 241, "--lose", 114, "--tie", 245, "--json")
    found = json.loads(capsys.readouterr().out)
    assert (found["confidence"], found["votes_per_prompt"]) == (0.95, None)
    (row,) = found["votes"]
    assert (row["win_share"], row["half_tie_share"]) == (241 / 355, 363.5 / 600)
    assert row["win_share_low_dependent"] is None


def test_a_file_gives_a_line_a_row(tmp_path, capsys):
    path = tmp_path / "votes.csv"
    path.write_text(TABLE_8)
    run(path, "--votes-per-prompt", 3, "--json")
    rows = json.loads(capsys.readouterr().out)["votes"]
    assert [row["name"] for row in rows] == ["All", "Localized Narratives", "Counts, of things"]
    assert rows[0]["p_value_holm"] == rows[0]["p_value"]
    assert rows[1]["p_value_holm"] == 2 * rows[1]["p_value"]
    path.write_text("\ufeff" + TABLE_8.replace("skill", "name"), encoding="utf-8")
    run(path)
    assert capsys.readouterr().out.splitlines()[2].startswith("Localized Narratives   19")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("skill,win,lose\na,1,2\n", "expected the columns skill .* got skill, win, lose"),
        ("skill,win,lose,tie\na,1,2,3\nb,1,2\n", r"votes.csv:3: expected 4 cells.*got 3"),
        ("win,lose,tie,name\n1,2,3\n", r"votes.csv:2: expected 4 cells.*got 3"),
        ("skill,win,lose,tie\na,1,2,3,4\n", r"votes.csv:2: expected 4 cells.*got 5"),
        ("skill,win,lose,tie\n\n ,1,2,3\n", r"votes.csv:3: the skill is empty"),
        ("skill,win,lose,tie\na,1,,3\n", r"votes.csv:2: expected whole numbers"),
        ("skill,win,lose,tie\na,1,2,3.5\n", r"votes.csv:2: .*'3.5'"),
        ("skill,win,lose,tie\n", "holds no votes below its header"),
        ("", "got none"),
    ],
)
def test_a_file_with_something_wrong_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "votes.csv"
    path.write_text(text)
    with pytest.raises(RecordError, match=message):
        run(path)


def test_the_header_may_be_in_any_case(tmp_path, capsys):
    path = tmp_path / "votes.csv"
    path.write_text(TABLE_8.replace("skill,win,lose,tie", "Skill, WIN,Lose,Tie"))
    run(path, "--json")
    rows = json.loads(capsys.readouterr().out)["votes"]
    assert [(row["name"], row["win"]) for row in rows][:2] == [
        ("All", 241),
        ("Localized Narratives", 19),
    ]


def test_a_p_value_too_small_for_a_float_is_not_printed_as_zero(capsys):
    run("--win", 300_000, "--lose", 200_000, "--tie", 0)
    assert capsys.readouterr().out.splitlines()[1].split()[-2:] == ["<1e-300", "<1e-300"]


def test_counts_come_from_one_place(tmp_path):
    with pytest.raises(ConfigError, match="either a CSV file, or all of"):
        run()
    with pytest.raises(ConfigError, match="either a CSV file, or all of"):
        run("--win", 3)
    with pytest.raises(ConfigError, match="either a CSV file, or all of"):
        run(tmp_path / "votes.csv", "--win", 3, "--lose", 2, "--tie", 1)
    with pytest.raises(MissingDataError, match=r"votes.csv: no such file"):
        run(tmp_path / "votes.csv")
    with pytest.raises(ConfigError, match="a confidence between 0.5 and 1, got 95"):
        run("--win", 3, "--lose", 2, "--tie", 1, "--confidence", 95)
