"""The published code's JSON files are read; an entry that is wrong does not stop the others."""

import json

import pytest

from selma.core.errors import MissingDataError, RecordError
from selma.correction.json_files import Entry, given_layout, read_entries, safe_name

GOOD = {"input_fname": "beach", "output_dir": "lmdplus_beach", "prompt": "a beach"}
PARSED = {
    "objects": [["car", ["white and small", "yellow"]], ["dog", [None, None]]],
    "bg_prompt": "A photo",
    "neg_prompt": None,
}
SUGGESTED = [["yellow car #1", [0.1, 0.1, 0.2, 0.2]], ["dog #1", [0.5, 0.5, 0.504, 0.2]]]


def read(tmp_path, *entries):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    return read_entries(path, 30)


def test_an_entry_needs_a_picture_a_place_and_a_prompt(tmp_path):
    (entry,) = read(tmp_path, GOOD)
    assert entry == Entry(1, "beach", "lmdplus_beach", "a beach", None, None, None)


def test_replies_may_be_given(tmp_path):
    whole = {**GOOD, "generator": "dalle", "llm_parsed_prompt": PARSED}
    (entry,) = read(tmp_path, {**whole, "llm_layout_suggestions": SUGGESTED})
    assert entry.generator == "dalle" and entry.scene.background == "A photo"
    assert entry.scene.entries() == [
        ("car", ["white and small", "yellow"]), ("dog", [None, None]),
    ]  # fmt: skip
    checked = given_layout(entry, list(entry.scene.nouns), 30)
    assert [one.label.noun for one in checked.layout] == ["car", "dog"]
    assert checked.clamped == {"dog #1": [0.5, 0.5, 0.504, 0.2]}


def test_null_is_like_nothing(tmp_path):
    nulls = {"generator": None, "llm_parsed_prompt": None, "llm_layout_suggestions": None}
    assert read(tmp_path, {**GOOD, **nulls}) == read(tmp_path, GOOD)


WRONG = {
    "no object": ("beach", "expected an object"),
    "no prompt": ({**GOOD, "prompt": " "}, "prompt: expected a text"),
    "an unknown key": ({**GOOD, "llm_parsed_promt": None}, "unknown key 'llm_parsed_promt'"),
    "up": ({**GOOD, "input_fname": "../secret"}, "input_fname: '../secret' is no name inside"),
    "absolute": ({**GOOD, "output_dir": "/etc"}, "output_dir: '/etc' is no name inside"),
    "a generator": ({**GOOD, "generator": 3}, "generator: expected a name"),
    "no background": ({**GOOD, "llm_parsed_prompt": {"objects": []}}, "llm_parsed_prompt"),
    "objects": (
        {**GOOD, "llm_parsed_prompt": {**PARSED, "objects": [["car", 2]]}},
        "llm_parsed_prompt: 'car': expected one attribute",
    ),
    "31 objects": (
        {**GOOD, "llm_parsed_prompt": {**PARSED, "objects": [["car", [None] * 31]]}},
        "31 objects are too many",
    ),
    "the same place": ({**GOOD, "prompt": "another"}, "'lmdplus_beach' is that of entry 1"),
}  # fmt: skip


@pytest.mark.parametrize("defect", WRONG)
def test_a_wrong_entry_is_refused_alone(tmp_path, defect):
    wrong, reason = WRONG[defect]
    first, second, third = read(tmp_path, GOOD, wrong, {**GOOD, "output_dir": "third"})
    assert isinstance(first, Entry) and isinstance(third, Entry) and third.number == 3
    assert second.number == 2 and reason in second.reason and "entry 2" in second.reason


@pytest.mark.parametrize("text", ["{", '{"prompt": "a"}', '"a"'])
def test_a_file_that_holds_no_list_is_refused(tmp_path, text):
    (tmp_path / "data.json").write_text(text, encoding="utf-8")
    with pytest.raises(RecordError, match="data.json"):
        read_entries(tmp_path / "data.json", 30)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingDataError, match="none.json"):
        read_entries(tmp_path / "none.json", 30)


@pytest.mark.parametrize(
    "name",
    ["..", "../x", "a/../../x", "/x", "", ".", "a//b", "a\\..\\b", "C:/x", "a\0b", "a\nb", "x/"],
)
def test_names_that_lead_out_are_refused(name):
    with pytest.raises(ValueError, match="is no name inside a folder"):
        safe_name(name)


@pytest.mark.parametrize("name", ["x", "a/b", "..x", "été 1"])
def test_other_names_stay_as_they_are(name):
    assert safe_name(name) == name
