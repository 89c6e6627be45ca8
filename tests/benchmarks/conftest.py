from pathlib import Path

import pytest

from selma.core.errors import RecordError

PUBLIC = Path(__file__).parents[2].parent / "shared" / "data" / "eval"


@pytest.fixture
def public():
    """Find a public file by its name; the test is skipped where it is not."""

    def find(name):
        path = PUBLIC / name
        if not path.exists():
            pytest.skip(f"the public file {name} is not in {PUBLIC}")
        return path

    return find


@pytest.fixture
def refusal():
    """Give the one line by which an importer refuses a file."""

    def message(read, *arguments, **options):
        with pytest.raises(RecordError) as refused:
            read(*arguments, **options)
        return str(refused.value)

    return message
