"""A folder stands for the benchmark tables in it."""

import pytest

from selma.benchmarks.folder import benchmark_files
from selma.core.errors import ConfigError, MissingDataError


@pytest.fixture
def folder(tmp_path):
    for name in ("tifa.parquet", "dsg1k.parquet", "dsg1k.parquet.part", "README.md"):
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_stands_for_its_tables_and_a_file_for_itself(folder, tmp_path):
    (folder / "more").mkdir()
    more = folder / "more" / "hps.parquet"
    more.touch()
    tables = [folder / "dsg1k.parquet", folder / "tifa.parquet"]
    assert benchmark_files([folder]) == tables
    assert benchmark_files([more, folder]) == sorted([*tables, more])
    assert benchmark_files([]) == []


def test_a_table_that_is_named_twice_is_given_once(folder):
    path = folder / "tifa.parquet"
    assert benchmark_files([path, folder, path]) == [folder / "dsg1k.parquet", path]


def test_a_path_without_tables_is_missing(folder):
    (folder / "empty").mkdir()
    for name in ("empty", "nowhere", "nowhere.parquet"):
        with pytest.raises(MissingDataError, match=f"{name}: no benchmark table"):
            benchmark_files([folder, folder / name])


def test_two_tables_of_one_name_are_refused_for_their_items_could_not_be_told_apart(folder):
    (folder / "more").mkdir()
    (folder / "more" / "tifa.parquet").touch()
    with pytest.raises(ConfigError, match="two benchmarks of one name"):
        benchmark_files([folder, folder / "more"])
