import re
from pathlib import Path

import pytest

from selma.core.errors import ConfigError, MissingDataError
from selma.runtime.params import (
    LoraParams,
    load_mixture,
    load_params,
    load_section,
    load_skill_section,
    load_value,
)

ROOT = Path(__file__).parents[2]
COUNT = "count: {instructions: data/skills/count.yaml, prompts: {}, images: {}, lora: {}}"


@pytest.fixture
def params(tmp_path):
    """The pocket preset with the numbers that these tests edit."""
    path = tmp_path / "params.yaml"
    text = re.sub(r"  rank: \d+", "  rank: 16", (ROOT / "presets/pocket.yaml").read_text())
    path.write_text(re.sub(r"learning_rate: \S+", "learning_rate: 3.0e-4", text))
    return path


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def problem(path):
    with pytest.raises(ConfigError) as caught:
        load_params(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_shipped_params_are_valid():
    assert load_params(ROOT / "params.yaml").lora.rank >= 1


def test_an_unknown_key_is_named_with_its_value(params):
    edit(params, "  rank: 16", "  rank: 16\n  rnak: 8")
    assert "lora.rnak is not a known key (value 8)" in problem(params)


def test_a_missing_key_is_named(params):
    edit(params, "  rank: 16\n", "")
    assert "lora.rank is missing" in problem(params)


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ("0", "greater than or equal to 1"),
        ("eight", "valid integer"),
        ("true", "valid integer"),
        ("'8'", "valid integer"),
        ("8.5", "valid integer"),
        ("null", "valid integer"),
    ],
)
def test_a_wrong_rank_is_told_with_the_value_and_what_is_allowed(params, value, allowed):
    edit(params, "  rank: 16", f"  rank: {value}")
    message = problem(params)
    assert "lora.rank" in message
    assert allowed in message
    assert "got" in message


def test_all_problems_are_told_at_once(params):
    edit(params, "  rank: 16", "  rank: 0")
    edit(params, "rouge_l_max: 0.8", "rouge_l_max: 1.8")
    message = problem(params)
    assert "lora.rank" in message
    assert "prompts.rouge_l_max" in message


def test_a_number_written_by_dvc_in_scientific_notation_is_a_number(params):
    edit(params, "learning_rate: 3.0e-4", "learning_rate: 1e-05")
    assert load_params(params).lora.learning_rate == 1e-5


def test_yes_is_text_and_not_a_truth_value_as_in_yaml_1_2(params):
    edit(params, "  rank: 16", "  rank: yes")
    assert "got 'yes'" in problem(params)


def test_a_section_is_read_without_looking_at_the_others(params):
    edit(params, "  rouge_l_max: 0.8", "  rouge_l_max: wrong")
    assert load_section("lora", LoraParams, params).rank == 16


def test_a_skill_overrides_only_what_it_names(params):
    edit(params, COUNT, COUNT.replace("lora: {}", "lora: {rank: 4}"))
    assert load_skill_section("lora", LoraParams, "count", params).rank == 4
    assert load_skill_section("lora", LoraParams, "common", params).rank == 16


def test_an_override_with_an_unknown_key_is_refused(params):
    edit(params, COUNT, COUNT.replace("lora: {}", "lora: {rnk: 4}"))
    with pytest.raises(ConfigError, match=r"skills\.count\.lora\.rnk"):
        load_skill_section("lora", LoraParams, "count", params)


def test_an_unknown_skill_lists_the_skills(params):
    with pytest.raises(ConfigError, match="paragraph, count"):
        load_skill_section("lora", LoraParams, "cuont", params)


def test_the_mixture_is_trained_for_the_steps_of_all_experts_together(params):
    one = load_section("lora", LoraParams, params)
    assert load_mixture(5, params).train_steps == 5 * one.train_steps


def test_weights_and_skills_must_name_the_same_skills(params):
    edit(params, "common: 1.0}", "common: 1.0, extra: 1.0}")
    assert "extra" in problem(params)


def test_a_missing_file_is_told_as_missing_data(tmp_path):
    with pytest.raises(MissingDataError, match=r"params\.yaml"):
        load_params(tmp_path / "params.yaml")


def test_broken_yaml_names_the_line(params):
    params.write_text("lora: {rank: 1\nseed: [")
    assert "line" in problem(params)


@pytest.mark.parametrize("value", ["-1", "true", "zero", "0.5"])
def test_a_seed_is_a_whole_number_that_is_not_negative(params, value):
    edit(params, "seed: 0", f"seed: {value}")
    with pytest.raises(ConfigError, match="seed must be a whole number"):
        load_value("seed", params)
