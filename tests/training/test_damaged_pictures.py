import warnings

import pytest

from selma.core.errors import RecordError
from selma.training.moments import decode_pictures


def test_any_damaged_byte_of_the_header_is_a_record_error_that_names_the_picture(make_row):
    row = make_row("count", 0)
    whole = row["image"]["bytes"]
    for place in range(33):  # the signature and the header chunk of a PNG, all under checksums
        damaged = bytes([*whole[:place], whole[place] ^ 1, *whole[place + 1 :]])
        with (
            warnings.catch_warnings(action="ignore"),
            pytest.raises(RecordError, match="'count-0', sample 0: .* are not a whole picture"),
        ):
            decode_pictures([{**row, "image": {"bytes": damaged, "path": None}}], (16, 16))
