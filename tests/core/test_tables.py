import json
import math
import random
import resource
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.core.tables import content_hash, read_about, read_table, stream_table, write_table


def score(item_id="a", sample=0, **changes):
    return {"item_id": item_id, "sample": sample, "source": "s", "score": 0.5} | {
        "weight": 1.0,
        "details": "{}",
        **changes,
    }


def picture(item_id="a", sample=0):
    return {
        "item_id": item_id,
        "sample": sample,
        "image": {"bytes": b"\x89PNG" + bytes([sample]), "path": None},
        "prompt": "ein roter Hund 🐕",
        "seed": 2**63 - 1,
        "width": 32,
        "height": 32,
        "sha256": "0" * 64,
    }


NOISE = random.Random(0).randbytes(4000)
QUESTION = {
    "question_id": 1,
    "question": "is there a cat?",
    "choices": ["yes", "no"],
    "answer": "yes",
    "dependency": "0",
    "category": "presence",
    "element": "",
}
ROWS = {
    "prompts": [
        {
            "prompt_id": f"count-{k}",
            "skill": "count",
            "prompt": "two cats",
            "index": k,
            "request_id": 3,
            "nearest_prompt_id": None if k == 0 else "count-0",
            "rouge_l": 0.25,
            "nearest_benchmark_id": None,
            "benchmark_rouge_l": 0.0,
            "benchmark_kind": None,
        }
        for k in range(3)
    ],
    "samples": [picture("a", 0), picture("a", 1), picture("b", 0)],
    "images": [
        {"prompt_id": "p", **{k: v for k, v in picture().items() if k != "item_id"}},
    ],
    "benchmark": [
        {"item_id": "a", "prompt": "a cat", "source": "common", "questions": []},
        {
            "item_id": "b",
            "prompt": "a cat",
            "source": "count",
            "questions": [QUESTION, {**QUESTION, "question_id": 2, "dependency": "1"}],
        },
    ],
    "answers": [
        {
            "item_id": "a",
            "sample": 0,
            "question_id": k,
            "judge": "pocket",
            "revision": "1",
            "sha256": "0" * 64,
            "raw_answer": "Yes.",
            "answer": "yes",
        }
        for k in range(2)
    ],
    "scores": [score("a", 0), score("a", 1), score("a", 10), score("b", 0)],
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "table.parquet"


@pytest.mark.parametrize("kind", ROWS)
def test_every_kind_of_table_comes_back_as_it_was_written(path, kind):
    write_table(path, kind, ROWS[kind])
    assert read_table(path, kind) == ROWS[kind]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("kind", ROWS)
def test_an_empty_table_can_be_written_and_read(path, kind):
    write_table(path, kind, [])
    assert read_table(path, kind) == []


@pytest.mark.parametrize("kind", ROWS)
def test_rows_in_another_order_give_the_same_bytes_and_hash(path, kind, tmp_path):
    backwards = [dict(reversed(row.items())) for row in reversed(ROWS[kind])]
    write_table(path, kind, ROWS[kind])
    write_table(tmp_path / "other.parquet", kind, iter(backwards))
    assert path.read_bytes() == (tmp_path / "other.parquet").read_bytes()
    assert content_hash(ROWS[kind], kind) == content_hash(backwards, kind)
    assert content_hash(ROWS[kind][1:], kind) != content_hash(ROWS[kind], kind)


def test_the_file_tells_datasets_that_a_column_holds_pictures(path):
    write_table(path, "samples", ROWS["samples"])
    features = json.loads(pq.read_schema(path).metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["seed"] == {"dtype": "int64", "_type": "Value"}
    assert list(pq.read_schema(path).names) == list(picture())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": math.nan}, "column score: expected a finite number, got nan"),
        ({"score": math.inf}, "column score: expected a finite number, got inf"),
        ({"score": "0.5"}, r"column score: expected a number, got '0\.5' \(str\)"),
        ({"score": None}, r"column score: expected a number, got None"),
        ({"score": True}, r"column score: expected a number, got True"),
        ({"score": Decimal("0.5")}, r"column score: expected a number, got Decimal\('0\.5'\)"),
        ({"score": np.True_}, r"column score: expected a number, got np\.True_ \(bool\)"),
        ({"sample": 1.0}, r"column sample: expected an integer, got 1\.0"),
        ({"sample": 2**63}, "column sample: expected a 64-bit integer"),
        ({"details": {}}, r"column details: expected a string, got \{\} \(dict\)"),
        ({"extra": 1}, "the row must have exactly item_id, .*, details; .*unknown: extra$"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_and_nothing_is_written(path, change, message):
    with pytest.raises(RecordError, match=message) as told:
        write_table(path, "scores", [score("a"), score("b", **change)])
    assert str(told.value).startswith(f"{path}: row item_id='b', sample=")
    assert not path.parent.exists()


def test_a_missing_column_is_refused_by_name(path):
    with pytest.raises(RecordError, match="row sample=0: the row must have .*unknown: item_id"):
        write_table(path, "scores", [{k: v for k, v in score().items() if k != "item_id"}])


def test_nested_values_are_checked_too(path):
    wrong = {**QUESTION, "choices": [1]}
    with pytest.raises(RecordError, match=r"row item_id='b': column questions\[\]\.choices\[\]: "):
        write_table(path, "benchmark", [{**ROWS["benchmark"][1], "questions": [wrong]}])
    short = {**QUESTION, "answers": "yes"}
    with pytest.raises(RecordError, match=r"column questions\[\] must have exactly question_id, "):
        write_table(path, "benchmark", [{**ROWS["benchmark"][1], "questions": [short]}])
    with pytest.raises(RecordError, match=r"column questions: expected a list, got \(1,\) \(tuple"):
        write_table(path, "benchmark", [{**ROWS["benchmark"][1], "questions": (1,)}])
    with pytest.raises(RecordError, match=r"column image: expected a record, got b''"):
        write_table(path, "samples", [{**picture(), "image": b""}])
    with pytest.raises(RecordError, match=r"column image\.bytes: expected bytes, got 'x'"):
        write_table(path, "samples", [{**picture(), "image": {"bytes": "x", "path": None}}])
    with pytest.raises(RecordError, match=r"column image must have exactly bytes, path; .*: path$"):
        write_table(path, "samples", [{**picture(), "image": {"bytes": b""}}])


def test_a_key_that_occurs_twice_is_refused(path):
    with pytest.raises(RecordError, match="row item_id='a', sample=0: the key occurs twice"):
        write_table(path, "scores", [score("a", 0), score("b", 0), score("a", 0)])


def test_whole_numbers_are_allowed_as_scores(path):
    write_table(path, "scores", [score(score=1)])
    assert read_table(path, "scores")[0]["score"] == 1.0


def test_a_refused_write_leaves_the_old_table(path):
    write_table(path, "scores", [score()])
    before = path.read_bytes()
    with pytest.raises(RecordError):
        write_table(path, "scores", [score(score=math.nan)])
    assert path.read_bytes() == before


def test_a_missing_table_says_what_to_run(path):
    with pytest.raises(MissingDataError, match="table.parquet: no such file; run `dvc pull` or"):
        read_table(path, "scores")


def test_an_unknown_kind_lists_the_kinds(path):
    with pytest.raises(ConfigError, match="unknown table kind 'score'.*scores"):
        read_table(path, "score")


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_a_truncated_table_is_refused_in_one_line(path, size):
    write_table(path, "samples", ROWS["samples"])
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(RecordError, match="table.parquet: cannot be read as Parquet") as told:
        read_table(path, "samples")
    assert "\n" not in str(told.value)


def test_a_flipped_bit_is_never_read_as_data(path):
    write_table(path, "samples", ROWS["samples"])
    data = path.read_bytes()
    for place in range(0, len(data), 31):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        try:
            rows = read_table(path, "samples")
        except RecordError:
            continue
        assert rows == ROWS["samples"]


def test_a_table_of_another_kind_is_refused_with_all_columns(path):
    write_table(path, "scores", [score()])
    with pytest.raises(RecordError, match="column question_id is missing; .*score is unknown"):
        read_table(path, "answers")


def test_a_column_of_another_type_is_refused(path):
    path.parent.mkdir()
    pq.write_table(pa.Table.from_pylist([score(sample="0")]), path)
    with pytest.raises(RecordError, match="column sample is string, expected int64"):
        read_table(path, "scores")


def test_a_foreign_file_with_a_nan_or_a_null_is_refused(path):
    path.parent.mkdir()
    for value in (math.nan, None):
        table = pa.Table.from_pylist([score(), score("b", score=value)])
        pq.write_table(table, path)
        with pytest.raises(RecordError, match="row item_id='b', sample=0: column score"):
            read_table(path, "scores")


def test_what_a_table_is_about_is_kept_in_the_file_and_does_not_change_its_rows(path, tmp_path):
    about = {"metric": "dsg", "libraries": {"torch": "2.13.0"}, "coverage": 1.0}
    write_table(path, "scores", ROWS["scores"], about)
    assert read_about(path) == about
    assert read_table(path, "scores") == ROWS["scores"]
    write_table(tmp_path / "plain.parquet", "scores", ROWS["scores"])
    assert read_about(tmp_path / "plain.parquet") == {}


def test_pictures_keep_their_note_for_datasets_beside_what_the_table_is_about(path):
    write_table(path, "samples", ROWS["samples"], {"model": "base"})
    assert read_about(path) == {"model": "base"}
    assert b"huggingface" in pq.read_schema(path).metadata


def test_what_a_missing_table_is_about_cannot_be_read(path):
    with pytest.raises(MissingDataError, match="no such file"):
        read_about(path)


def test_a_table_that_cannot_be_put_in_place_leaves_nothing_behind(path):
    path.mkdir(parents=True)
    with pytest.raises(OSError):
        write_table(path, "scores", ROWS["scores"])
    assert list(path.parent.iterdir()) == [path]


def test_a_table_over_two_gibibytes_comes_back(path):
    pixels = bytes(2**26)
    rows = ({**picture(f"{n:02d}"), "image": {"bytes": pixels, "path": None}} for n in range(33))
    write_table(path, "samples", rows)
    assert path.stat().st_size < 2**20
    back = read_table(path, "samples")
    assert [row["item_id"] for row in back] == [f"{n:02d}" for n in range(33)]
    assert all(row["image"]["bytes"] == pixels for row in back)


def test_row_groups_are_bounded_in_rows_and_in_bytes_of_pictures(path, tmp_path):
    write_table(path, "scores", (score(f"{n:04d}") for n in range(2001)))
    assert groups_of(path) == [1000, 1000, 1]
    pixels = bytes(2**25)
    rows = ({**picture(f"{n}"), "image": {"bytes": pixels, "path": None}} for n in range(5))
    write_table(tmp_path / "pictures.parquet", "samples", rows)
    assert groups_of(tmp_path / "pictures.parquet") == [2, 2, 1]


def groups_of(path):
    metadata = pq.read_metadata(path)
    return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


def test_a_write_that_breaks_off_leaves_the_old_table_and_no_part(path):
    """The process may write files of 1 MiB at most, so the disk is full in the middle."""
    write_table(path, "samples", ROWS["samples"])
    before = path.read_bytes()
    noise = random.Random(0).randbytes(3 * 2**20)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_table(path, "samples", [{**picture(), "image": {"bytes": noise, "path": None}}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_new_table_is_not_there_before_it_is_whole(path):
    write_table(path, "scores", [score()])
    inode = path.stat().st_ino
    write_table(path, "scores", [score(), score("b")])
    assert path.stat().st_ino != inode


def test_a_byte_changed_inside_a_picture_breaks_the_pages_checksum(path):
    write_table(path, "samples", [{**picture(), "image": {"bytes": NOISE, "path": None}}])
    data = path.read_bytes()
    at = data.index(NOISE[1000:1100]) + 50  # zstd keeps noise as it is, so it decodes all the same
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(RecordError, match="checksum verification failed"):
        read_table(path, "samples")


def test_a_streamed_table_is_the_table_and_is_checked_before_its_first_row(tmp_path):
    path = tmp_path / "scores.parquet"
    rows = [score(sample=number) for number in range(250)]
    write_table(path, "scores", rows)
    assert list(stream_table(path, "scores")) == read_table(path, "scores")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(RecordError, match="cut short"):
        stream_table(path, "scores")
    with pytest.raises(MissingDataError, match="no such file"):
        stream_table(tmp_path / "none", "scores")


def test_a_streamed_table_whose_keys_are_out_of_order_is_refused(tmp_path):
    path = tmp_path / "scores.parquet"
    write_table(path, "scores", [score(sample=number) for number in range(250)])
    table = pq.read_table(path)
    pq.write_table(table.take(list(range(249, -1, -1))), path)
    with pytest.raises(RecordError, match="expected each key once and in order"):
        list(stream_table(path, "scores"))


def test_a_file_is_a_table_of_its_own_kind_alone(tmp_path):
    from selma.core.tables import is_table

    path = tmp_path / "t.parquet"
    write_table(path, "prompts", [])
    assert is_table(path, "prompts")
    assert not is_table(path, "images")
    path.write_text("no table")
    assert not is_table(path, "prompts")
    assert not is_table(tmp_path / "none", "prompts")


def test_what_is_said_about_a_table_has_the_same_bytes_in_any_order(tmp_path):
    for name, about in (("one", {"b": 1, "a": 2}), ("other", {"a": 2, "b": 1})):
        write_table(tmp_path / name, "prompts", [], about)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
