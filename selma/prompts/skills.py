"""Reads a skill's file: version, word limits, instructions and first examples."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from selma.core.errors import ConfigError, MissingDataError
from selma.runtime.sections import Section, Slug
from selma.runtime.yaml_files import read_yaml, validate

EXAMPLES = 3


def _one_line(text: str) -> str:
    if "\n" in text or not any(letter.isalpha() for letter in text):
        raise ValueError("must be one line with words")
    return text


def _distinct(prompts: list[str]) -> list[str]:
    if len({prompt.casefold() for prompt in prompts}) < len(prompts):
        raise ValueError("must differ from each other")
    return prompts


class WordLimits(Section):
    """How long a prompt may be, in words between white space, both ends included."""

    min: Annotated[int, Field(ge=1)]
    max: Annotated[int, Field(ge=1)]

    def allow(self, prompt: str) -> bool:
        return self.min <= len(prompt.split()) <= self.max


class SkillSpec(Section):
    """A skill: instructions for the LLM and the hand-written prompts it starts from.

    `version` is raised when anything else in the file changes. The limits are not put into a
    request; the instructions say them in their own words.
    """

    version: Annotated[int, Field(ge=1)]
    skill: Slug
    words: WordLimits
    instructions: Annotated[str, Field(min_length=1)]
    seed_prompts: Annotated[
        list[Annotated[str, AfterValidator(_one_line)]],
        Field(min_length=EXAMPLES, max_length=EXAMPLES),
        AfterValidator(_distinct),
    ]


def read_skill(path: Path) -> SkillSpec:
    """Read a skill's file (YAML 1.2), in any folder; its name must be the skill's.

    MissingDataError if there is no such file; ConfigError names all its problems.
    """
    if not path.exists():
        raise MissingDataError(f"{path}: no such file; write it or drop the skill in params.yaml")
    spec = validate(SkillSpec, read_yaml(path), str(path))
    if spec.skill != path.stem:
        raise ConfigError(f"{path}: skill: expected file's name {path.stem!r}, got {spec.skill!r}")
    for prompt in spec.seed_prompts:
        if not spec.words.allow(prompt):
            limits = f"{spec.words.min} to {spec.words.max}"
            raise ConfigError(f"{path}: words: allows {limits}, not so the seed prompt {prompt!r}")
    return spec
