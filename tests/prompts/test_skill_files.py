"""The hand-written skill files."""

from pathlib import Path

import pytest

from selma.core.errors import ConfigError, MissingDataError
from selma.pocket.skills import TRAINED_SKILLS
from selma.prompts.skills import read_skill

FOLDER = Path(__file__).parents[2] / "data" / "skills"


@pytest.mark.parametrize("skill", TRAINED_SKILLS)
def test_every_trained_skill_has_a_valid_file(skill: str):
    assert len(read_skill(FOLDER / f"{skill}.yaml").seed_prompts) == 3


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path):
    path = tmp_path / "count.yaml"
    path.write_text("version: one\nskill: count\nseed_prompts: [a red circle, 2]\ncolour: red\n")
    with pytest.raises(ConfigError) as caught:
        read_skill(path)
    message = str(caught.value)
    for part in ("count.yaml", "version", "instructions", "seed_prompts", "colour"):
        assert part in message
    assert "\n" not in message


def test_seed_prompts_that_repeat_are_refused(tmp_path: Path):
    path = tmp_path / "count.yaml"
    path.write_text("version: 1\nskill: count\ninstructions: x\nseed_prompts: [a b, A b, c]\n")
    with pytest.raises(ConfigError, match="must differ"):
        read_skill(path)


def test_a_file_for_another_skill_is_refused(tmp_path: Path):
    path = tmp_path / "counting.yaml"
    path.write_text((FOLDER / "count.yaml").read_text())
    with pytest.raises(ConfigError, match="file's name 'counting', got 'count'"):
        read_skill(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(MissingDataError, match="absent.yaml"):
        read_skill(tmp_path / "absent.yaml")
