"""`selma import` writes a table that all stages read, or writes nothing and says why."""

import argparse
import subprocess
import sys

import pytest

from selma.benchmarks.importing import GIT_IDS, IMPORTERS, describe, git_id
from selma.commands import import_benchmark
from selma.core.errors import ConfigError, RecordError
from selma.core.tables import read_about, read_table


def run(*arguments):
    parser = argparse.ArgumentParser()
    import_benchmark.add_parser(parser.add_subparsers())
    args = parser.parse_args(["import", *map(str, arguments)])
    return args.run(args)


@pytest.mark.parametrize(
    ("name", "place", "prompts", "questions"),
    [
        ("dsg1k", "dsg-1k-anns.csv", 1060, 8182),
        ("geneval", "geneval", 553, 0),
        ("t2i-compbench", "t2i_compbench", 2400, 0),
    ],
)
def test_public_files_become_tables_that_say_what_they_are(
    tmp_path, monkeypatch, public, capsys, name, place, prompts, questions
):
    path = public(place)
    monkeypatch.chdir(tmp_path)
    assert run(name, path) is None
    out = tmp_path / "data/benchmarks" / f"{name}.parquet"
    rows = read_table(out, "benchmark")
    imported = IMPORTERS[name](path, partial=False)
    assert rows == sorted(imported.rows, key=lambda row: row["item_id"])
    about = read_about(out)
    assert (about["n_items"], about["n_questions"]) == (prompts, questions)
    assert (about["altered"], about["partial"]) == ([], False)
    assert set(about["git_ids"]) <= set(GIT_IDS)
    printed = capsys.readouterr().out
    assert f"{name}.parquet: {prompts} prompts, {questions} questions" in printed
    assert "not byte for byte" not in printed


def test_importing_twice_gives_the_same_bytes(tmp_path, public):
    first, second = tmp_path / "a.parquet", tmp_path / "b.parquet"
    for out in (first, second):
        run("hps", public("hpsv2"), "--partial", "--out", out)
    assert first.read_bytes() == second.read_bytes()


def test_a_part_is_called_one_in_print_and_in_the_table(tmp_path, public, capsys):
    out = tmp_path / "photo.parquet"
    run("hps", public("hpsv2"), "--partial", "--out", out)
    assert "800 of 3200 prompts" in capsys.readouterr().out
    about = read_about(out)
    assert (about["partial"], about["n_items"], about["n_published_items"]) == (True, 800, 3200)


def test_a_copy_with_other_bytes_is_told_from_the_public_file(tmp_path, public, capsys):
    path = tmp_path / "evaluation_metadata.jsonl"
    text = (public("geneval") / path.name).read_text()
    path.write_text(text.replace("a photo of a bench", "a photo of a beach"))
    run("geneval", path, "--out", tmp_path / "out.parquet")
    assert f"{path.name}: not byte for byte the public file" in capsys.readouterr().out
    assert read_about(tmp_path / "out.parquet")["altered"] == [path.name]


def test_the_id_of_a_file_is_the_one_git_gives_it(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"two lines\r\nof text\n")
    done = subprocess.run(
        ["git", "hash-object", "--no-filters", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert git_id(path.read_bytes()) == done.stdout.strip()


def test_a_bad_file_writes_nothing_and_keeps_the_old_table(tmp_path, public):
    lines = public("dsg-1k-anns.csv").read_bytes().splitlines(keepends=True)
    bad, out = tmp_path / "bad.csv", tmp_path / "out" / "dsg1k.parquet"
    bad.write_bytes(b"".join(lines[:100] + lines[101:]))
    with pytest.raises(RecordError, match=r"bad.csv: 2 problems: item .*: lacks question \d+; "):
        run("dsg1k", bad, "--out", out)
    assert not out.parent.exists()
    run("dsg1k", public("dsg-1k-anns.csv"), "--out", out)
    before = out.read_bytes()
    with pytest.raises(RecordError):
        run("dsg1k", bad, "--out", out, "--force")
    assert out.read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_table_that_is_there_is_kept_unless_forced(tmp_path, public):
    out = tmp_path / "geneval.parquet"
    out.write_text("something else")
    with pytest.raises(ConfigError, match="geneval.parquet: is there already; --force"):
        run("geneval", public("geneval"), "--out", out)
    assert out.read_text() == "something else"
    run("geneval", public("geneval"), "--out", out, "--force")
    assert len(read_table(out, "benchmark")) == 553


def test_a_name_that_is_no_tables_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    for out, words in (("x.txt", "ends in .parquet"), ("file/x.parquet", "its folder is a file")):
        with pytest.raises(ConfigError, match=words):
            run("geneval", tmp_path / "nowhere", "--out", tmp_path / out)


def test_an_unknown_benchmark_lists_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match="'dsg' .*choose one of: dsg1k, geneval, geneval2, hps"):
        run("dsg", tmp_path)


def test_describing_the_command_imports_nothing_heavy():
    code = (
        "import argparse, sys; from selma.commands import import_benchmark as c;"
        "c.add_parser(argparse.ArgumentParser().add_subparsers());"
        "print([m for m in ('pyarrow', 'torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_help_names_every_benchmark():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    import_benchmark.add_parser(commands)
    text = commands.choices["import"].format_help()
    assert [name for name in IMPORTERS if name not in text] == []


def test_files_without_a_known_id_are_not_called_altered(tmp_path):
    for style in ("anime", "concept-art", "paintings", "photo"):
        (tmp_path / f"{style}.txt").write_text("\n".join(f"{style} {n}" for n in range(800)))
    about = describe("hps", IMPORTERS["hps"](tmp_path, partial=False), partial=False)
    assert about["altered"] == []
    assert list(about["git_ids"]) == ["anime.txt", "concept-art.txt", "paintings.txt", "photo.txt"]
