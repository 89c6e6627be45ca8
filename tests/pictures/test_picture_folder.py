"""A folder's pictures are matched to a benchmark, and what is wrong with it is named."""

import io

import numpy as np
import pytest
from PIL import Image

from selma.core.errors import MissingDataError, RecordError
from selma.pictures.checks import check_table
from selma.pictures.folder import read_pictures
from selma.pictures.png import decode_png, encode_png, picture_of

BENCHMARK = [
    {"item_id": item_id, "prompt": f"prompt {item_id}", "source": "set", "questions": []}
    for item_id in ("set_1", "set_2", "set_10")
]


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    for number, row in enumerate(BENCHMARK):
        Image.fromarray(noise(number)).save(tmp_path / f"{row['item_id']}.png")
    return tmp_path


def told(rows):
    return [(row["item_id"], row["sample"]) for row in rows]


def test_a_whole_folder_is_read_with_prompts_and_pixels(folder):
    found = read_pictures(folder, BENCHMARK)
    assert told(found.rows) == [("set_1", 0), ("set_10", 0), ("set_2", 0)]
    assert found.rows[2]["prompt"] == "prompt set_2"
    assert np.array_equal(picture_of(found.rows[2]), noise(1))
    assert found.n_wanted == 3


@pytest.mark.parametrize("pattern", ["{}_{}.png", "{}-{}.webp", "{}/{}.bmp"])
def test_samples_are_numbered_in_the_name_or_in_a_folder(tmp_path, pattern):
    seed = 0
    for row in BENCHMARK:
        for sample in (0, 1):
            path = tmp_path / pattern.format(row["item_id"], sample)
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(noise(seed := seed + 1)).save(path)
    found = read_pictures(tmp_path, BENCHMARK)
    assert (len(found.rows), found.n_wanted) == (6, 6)


def test_a_missing_a_doubled_and_a_black_picture_are_refused_by_name_all_at_once(folder):
    (folder / "set_10.png").unlink()
    Image.fromarray(noise(0)).save(folder / "set_1.jpg")
    Image.new("RGB", (8, 6)).save(folder / "set_2.png")
    message = (
        r"1 missing \(set_10/0\); 1 doubled \(set_1.png beside set_1.jpg\); 1 black \(set_2.png\)"
    )
    with pytest.raises(RecordError, match=message):
        read_pictures(folder, BENCHMARK)
    found = read_pictures(folder, BENCHMARK, allow_partial=True)
    assert (found.rows, found.n_wanted) == ([], 3)


def test_only_missing_pictures_are_missing_data(folder):
    (folder / "set_2.png").unlink()
    with pytest.raises(
        MissingDataError, match=r"of 3 pictures of the benchmark: 1 missing \(set_2/0"
    ):
        read_pictures(folder, BENCHMARK)
    assert told(read_pictures(folder, BENCHMARK, allow_partial=True).rows) == [
        ("set_1", 0),
        ("set_10", 0),
    ]


def test_the_same_pixels_for_two_items_are_found_and_neither_is_scored(folder):
    Image.fromarray(noise(0)).save(folder / "set_2.png", compress_level=1)
    with pytest.raises(RecordError, match=r"1 alike \(set_1.png = set_2.png\)"):
        read_pictures(folder, BENCHMARK)
    assert told(read_pictures(folder, BENCHMARK, allow_partial=True).rows) == [("set_10", 0)]


def test_a_stray_picture_is_refused_even_for_a_partial_score(folder):
    Image.fromarray(noise(9)).save(folder / "grid.png")
    with pytest.raises(RecordError, match=r"1 unknown \(grid.png\); name each picture as its item"):
        read_pictures(folder, BENCHMARK, allow_partial=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((6, 8, 3), np.nan, np.float32), "NaN or infinite"),
        (np.full((6, 8, 3), 2.0, np.float32), r"values in \[2, 2\], expected \[0, 1\]"),
        (np.zeros((6, 8), np.uint8), r"shape \(6, 8\), expected \(H, W, 3\)"),
    ],
)
def test_an_array_that_holds_no_colours_is_named(folder, values, message):
    (folder / "set_2.png").unlink()
    np.save(folder / "set_2.npy", values)
    with pytest.raises(RecordError, match=rf"1 unreadable \(set_2.npy: .*{message}"):
        read_pictures(folder, BENCHMARK)


def test_nan_in_a_picture_of_floats_is_named(folder):
    (folder / "set_2.png").unlink()
    Image.fromarray(np.full((6, 8), np.nan, np.float32)).save(folder / "set_2.tiff")
    with pytest.raises(RecordError, match="set_2.tiff: has values that are NaN"):
        read_pictures(folder, BENCHMARK)


def test_an_array_in_the_unit_range_is_a_picture(folder):
    (folder / "set_2.png").unlink()
    np.save(folder / "set_2.npy", noise(1) / np.float32(255))
    row = read_pictures(folder, BENCHMARK).rows[2]
    assert np.array_equal(picture_of(row), noise(1))


def test_a_cut_file_is_named_with_the_reason(folder):
    path = folder / "set_2.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(RecordError, match=r"1 unreadable \(set_2.png: "):
        read_pictures(folder, BENCHMARK)


@pytest.mark.parametrize("suffix", [".gif", ".SVG"])
def test_a_format_that_is_not_supported_is_named_and_not_called_missing(folder, suffix):
    (folder / "set_2.png").rename(folder / f"set_2{suffix}")
    (folder / f"set_1{suffix}").write_bytes(b"beside set_1.png")
    (folder / f"plot{suffix}").write_bytes(b"of no item")
    message = rf"picture.*: 1 unreadable \(set_2{suffix}: {suffix} is not a supported format; save"
    with pytest.raises(RecordError, match=message):
        read_pictures(folder, BENCHMARK)
    assert told(read_pictures(folder, BENCHMARK, allow_partial=True).rows) == [
        ("set_1", 0),
        ("set_10", 0),
    ]


def test_the_channel_of_transparency_is_dropped():
    picture = np.random.default_rng(0).integers(0, 256, (5, 5, 4), dtype=np.uint8)
    assert np.array_equal(decode_png(encode_png(picture), "x"), picture[:, :, :3])


@pytest.mark.parametrize("data", [b"", b"not a picture", encode_png(noise(0))[:60]])
def test_bytes_that_are_no_whole_picture_are_named_once(data):
    broken = {**sample("set_1", noise(1)), "image": {"bytes": data, "path": None}}
    message = rf"1 unreadable \(set_1/0: {len(data)} bytes are not a whole picture"
    with pytest.raises(RecordError, match=message):
        check_table("t.parquet", [broken], BENCHMARK[:1])


def test_a_folder_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(MissingDataError, match="no such folder"):
        read_pictures(tmp_path / "none", BENCHMARK)


def sample(item_id, pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    image = {"bytes": buffer.getvalue(), "path": None}
    return {"item_id": item_id, "sample": 0, "image": image, "prompt": f"prompt {item_id}"}


def test_a_table_of_samples_is_looked_at_in_the_same_way():
    samples = [sample("set_1", noise(1)), sample("set_2", 0 * noise(1)), sample("set_10", noise(2))]
    with pytest.raises(RecordError, match=r"t.parquet: of 3 .*1 black \(set_2/0\)"):
        check_table("t.parquet", samples, BENCHMARK)
    assert told(check_table("t.parquet", samples, BENCHMARK, allow_partial=True).rows) == [
        ("set_1", 0),
        ("set_10", 0),
    ]
    with pytest.raises(RecordError, match=r"1 unknown \(set_1/0\)"):
        check_table("t.parquet", samples, BENCHMARK[1:])


def test_where_questions_are_asked_an_item_without_any_needs_no_picture(folder):
    (folder / "set_2.png").unlink()
    asked = [{**row, "questions": [{}] if row["item_id"] != "set_2" else []} for row in BENCHMARK]
    found = read_pictures(folder, asked, only_asked=True)
    assert (len(found.rows), found.n_wanted) == (2, 2)
    with pytest.raises(MissingDataError, match="set_2/0"):
        read_pictures(folder, asked)


def test_a_table_that_was_drawn_for_other_words_is_refused():
    samples = [{**sample("set_1", noise(1)), "prompt": "other words"}]
    with pytest.raises(RecordError, match="'set_1' was drawn for 'other words'.*'prompt set_1'"):
        check_table("t.parquet", samples, BENCHMARK[:1])


def test_two_items_with_one_prompt_may_share_the_picture_that_one_seed_draws(folder):
    Image.fromarray(noise(0)).save(folder / "set_2.png")
    same = [{**row, "prompt": "one prompt"} for row in BENCHMARK]
    assert len(read_pictures(folder, same).rows) == 3
    Image.fromarray(noise(0)).save(folder / "set_2_1.png")
    with pytest.raises(RecordError, match=r"1 alike \(set_1.png = set_2.png = set_2_1.png\)"):
        read_pictures(folder, same)


def test_what_systems_hide_in_folders_is_no_picture(folder):
    (folder / "__MACOSX").mkdir()
    for name in ("._set_1.png", "__MACOSX/set_1.png", ".DS_Store"):
        (folder / name).write_bytes(b"not a picture")
    assert len(read_pictures(folder, BENCHMARK).rows) == 3


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04"])
def test_an_array_file_that_is_broken_is_named(folder, content):
    (folder / "set_2.png").unlink()
    (folder / "set_2.npy").write_bytes(content)
    with pytest.raises(RecordError, match="1 unreadable .*set_2.npy"):
        read_pictures(folder, BENCHMARK)
