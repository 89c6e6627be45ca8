"""A user's pairs are read as they are, and all that is wrong with them is told in one line."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from selma.core.errors import MissingDataError, RecordError
from selma.sources.pairs import fitted, read_folder, read_parquet


def picture(grey, size=(4, 4)):
    return Image.fromarray(np.full((size[1], size[0], 3), grey, np.uint8))


@pytest.fixture
def folder(tmp_path):
    """Three pictures, the first in a folder below; captions are texts beside them."""
    (tmp_path / "below").mkdir()
    for number, name in enumerate(("below/a.png", "b.jpg", "c.webp")):
        picture(50 * number + 10).save(tmp_path / name)
        (tmp_path / name).with_suffix(".txt").write_text(f" caption {number}\n")
    return tmp_path


def told(read, path, kind=RecordError):
    with pytest.raises(kind) as caught:
        read(path, None)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message


def test_texts_beside_the_pictures_are_their_captions(folder):
    pairs = read_folder(folder, None)
    assert [(pair.name, pair.caption) for pair in pairs] == [
        ("b.jpg", "caption 1"), ("below/a.png", "caption 0"), ("c.webp", "caption 2")
    ]  # fmt: skip
    assert pairs[1].picture.shape == (4, 4, 3) and (pairs[1].picture == 10).all()


def as_captions_file(folder, kind, column):
    rows = []
    for path in sorted(folder.rglob("*.txt")):
        (image,) = (p for p in path.parent.glob(f"{path.stem}.*") if p != path)
        rows.append({
            "file_name": image.relative_to(folder).as_posix(), column: path.read_text().strip()
        })  # fmt: skip
        path.unlink()
    with (folder / f"metadata.{kind}").open("w", newline="") as file:
        if kind == "csv":
            writer = csv.DictWriter(file, ["file_name", column])
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("column", ["text", "caption", "prompt"])
def test_a_captions_file_says_the_same(folder, kind, column):
    before = [(pair.name, pair.caption) for pair in read_folder(folder, None)]
    as_captions_file(folder, kind, column)
    assert [(pair.name, pair.caption) for pair in read_folder(folder, None)] == before


def test_every_offender_of_every_kind_is_named_in_one_line(folder):
    picture(200).save(folder / "d.png")  # no caption
    picture(210).save(folder / "e.png")
    (folder / "e.txt").write_text("  \n")  # an empty one
    (folder / "f.txt").write_text("of no picture")
    (folder / "g.png").write_bytes((folder / "below/a.png").read_bytes())
    (folder / "g.txt").write_text("its own")  # the picture of another
    picture(220).save(folder / "h.png")
    (folder / "h.txt").write_text("caption 1")  # the caption of another
    (folder / "i.png").write_bytes(b"\x89PNG cut")
    (folder / "i.txt").write_text("broken")
    message = told(read_folder, folder)
    for words in (
        "of 8 pictures", "2 without a caption (d.png, e.png)",
        "1 captions without a picture (f.txt)", "1 the same as another (below/a.png = g.png)",
        "1 with the caption of another (b.jpg = h.png)", "1 that cannot be read (i.png: ",
    ):  # fmt: skip
        assert words in message


def test_a_picture_with_two_captions_is_an_offender(folder):
    (folder / "metadata.csv").write_text("file_name,text\nb.jpg,another\nc.webp,x\nc.webp,y\n")
    message = told(read_folder, folder)
    assert "2 with several captions (b.jpg, c.webp)" in message


def test_a_captions_file_that_is_none_is_told(folder):
    (folder / "metadata.csv").write_text("name,text\na,b\n")
    assert "has the columns name, text; expected file_name and one of" in told(read_folder, folder)
    (folder / "metadata.csv").unlink()
    (folder / "metadata.jsonl").write_text('{"file_name": "b.jpg", "text": "x"}\n{"cut')
    with pytest.raises(RecordError, match=r"metadata\.jsonl:2: not JSON"):
        read_folder(folder, None)


def test_what_an_editor_hides_is_no_picture_and_a_caption_may_hold_any_character(folder):
    (folder / ".ipynb_checkpoints").mkdir()
    picture(10).save(folder / ".ipynb_checkpoints/a.png")
    (folder / "b.txt").unlink()
    line = json.dumps({"file_name": "b.jpg", "text": "one\u2028two"}, ensure_ascii=False)
    (folder / "metadata.jsonl").write_text(line + "\r\n", encoding="utf-8")
    assert [pair.caption for pair in read_folder(folder, None)][0] == "one two"


def test_a_folder_without_pictures_or_no_folder(tmp_path):
    assert "holds no picture" in told(read_folder, tmp_path)
    assert "no such folder" in told(read_folder, tmp_path / "x", MissingDataError)


def test_a_phones_picture_is_turned_as_its_camera_says(tmp_path):
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[:, :2] = 250  # bright on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right: what is left comes to the top
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    (tmp_path / "a.txt").write_text("a")
    found = read_folder(tmp_path, None)[0].picture
    assert found.shape == (4, 2, 3) and found[:2].min() == 250 and found[2:].max() == 0


def test_a_picture_is_cut_to_its_middle_and_resized():
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 200  # its central square
    assert (fitted(wide, 2) == np.full((2, 2, 3), 200)).all()
    assert fitted(wide, None) is wide


def parquet(path, images, column="text", captions=("a", "b")):
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"image": images, column: list(captions)}), path)
    return path


def encoded(folder, name):
    return (folder / name).read_bytes()


def test_a_parquet_file_holds_bytes_or_hugging_faces_images(folder, tmp_path):
    data = [encoded(folder, "below/a.png"), encoded(folder, "c.webp")]
    plain = read_parquet(parquet(tmp_path / "out/p.parquet", data), None)
    nested = [{"bytes": one, "path": None} for one in data]
    hugging = read_parquet(parquet(tmp_path / "out/h.parquet", nested, "caption"), None)
    for pairs in (plain, hugging):
        assert [(pair.name, pair.caption) for pair in pairs] == [("row 0", "a"), ("row 1", "b")]
        assert (pairs[0].picture == 10).all() and pairs[1].picture.shape == (4, 4, 3)


def test_what_is_wrong_with_a_parquet_file_is_told_as_of_a_folder(folder, tmp_path):
    data = [encoded(folder, "below/a.png")] * 2
    message = told(read_parquet, parquet(tmp_path / "out/p.parquet", data, captions=("a", None)))
    assert "1 without a caption (row 1)" in message
    assert "1 the same as another (row 0 = row 1)" in message
    (tmp_path / "out/q.parquet").write_bytes(b"PAR1 cut")
    assert "cannot be read as Parquet" in told(read_parquet, tmp_path / "out/q.parquet")
    assert "no such file" in told(read_parquet, tmp_path / "out/r.parquet", MissingDataError)
    several = parquet(tmp_path / "out/s.parquet", data, captions=("a", "b"), column="caption")
    lists = pa.array([["a", "b"], ["c"]])
    pq.write_table(pq.read_table(several).set_column(1, "caption", lists), several)
    assert "row 0: expected a text caption, got ['a', 'b']" in told(read_parquet, several)
