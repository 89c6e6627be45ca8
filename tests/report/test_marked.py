"""What is made stands between its markers, and nothing else of a page is touched."""

import pytest

from selma.core.errors import MissingDataError, RecordError
from selma.report.marked import replace_marked, write_marked

START, END = "<!-- results -->", "<!-- /results -->"


def test_only_what_stands_between_the_markers_is_replaced():
    text = f"before\n{START}\nold\n{END}\nafter <!-- other --><!-- /other -->\n"
    once = replace_marked(text, "results", "new\n", "README.md")
    assert once == text.replace("old", "new")
    assert replace_marked(once, "results", "new\n", "README.md") == once


@pytest.mark.parametrize("text", ["", START, f"{END}\n{START}", f"{START}{END}{START}{END}"])
def test_a_text_without_exactly_one_block_is_refused(text, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(RecordError, match=r"page.md: expected one line <!-- results -->"):
        write_marked(page, "results", "new\n")
    assert page.read_text() == text


def test_a_page_keeps_the_ends_of_its_lines_and_has_to_be_text(tmp_path):
    page = tmp_path / "page.md"
    page.write_bytes(f"a\r\n{START}\n{END}\r\n".encode())
    write_marked(page, "results", "new\n")
    assert page.read_bytes() == f"a\r\n{START}\nnew\n{END}\r\n".encode()
    page.write_bytes(b"\xff")
    with pytest.raises(RecordError, match=r"page.md: not a text in UTF-8"):
        write_marked(page, "results", "new\n")


def test_a_page_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingDataError, match="page.md: not found"):
        write_marked(tmp_path / "page.md", "results", "new\n")
