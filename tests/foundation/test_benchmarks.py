"""Tests of the pocket world's benchmarks."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from selma.core.errors import ConfigError
from selma.foundation.benchmarks import BENCHMARKS, benchmark_rows, draw_item, split_rows
from selma.pocket.captions import realise
from selma.pocket.judge import answer_questions
from selma.pocket.question_sets import dsg_questions
from selma.pocket.render import render
from selma.pocket.scenes import BACKGROUNDS, COLOURS, Scene
from selma.pocket.skills import DRAW, is_held_out
from selma.prompts.diversity import normalise

ITEMS, SEED = 10, 3


@pytest.fixture(scope="module")
def benchmarks():
    return {name: benchmark_rows(name, ITEMS, SEED) for name in BENCHMARKS}


def _pictures(name):
    pairs = []
    for skill in sorted(DRAW):
        for index in range(ITEMS):
            description = draw_item(name, skill, index, 0, SEED)
            rng = random.Random(index)
            scene = next(s for _ in range(50) if (s := realise(description, rng)))
            pairs.append((description, scene))
    return pairs


def test_every_skill_has_its_items_and_no_prompt_occurs_twice(benchmarks):
    prompts = [row["prompt"].lower() for rows in benchmarks.values() for row in rows]
    assert len(set(prompts)) == len(prompts) == 2 * ITEMS * len(DRAW)
    for rows in benchmarks.values():
        expected = [f"{skill}_{i:03d}" for skill in sorted(DRAW) for i in range(ITEMS)]
        assert [row["item_id"] for row in rows] == expected
        assert all(row["item_id"].startswith(row["source"]) for row in rows)


def test_parents_are_earlier_questions_of_the_same_item(benchmarks):
    for row in benchmarks["pocket-dsg"]:
        ids = [question["question_id"] for question in row["questions"]]
        assert ids == list(range(1, len(ids) + 1))
        for question in row["questions"]:
            parents = [int(token) for token in question["dependency"].split(",")]
            assert parents == [0] or all(1 <= p < question["question_id"] for p in parents)


def test_every_category_of_a_benchmark_occurs(benchmarks):
    of_dsg = ["attribute - color", "attribute - size", "entity - whole", "global"]
    of_dsg += ["other - count", "relation - spatial"]
    of_tifa = ["attribute", "color", "counting", "location", "object", "shape", "spatial"]
    for name, categories in (("pocket-dsg", of_dsg), ("pocket-tifa", of_tifa)):
        found = {q["category"] for row in benchmarks[name] for q in row["questions"]}
        assert found == set(categories)


def test_rows_depend_on_the_seed_alone(benchmarks):
    assert benchmark_rows("pocket-tifa", ITEMS, SEED) == benchmarks["pocket-tifa"]
    assert benchmark_rows("pocket-tifa", ITEMS, SEED + 1) != benchmarks["pocket-tifa"]


def test_an_unknown_benchmark_is_refused_with_the_list():
    with pytest.raises(ConfigError, match="pocket-dsg, pocket-tifa"):
        benchmark_rows("coco", 1, 0)


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_the_judge_answers_every_question_right_on_a_faithful_picture(name):
    pairs = _pictures(name)
    questions = [BENCHMARKS[name](description, random.Random(0)) for description, _ in pairs]
    asked = [[(q.question, q.choices) for q in of_item] for of_item in questions]
    given = answer_questions([render(scene) for _, scene in pairs], asked)
    right = [
        reply == question.answer
        for replies, of_item in zip(given, questions, strict=True)
        for reply, question in zip(replies, of_item, strict=True)
    ]
    assert sum(right) >= 0.995 * len(right)


def test_the_judge_says_no_to_colour_and_background_of_a_picture_with_both_changed():
    colours, backgrounds = list(COLOURS), list(BACKGROUNDS)
    for description, scene in _pictures("pocket-dsg"):
        wrong = Scene(
            backgrounds[(backgrounds.index(scene.background) + 1) % 4],
            tuple(
                replace(o, colour=colours[(colours.index(o.colour) + 1) % 8]) for o in scene.objects
            ),
        )
        asked = [
            (question.question, question.choices)
            for question in dsg_questions(description)
            if question.category in ("attribute - color", "global")
        ]
        assert set(answer_questions([render(wrong)], [asked])[0]) == {"no"}


def test_the_stage_writes_every_benchmark_as_a_table(tmp_path):
    from selma.core.tables import read_table
    from stages.benchmarks import main

    main(["--out", str(tmp_path), "--items", "2", "--seed", "3"])
    for name in BENCHMARKS:
        assert read_table(tmp_path / f"{name}.parquet", "benchmark") == sorted(
            benchmark_rows(name, 2, 3), key=lambda row: row["item_id"]
        )


def test_a_dev_split_has_prompts_of_every_skill_that_stand_in_no_benchmark(benchmarks):
    known = [row["prompt"] for rows in benchmarks.values() for row in rows]
    rows = split_rows("pocket-dsg", "dev", 5, SEED, known)
    prompts = [normalise(row["prompt"]) for row in rows]
    assert len(set(prompts)) == len(rows) == 5 * len(DRAW)
    assert not set(prompts) & set(map(normalise, known))
    assert all(is_held_out(row["prompt"]) for row in rows)
    assert all(row["questions"] for row in rows)
    wanted = split_rows("pocket-dsg", "dev", 5, SEED, [])
    again = split_rows("pocket-dsg", "dev", 5, SEED, [wanted[3]["prompt"].upper()])
    assert [a["prompt"] == w["prompt"] for a, w in zip(again, wanted, strict=True)].count(
        False
    ) == 1


def test_the_stage_writes_splits_that_share_no_prompt(tmp_path):
    from selma.core.tables import read_table
    from stages.benchmarks import main as write_benchmarks
    from stages.split import main

    write_benchmarks(["--out", str(tmp_path), "--items", "2", "--seed", "3"])
    tables = [str(tmp_path / f"{name}.parquet") for name in BENCHMARKS]
    arguments = ["--name", "pocket-dsg", "--items", "3", "--seed", "3"]
    for split in ("dev", "large"):
        out = tmp_path / f"{split}.parquet"
        main([*arguments, "--split", split, "--out", str(out), "--others", *tables])
        known = [row["prompt"] for path in tables for row in read_table(Path(path), "benchmark")]
        assert read_table(out, "benchmark") == split_rows("pocket-dsg", split, 3, 3, known)
        tables.append(str(out))
    prompts = [row["prompt"] for path in tables for row in read_table(Path(path), "benchmark")]
    assert len(set(map(normalise, prompts))) == len(prompts) == (2 + 2 + 3 + 3) * len(DRAW)
