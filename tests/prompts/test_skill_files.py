"""The hand-written skill files."""

import re
from pathlib import Path

import pytest

from selma.core.errors import ConfigError, MissingDataError
from selma.pocket.skills import TRAINED_SKILLS
from selma.pocket.writer import guess_skill
from selma.prompts.diversity import PromptIndex
from selma.prompts.skills import WordLimits, read_skill

FOLDER = Path(__file__).parents[2] / "data" / "skills"
PHOTO = sorted((FOLDER / "photo").glob("*.yaml"))
COUNT = """\
version: 1
skill: count
words: {min: 2, max: 4}
instructions: x
seed_prompts: [two cats, three red dogs, six owls]
"""


@pytest.fixture
def refused(tmp_path: Path):
    """Give what is said of the file above with one part of it replaced."""

    def words(old: str, new: str) -> str:
        assert old in COUNT
        path = tmp_path / "count.yaml"
        path.write_text(COUNT.replace(old, new))
        with pytest.raises(ConfigError) as caught:
            read_skill(path)
        return str(caught.value)

    return words


@pytest.mark.parametrize("skill", TRAINED_SKILLS)
def test_every_trained_skill_has_a_valid_file(skill: str):
    assert len(read_skill(FOLDER / f"{skill}.yaml").seed_prompts) == 3


def test_photographs_have_the_papers_five_skills_and_three_that_dsg_finds_weak():
    assert {path.stem for path in PHOTO} == {*TRAINED_SKILLS, "spatial", "text", "parts"}


@pytest.mark.parametrize("path", PHOTO, ids=lambda path: path.stem)
def test_the_instructions_for_photographs_say_the_limits_that_are_checked(path: Path):
    spec = read_skill(path)
    limits = re.search(r"(\d+) to (\d+)\s+words", spec.instructions)
    assert limits and tuple(map(int, limits.groups())) == (spec.words.min, spec.words.max)


def test_no_seed_prompt_for_photographs_is_like_another_one():
    index = PromptIndex()
    for path in PHOTO:
        for number, prompt in enumerate(read_skill(path).seed_prompts):
            assert index.nearest(prompt).rouge_l < 0.4
            index.add(f"{path.stem}_{number}", prompt)


@pytest.mark.parametrize("path", PHOTO, ids=lambda path: path.stem)
def test_the_pocket_llm_can_stand_in_for_a_writer_of_photographs(path: Path):
    spec = read_skill(path)
    known = path.stem if path.stem in {*TRAINED_SKILLS, "spatial"} else "common"
    assert guess_skill("\n".join([spec.instructions, *spec.seed_prompts])) == known


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path):
    path = tmp_path / "count.yaml"
    path.write_text("version: one\nskill: count\nseed_prompts: [a red circle, 2]\ncolour: red\n")
    with pytest.raises(ConfigError) as caught:
        read_skill(path)
    message = str(caught.value)
    for part in ("count.yaml", "version", "words", "instructions", "seed_prompts", "colour"):
        assert part in message
    assert "\n" not in message


def test_seed_prompts_that_repeat_are_refused(refused):
    assert "must differ" in refused("six owls", "Two Cats")


def test_both_ends_of_the_word_limits_are_allowed():
    limits = WordLimits(min=2, max=4)
    prompts = ("a", "a b", " a-b  c, d e ", "a b c d e")
    assert [limits.allow(prompt) for prompt in prompts] == [False, True, True, False]


@pytest.mark.parametrize("limits", ["min: 3, max: 4", "min: 2, max: 2", "min: 4, max: 2"])
def test_limits_that_a_seed_prompt_does_not_keep_are_refused(refused, limits):
    low, high = re.findall(r"\d", limits)
    assert f"allows {low} to {high}, not so the seed prompt" in refused("min: 2, max: 4", limits)


def test_a_file_for_another_skill_is_refused(tmp_path: Path):
    path = tmp_path / "counting.yaml"
    path.write_text((FOLDER / "count.yaml").read_text())
    with pytest.raises(ConfigError, match="file's name 'counting', got 'count'"):
        read_skill(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(MissingDataError, match="absent.yaml"):
        read_skill(tmp_path / "absent.yaml")
