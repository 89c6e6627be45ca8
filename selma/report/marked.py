"""A text that is made, and its place in a page that people write: between two markers."""

from pathlib import Path

from selma.core.errors import MissingDataError, RecordError
from selma.core.files import write_bytes_atomic


def markers(name: str) -> tuple[str, str]:
    """Spell the lines between which the text of a name stands, as comments of Markdown."""
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def write_marked(page: Path, name: str, text: str) -> None:
    """Put a text, which ends with a line, between a page's markers, whole or not at all.

    MissingDataError: no such page. RecordError: it has not one such pair of markers, or is no text.
    """
    if not page.exists():
        raise MissingDataError(f"{page}: not found; it has to be there, with {markers(name)}")
    try:
        words = page.read_bytes().decode()  # with the ends of lines that it has
    except UnicodeDecodeError as error:
        raise RecordError(f"{page}: not a text in UTF-8 ({error})") from error
    written = replace_marked(words, name, text, str(page))
    write_bytes_atomic(page, written.encode())


def replace_marked(page: str, name: str, text: str, source: str) -> str:
    """Do what `write_marked` does in a page's words; `source` names it in errors."""
    start, end = markers(name)
    if page.count(start) != 1 or page.count(end) != 1 or page.index(start) > page.index(end):
        raise RecordError(f"{source}: expected one line {start} and, after it, one line {end}")
    before, rest = page.split(start)
    return f"{before}{start}\n{text}{end}{rest.split(end)[1]}"
