"""Ground truth of the pocket world shows what its captions say, and keeps off the benchmarks."""

import pytest

from selma.core.errors import ConfigError, MissingDataError
from selma.pocket.caption_reading import read_caption
from selma.pocket.judge import answer_questions
from selma.pocket.question_sets import dsg_questions
from selma.pocket.skills import DRAW, is_held_out
from selma.pocket.truth import true_pairs
from selma.sources.truth import read_truth


@pytest.mark.parametrize("skill", sorted(DRAW))
def test_every_picture_gets_every_question_of_its_caption_right(skill):
    pairs = true_pairs(skill, 12, seed=3)
    captions = [caption for caption, _ in pairs]
    assert len(set(captions)) == 12
    asked = [[(q.question, ()) for q in dsg_questions(read_caption(c))] for c in captions]
    answers = answer_questions([picture for _, picture in pairs], asked)
    assert {answer for own in answers for answer in own} == {"yes"}


def test_no_caption_is_held_out_and_more_begin_with_the_fewer():
    many = [caption for caption, _ in true_pairs("common", 200, seed=0)]
    assert not any(map(is_held_out, many))
    assert [caption for caption, _ in true_pairs("common", 20, seed=0)] == many[:20]
    assert [caption for caption, _ in true_pairs("common", 20, seed=1)] != many[:20]


def test_a_skill_that_is_not_there_lists_those_that_are():
    with pytest.raises(ConfigError, match=r"skill of the pocket world 'dogs'.*common"):
        true_pairs("dogs", 1, seed=0)


@pytest.mark.parametrize(("kind", "words"), [("folder", "SKILL"), ("parquet", "SKILL.parquet")])
def test_pictures_that_are_not_in_a_skills_place_are_told(tmp_path, kind, words):
    (tmp_path / "a.png").write_bytes(b"")
    row = {"kind": kind, "path": str(tmp_path), "size_px": None}
    with pytest.raises(MissingDataError, match=f"holds no skill's pictures.*{words} for each"):
        read_truth(row, seed=0)
    with pytest.raises(MissingDataError, match="nowhere: no such folder"):
        read_truth({**row, "path": "nowhere"}, seed=0)
