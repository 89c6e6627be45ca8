import numpy as np
import pytest

from selma.core.tables import write_table
from selma.diffusion.drawing import batch_drawer, draw_resumably
from selma.diffusion.requests import Request, make_requests, picture_row

REQUESTS = make_requests({f"i{k}": f"cat {k}" for k in range(7)}, 1, 0, "samples", "x")


class Draw:
    """Draws a picture from the seed, and dies before the batch number `dies_at`."""

    def __init__(self, dies_at=None):
        self.batches = []
        self.dies_at = dies_at

    def __call__(self, batch):
        if len(self.batches) == self.dies_at:
            raise KeyboardInterrupt
        self.batches.append([request.item_id for request in batch])
        return [np.full((2, 2, 3), request.seed % 251, np.uint8) for request in batch]


def run(directory, draw, requests=REQUESTS):
    told = []
    rows = draw_resumably(requests, draw, directory, 3, told.append)
    assert sum(told) == len(requests)
    return rows


def test_all_requests_are_drawn_in_batches_sorted_by_key(tmp_path):
    draw = Draw()
    rows = run(tmp_path, draw, REQUESTS[::-1])
    assert draw.batches == [["i0", "i1", "i2"], ["i3", "i4", "i5"], ["i6"]]
    assert [row["item_id"] for row in rows] == [f"i{k}" for k in range(7)]
    assert rows[0] == picture_row(REQUESTS[0], np.full((2, 2, 3), REQUESTS[0].seed % 251, np.uint8))


def test_a_restart_draws_only_what_is_missing_and_ends_in_the_same_bytes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "work", Draw(dies_at=2))
    again = Draw()
    write_table(tmp_path / "resumed.parquet", "samples", run(tmp_path / "work", again))
    assert again.batches == [["i6"]]
    write_table(tmp_path / "whole.parquet", "samples", run(tmp_path / "other", Draw()))
    resumed, whole = (tmp_path / f"{name}.parquet" for name in ("resumed", "whole"))
    assert resumed.read_bytes() == whole.read_bytes()


def test_a_damaged_batch_is_drawn_again(tmp_path):
    rows = run(tmp_path, Draw())
    file = tmp_path / "batch-000001.parquet"
    file.write_bytes(file.read_bytes()[:100])
    again = Draw()
    assert run(tmp_path, again) == rows
    assert again.batches == [["i3", "i4", "i5"]]


def test_a_batch_of_other_requests_is_drawn_again(tmp_path):
    run(tmp_path, Draw())
    other = [Request("i0", 0, "a dog", 1), *REQUESTS[1:]]
    again = Draw()
    assert run(tmp_path, again, other)[0]["prompt"] == "a dog"
    assert again.batches == [["i0", "i1", "i2"]]


def test_a_killed_run_of_a_real_backbone_ends_in_the_same_rows(tmp_path, backbone):
    draw = batch_drawer(backbone, guidance_scale=2.0, inference_steps=2)
    whole = run(tmp_path / "whole", draw)
    for number in (0, 2):
        path = tmp_path / "part" / f"batch-{number:06d}.parquet"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((tmp_path / "whole" / path.name).read_bytes())
    assert run(tmp_path / "part", draw) == whole
    assert len({row["sha256"] for row in whole}) == len(whole)
