"""Benchmarks that are prompts alone: every prompt has its published place, or nothing is read."""

import json
from collections import Counter

import pytest

from selma.benchmarks.prompt_sets import (
    CATEGORIES,
    COLUMNS,
    STYLES,
    TAGS,
    import_compbench,
    import_geneval,
    import_geneval2,
    import_hps,
    import_partiprompts,
)
from selma.core.errors import ConfigError, MissingDataError, RecordError

PARTI_ROWS = [
    ("bond", "Abstract", "Basic", "Biology-inspired concepts with multiple meanings"),
    ('"G I G G L E" painted on a wall', "Illustrations", "Writing & Symbols", ""),
    (" A sloth in a go kart. ", "Animals", "Fine-grained Detail", ""),
    ("dogs", "Animals", "Imagination", 'Description of "Dogs Playing Poker"'),
]


def prompts(rows):
    return {row["item_id"]: row["prompt"] for row in rows}


def write_hps(folder, styles=STYLES):
    for style in styles:
        texts = [f"{style} picture {n}\nin two lines" for n in range(800)]
        (folder / f"{style}.json").write_text(json.dumps(texts))
    return folder


def write_compbench(folder):
    for category in CATEGORIES:
        text = "".join(f"a {category} prompt {n}\r\n" for n in range(300))
        (folder / f"{category}_val.txt").write_text(text.removesuffix("\r\n"), newline="")
    return folder


def write_geneval(folder):
    entries = [
        {"tag": tag, "include": [{"class": "dog", "count": 1}], "prompt": f"{tag} {n}"}
        for tag, count in TAGS.items()
        for n in range(count)
    ]
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (folder / "evaluation_metadata.jsonl").write_text(text)
    return folder


def write_geneval2(folder):
    entries = [
        {
            "prompt": f"{atoms} atoms {n}",
            "atom_count": atoms,
            "vqa_list": [["How many dogs are in the image?", "two"], ["Are they red?", "Yes"]],
            "skills": ["count", "attribute"],
        }
        for n in range(100)
        for atoms in range(3, 11)
    ]
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (folder / "geneval2_data.jsonl").write_text(text)
    return folder


def write_partiprompts(folder):
    rows = [COLUMNS, *PARTI_ROWS] + [PARTI_ROWS[0]] * (1632 - len(PARTI_ROWS))
    text = "".join("\t".join(row) + "\n" for row in rows)
    (folder / "PartiPrompts.tsv").write_text(text, encoding="utf-8")
    return folder


def edit(path, old, new):
    """Change one place of a file."""
    data = path.read_bytes()
    assert data.count(old) >= 1
    path.write_bytes(data.replace(old, new, 1))


def test_all_styles_of_hps_are_read_from_lists_with_their_line_breaks(tmp_path):
    imported = import_hps(write_hps(tmp_path), partial=False)
    texts = prompts(imported.rows)
    assert (len(texts), imported.published_items) == (3200, 3200)
    assert texts["concept-art/00007"] == "concept-art picture 7\nin two lines"
    assert Counter(row["source"] for row in imported.rows) == dict.fromkeys(STYLES, 800)
    assert {len(row["questions"]) for row in imported.rows} == {0}


def test_the_photo_style_alone_is_read_in_its_published_order_when_a_part_is_asked_for(public):
    imported = import_hps(public("hpsv2"), partial=True)
    texts = prompts(imported.rows)
    assert (len(texts), imported.published_items) == (800, 3200)
    assert texts["photo/00165"] == "Large dog looking at television show in living room."
    last = (public("hpsv2") / "photo_50.txt").read_text().splitlines()[-1]
    assert texts["photo/00799"] == last
    with pytest.raises(RecordError, match="anime: expected anime.json.*or say --partial"):
        import_hps(public("hpsv2"), partial=False)


def test_a_style_is_read_from_lines_too_and_blank_lines_are_none(tmp_path):
    folder = write_hps(tmp_path, STYLES[:3])
    (folder / "photo.txt").write_text("\n\n".join(f"photo picture {n}" for n in range(800)))
    texts = prompts(import_hps(folder, partial=False).rows)
    assert texts["photo/00799"] == "photo picture 799"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: (f / "anime.json").unlink(), "anime: expected anime.json or anime.txt, there"),
        (lambda f: edit(f / "photo.json", b'"photo picture 9\\nin two lines", ', b""),
         "photo: expected 800 prompts, got 799"),
        (lambda f: edit(f / "photo.json", b'"photo picture 9\\nin two lines"', b"17"),
         "photo.json entry 9: expected a text, got 17"),
        (lambda f: edit(f / "photo.json", b'"photo picture 9\\nin two lines"', b'" "'),
         "photo.json entry 9: expected a text, got ' '"),
        (lambda f: edit(f / "photo.json", b"]", b""), "photo.json file: not JSON at line 1 column"),
        (lambda f: (f / "photo.txt").write_text("one"), "photo: is there in more than one form"),
        (lambda f: (f / "photo.json").write_text('{"0": "a"}'),
         "photo.json file: expected a JSON list that is not empty, got {'0': 'a'}"),
    ],
    ids=["style", "prompt", "number", "empty", "cut", "forms", "object"],
)  # fmt: skip
@pytest.mark.parametrize("partial", [False, True])
def test_a_damaged_folder_of_hps_is_refused_by_file_and_entry(
    tmp_path, refusal, damage, told, partial
):
    damage(write_hps(tmp_path))
    if partial and "anime" in told:
        assert len(import_hps(tmp_path, partial=True).rows) == 2400
    else:
        assert told in refusal(import_hps, tmp_path, partial=partial)


def test_half_of_a_divided_style_has_no_places_and_is_refused(tmp_path, refusal):
    (tmp_path / "photo_50.txt").write_text("\n".join(f"prompt {n}" for n in range(50)))
    message = refusal(import_hps, tmp_path, partial=True)
    assert "photo_750.txt file: is missing" in message
    assert "photo: expected 800 prompts, got 50" in message


def test_public_compbench_keeps_category_and_line_of_each_prompt(public):
    imported = import_compbench(public("t2i_compbench"), partial=False)
    texts = prompts(imported.rows)
    assert (len(texts), imported.published_items) == (2400, 2400)
    assert texts["color/00000"] == "a green bench and a blue bowl"
    assert texts["numeracy/00002"] == "five drums"
    assert not any(text.endswith(("\r", "\n")) for text in texts.values())
    assert Counter(row["source"] for row in imported.rows) == dict.fromkeys(CATEGORIES, 300)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: (f / "shape_val.txt").unlink(), "shape_val.txt file: is missing"),
        (lambda f: edit(f / "shape_val.txt", b"a shape prompt 9\r\n", b""),
         "shape_val.txt: expected 300 prompts, got 299"),
        (lambda f: edit(f / "shape_val.txt", b"a shape prompt 9\r\n", b"\r\n"),
         "shape_val.txt line 10: expected a prompt, got ''"),
        (lambda f: edit(f / "shape_val.txt", b"prompt 9\r\n", b"prompt 8\r\n"),
         "shape_val.txt line 10: has the prompt of line 9 again"),
        (lambda f: edit(f / "shape_val.txt", b"prompt 9\r\n", b"prompt \xff\r\n"),
         "shape_val.txt line 10: byte 0xff is not UTF-8"),
        (lambda f: (f / "shape_val.txt").write_text(""), "shape_val.txt file: is empty"),
    ],
    ids=["file", "row", "empty", "doubled", "bytes", "cut"],
)  # fmt: skip
def test_a_damaged_folder_of_compbench_is_refused_by_file_and_line(tmp_path, refusal, damage, told):
    damage(write_compbench(tmp_path))
    assert told in refusal(import_compbench, tmp_path, partial=False)


def test_whole_categories_of_compbench_are_a_part(tmp_path, refusal):
    write_compbench(tmp_path)
    for category in CATEGORIES[1:]:
        (tmp_path / f"{category}_val.txt").unlink()
    imported = import_compbench(tmp_path, partial=True)
    assert {row["source"] for row in imported.rows} == {"3d_spatial"}
    (tmp_path / "3d_spatial_val.txt").unlink()
    assert "folder: holds none of 3d_spatial_val.txt" in refusal(
        import_compbench, tmp_path, partial=True
    )


def test_public_geneval_keeps_line_and_task_of_each_prompt(public):
    imported = import_geneval(public("geneval"), partial=False)
    texts = prompts(imported.rows)
    assert (len(texts), imported.published_items) == (553, 553)
    assert texts["00000"] == "a photo of a bench"
    assert Counter(row["source"] for row in imported.rows) == {
        "single_object": 80,
        "two_object": 99,
        "counting": 80,
        "colors": 94,
        "position": 100,
        "color_attr": 100,
    }


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b'"prompt": "colors 5"', b'"prompt": ""', "line 106, key prompt: expected a text, got ''"),
        (b'"prompt": "colors 5"', b'"text": "5"', "line 106, key prompt: expected a text, got 'no"),
        (b"colors 5", b"colors 4", "line 106, key prompt: the prompt of line 105 again"),
        (b'"tag": "colors"', b'"tag": "colour"', "colors: expected 94 prompts, got 93"),
        (b'"tag": "colors"', b'"tag": "colour"', "colour: expected 0 prompts, got 1"),
        (b'[{"class": "dog", "count": 1}]', b"[]", "line 1, key include: expected a list that is"),
        (b'{"tag": "colors"', b'"tag": "colors"', "line 101: not JSON at line 1 column"),
        (b'{"tag": "colors"', b'\n{"tag": "colors"', "line 101: not JSON at line 1 column 1"),
        (b'{"tag": "colors"', b'[]\n{"tag": "colors"', "line 101: expected an object, got []"),
    ],
)  # fmt: skip
def test_a_damaged_copy_of_geneval_is_refused_by_line_and_key(tmp_path, refusal, old, new, told):
    edit(write_geneval(tmp_path) / "evaluation_metadata.jsonl", old, new)
    assert told in refusal(import_geneval, tmp_path, partial=False)


def test_a_cut_copy_of_geneval_is_refused(tmp_path, refusal):
    path = write_geneval(tmp_path) / "evaluation_metadata.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    message = refusal(import_geneval, path, partial=False)
    assert "line 553: not JSON" in message
    assert "two_object: expected 99 prompts, got 98" in message


def test_geneval2_keeps_line_and_number_of_atoms_of_each_prompt(tmp_path):
    imported = import_geneval2(write_geneval2(tmp_path), partial=False)
    texts = prompts(imported.rows)
    assert (len(texts), imported.published_items) == (800, 800)
    assert texts["00009"] == "4 atoms 1"
    sources = Counter(row["source"] for row in imported.rows)
    assert sources == {str(atoms): 100 for atoms in range(3, 11)}
    assert all(row["questions"] == [] for row in imported.rows)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b'"prompt": "4 atoms 1"', b'"text": "4"', "line 10, key prompt: expected a text, got 'no"),
        (b"4 atoms 1", b"4 atoms 0", "line 10, key prompt: the prompt of line 2 again"),
        (b'"atom_count": 4', b'"atom_count": 14', "4: expected 100 prompts, got 99"),
        (b'"atom_count": 4', b'"atoms": 4', "None: expected 0 prompts, got 1"),
        (b'["count", "attribute"]', b'"count"', "line 1, key skills: expected a list that is not"),
        (b'"vqa_list": [["How many dogs are in the image?", "two"], ["Are they red?", "Yes"]]',
         b'"vqa_list": []', "line 1, key vqa_list: expected a list that is not empty, got []"),
        (b'{"prompt": "4 atoms 1"', b'"prompt": "4 atoms 1"', "line 10: not JSON at line 1"),
    ],
)  # fmt: skip
def test_a_damaged_copy_of_geneval2_is_refused_by_line_and_key(tmp_path, refusal, old, new, told):
    edit(write_geneval2(tmp_path) / "geneval2_data.jsonl", old, new)
    assert told in refusal(import_geneval2, tmp_path, partial=False)


def test_partiprompts_are_read_without_quoting(tmp_path):
    imported = import_partiprompts(write_partiprompts(tmp_path), partial=False)
    texts = prompts(imported.rows)
    assert (len(texts), imported.published_items) == (1632, 1632)
    assert [texts[f"{n:05d}"] for n in range(4)] == [row[0] for row in PARTI_ROWS]
    assert [row["source"] for row in imported.rows[:4]] == [row[1] for row in PARTI_ROWS]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b"\tNote", b"", "line 1: expected the columns Prompt, Category, Challenge, Note, got"),
        (b"\nbond\t", b"\n\t", "line 2, column Prompt: expected a text, got ''"),
        (b"\tAnimals\t", b"\tBeasts\t", "line 4, column Category: expected one of Abstract, Anim"),
        (b"\tImagination\t", b"\t\t", "line 5, column Challenge: expected one of Basic, Complex"),
        (b"\tBasic\t", b"\t", "line 2: expected 4 cells, got 3"),
        (b"\ndogs\t", b"\n\ndogs\t", "line 5: expected 4 cells, got 1"),
        (b"\ndogs\tAnimals\tImagination\t", b"\ndogs ", "line 5: expected 4 cells, got 1"),
        (b"bond\tAbstract\tBasic\tBiology-inspired concepts with multiple meanings\n", b"",
         "file: expected 1632 prompts, got 1631"),
    ],
)  # fmt: skip
def test_a_damaged_copy_of_partiprompts_is_refused_by_line_and_column(
    tmp_path, refusal, old, new, told
):
    edit(write_partiprompts(tmp_path) / "PartiPrompts.tsv", old, new)
    assert told in refusal(import_partiprompts, tmp_path, partial=False)


@pytest.mark.parametrize("read", [import_geneval, import_geneval2, import_partiprompts])
def test_a_part_of_a_benchmark_that_is_numbered_by_line_is_refused(tmp_path, read):
    with pytest.raises(ConfigError, match="--partial: the items of .* are numbered by line"):
        read(tmp_path, partial=True)


@pytest.mark.parametrize(
    "read", [import_hps, import_compbench, import_geneval, import_geneval2, import_partiprompts]
)
def test_a_path_that_is_not_there_is_missing(tmp_path, read):
    with pytest.raises(MissingDataError, match="nowhere: no such f"):
        read(tmp_path / "nowhere", partial=False)


@pytest.mark.parametrize("read", [import_hps, import_compbench])
def test_a_file_where_a_folder_is_expected_is_told(tmp_path, refusal, read):
    file = tmp_path / "photo.json"
    file.write_text("[]")
    assert "photo.json: is a file, expected the folder" in refusal(read, file, partial=False)
