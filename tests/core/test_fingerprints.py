import hashlib

import pytest

from selma.core.errors import MissingDataError
from selma.core.fingerprints import content_sha256, weights_revision


def test_one_weight_file_is_named_as_sha256sum_prints_it_and_several_by_their_digests(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"one")
    (tmp_path / "config.json").write_text("{}")
    one = hashlib.sha256(b"one")
    assert weights_revision(tmp_path) == f"sha256:{one.hexdigest()}"
    (tmp_path / "b.bin").write_bytes(b"two")
    both = hashlib.sha256(one.digest() + hashlib.sha256(b"two").digest()).hexdigest()
    assert weights_revision(tmp_path) == f"sha256:{both}"


def test_a_folder_s_hash_is_of_names_and_bytes_but_of_no_compiled_code(tmp_path):
    folder = tmp_path / "m"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/a").write_bytes(b"one")
    line = f"{hashlib.sha256(b'one').hexdigest()}  sub/a\n"
    expected = hashlib.sha256(line.encode()).hexdigest()
    assert content_sha256(folder) == expected
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/x.pyc").write_bytes(b"x")
    assert content_sha256(folder) == expected
    (folder / "sub/a").rename(folder / "sub/b")
    assert content_sha256(folder) != expected
    with pytest.raises(MissingDataError, match="nothing: no such file or folder"):
        content_sha256(tmp_path / "nothing")


def test_files_are_taken_by_their_names_whatever_the_folder_says_first(tmp_path, monkeypatch):
    from pathlib import Path

    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    expected, glob = weights_revision(tmp_path), Path.glob
    monkeypatch.setattr(Path, "glob", lambda *args: reversed(list(glob(*args))))
    assert weights_revision(tmp_path) == expected
