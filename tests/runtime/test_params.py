"""params.yaml is the whole truth: no default, no unknown key, every problem at once."""

import math

import pytest
from tiny_world import ROOT, inpaint_editor, shipped_params, tiny_params, write_params

from selma.core.errors import ConfigError, MissingDataError
from selma.runtime.model_params import ModelParams
from selma.runtime.params import (
    load_expert,
    load_mixture,
    load_params,
    load_router,
    load_row,
    load_rows,
    load_section,
    load_skill_section,
)
from selma.runtime.sections import (
    CompareParams,
    DsgParams,
    LoraParams,
    MeasureParams,
    PromptsParams,
    Seed,
    Threads,
    TifaParams,
    TrainingImagesParams,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "params.yaml"


def changed(path, **changes):
    """The pocket preset with sections laid over it, written to the path."""
    write_params(path.parent, tiny_params(**changes))
    return path


def problem(path, **changes):
    with pytest.raises(ConfigError) as caught:
        load_params(changed(path, **changes))
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_presets_are_valid(preset):
    assert load_params(preset).lora.rank >= 1


def test_an_unknown_key_is_named_with_its_value(path):
    assert "lora.rnak is not a known key (value 8)" in problem(path, lora={"rnak": 8})


def test_a_missing_key_is_named(path):
    params = shipped_params()
    del params["lora"]["rank"]
    write_params(path.parent, params)
    with pytest.raises(ConfigError, match=r"lora\.rank is missing"):
        load_params(path)


def test_a_missing_section_is_named(path):
    params = shipped_params()
    del params["merges"]
    write_params(path.parent, params)
    with pytest.raises(ConfigError, match="merges is missing"):
        load_params(path)
    with pytest.raises(ConfigError, match="the section merges is missing"):
        load_rows("merges", object, path)


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        (0, "greater than or equal to 1"),
        (4097, "less than or equal to 4096"),
        ("eight", "valid integer"),
        (True, "valid integer"),
        ("8", "valid integer"),
        (8.5, "valid integer"),
        (None, "valid integer"),
        ([16], "valid integer"),
    ],
    ids=str,
)
def test_a_wrong_rank_is_told_with_the_value_and_what_is_allowed(path, value, allowed):
    message = problem(path, lora={"rank": value})
    assert "lora.rank: input should be" in message
    assert allowed in message
    assert f"got {value!r}" in message


LIMITS = {  # key → largest and smallest value that are allowed, and one too much of each
    "threads": (1, 1024, 0, 1025),
    "seed": (0, 2**63 - 1, -1, 2**63),
    "prompts.per_skill": (1, 10_000_000, 0, 10_000_001),
    "prompts.per_request": (1, 1000, 0, 1001),
    "prompts.examples_per_request": (1, 100, 0, 101),
    "prompts.rouge_l_max": (0.01, 1.0, 0.0, 1.01),
    "prompts.leak_word_edits_max": (0, 100, -1, 101),
    "prompts.leak_words_per_edit": (0, 100, -1, 101),
    "prompts.leak_rouge_l_max": (0.01, 1.0, 0.0, 1.01),
    "prompts.max_requests": (1, 10_000_000, 0, 10_000_001),
    "llm.temperature": (0.0, 2.0, -0.1, 2.1),
    "llm.concurrency": (1, 256, 0, 257),
    "llm.reply_tokens_max": (1, 10_000_000, 0, 10_000_001),
    "llm.timeout_s": (0.1, 86_400.0, 0.0, 86_401.0),
    "llm.retries": (0, 100, -1, 101),
    "prompts.requests_per_round": (1, 1000, 0, 1001),
    "llm.budget_usd": (0.0, 1e6, -0.01, "a lot"),
    "images.per_prompt": (1, 10_000, 0, 10_001),
    "images.guidance_scale": (1.0, 100.0, 0.9, 100.1),
    "images.inference_steps": (1, 1000, 0, 1001),
    "samples.first": (0, 1_000_000, -1, 1_000_001),
    "sources.best_of.best_of.candidates": (1, 10_000, 0, 10_001),
    "sources.best_of.best_of.thresholds.faithfulness": (-1e9, 1e9, -1.1e9, 1.1e9),
    "sources.truth.per_skill": (1, 10_000_000, 0, 10_000_001),
    "samples.batch_size": (1, 100_000, 0, 100_001),
    "correct.rounds": (0, 100, -1, 101),
    "correct.duplicate_iou": (0.0, 1.0, -0.1, 1.1),
    "correct.edit_iou": (0.0, 1.0, -0.1, 1.1),
    "correct.objects_max": (1, 1000, 0, 1001),
    "correct.reply_bytes_max": (1, 10_000_000, 0, 10_000_001),
    "correct.detector.attribute": (0.0, 1.0, -0.1, 1.1),
    "correct.detector.primitive": (0.0, 1.0, -0.1, 1.1),
    "correct.detector.nms_iou": (0.0, 1.0, -0.1, 1.1),
    "correct.editor.attribute_strength": (0.01, 1.0, 0.0, 1.1),
    "correct.editor.dilation_px": (1, 999, 0, 1001),
    "correct.editor.feather_px": (0, 1000, -1, 1001),  # of inpaint
    "correct.editor.inversion_guidance": (1.0, 100.0, 0.9, 100.1),
    "correct.editor.object_guidance": (1.0, 100.0, 0.9, 100.1),
    "correct.editor.final_guidance": (1.0, 100.0, 0.9, 100.1),
    "correct.editor.attribute_guidance": (1.0, 100.0, 0.9, 100.1),
    "correct.editor.attribute_blend": (0.0, 1.0, -0.1, 1.1),
    "correct.editor.gligen_share": (0.0, 1.0, -0.1, 1.1),
    "correct.editor.frozen_share": (0.0, 1.0, -0.1, 1.1),
    "correct.editor.foreground_blend": (0.0, 1.0, -0.1, 1.1),
    "correct.editor.attention.weight": (0.0, 1e6, -0.1, 1.1e6),
    "correct.editor.attention.stop_below": (0.0, 1e6, -0.1, 1.1e6),
    "correct.editor.attention.background_weight": (0.0, 1e6, -0.1, 1.1e6),
    "correct.editor.attention.transfer_weight": (0.0, 1e6, -0.1, 1.1e6),
    "correct.editor.attention.foreground_share": (0.01, 1.0, 0.0, 1.1),
    "correct.editor.attention.background_share": (0.01, 1.0, 0.0, 1.1),
    "objectives.dpo.min_gap": (0.0, 1e9, -0.1, 1.1e9),
    "objectives.dpo.beta": (1e-9, 1e9, 0.0, 1.1e9),
    "objectives.dpo.stop.winner_growth": (0.0, 1e6, -0.1, 1.1e6),
    "objectives.dpo.stop.steps": (1, 10_000_000, 0, 10_000_001),
    "objectives.ddpo.per_prompt": (2, 10_000, 1, 10_001),
    "objectives.ddpo.updates_per_round": (1, 10_000, 0, 10_001),
    "objectives.ddpo.clip_range": (1e-9, 0.999, 0.0, 1.0),
    "objectives.ddpo.advantage_max": (1e-9, 1e9, 0.0, 1.1e9),
    "lora.rank": (1, 4096, 0, 4097),
    "lora.learning_rate": (1e-9, 100.0, 0.0, 101.0),
    "lora.weight_decay": (0.0, 1000.0, -0.1, 1001.0),
    "lora.train_steps": (1, 10_000_000, 0, 10_000_001),
    "lora.micro_batch_size": (1, 100_000, 0, 100_001),
    "lora.min_snr_gamma": (1e-9, 1e9, 0.0, 1.1e9),
    "lora.average_decay": (1e-9, 0.999999, 0.0, 1.0),
    "lora.max_gradient_norm": (1e-9, 1e9, 0.0, 1.1e9),
    "lora.checkpoint_every_steps": (1, 10_000_000, 0, 10_000_001),
    "merges.merged.scale": (-1000.0, 1000.0, -1001.0, 1001.0),
    "merges.merged.weights.count": (-1e9, 1e9, -1.1e9, 1.1e9),
    "merges.merged.rank": (1, 100_000, 0, 100_001),
    "merges.merged.error_max": (0.01, 0.99, 0.0, 1.0),
    "judges.pocket.max_new_tokens": (1, 10_000, 0, 10_001),
    "judges.pocket.beams": (1, 100, 0, 101),
    "judges.pocket.batch_size": (1, 100_000, 0, 100_001),
    "raters.faithfulness.temperature": (0.0, 2.0, -0.1, 2.1),
    "raters.faithfulness.retries": (0, 100, -1, 101),
    "raters.faithfulness.no_answer_max": (0.0, 1.0, -0.1, 1.1),
    "raters.pickscore.batch_size": (1, 100_000, 0, 100_001),
    "measures.dsg.no_answer_max": (0.0, 1.0, -0.1, 1.1),
    "measures.tifa.no_answer_max": (0.0, 1.0, -0.1, 1.1),
    "compare.resamples": (100, 10_000_000, 99, 10_000_001),
    "compare.confidence": (0.51, 0.999, 0.5, 1.0),
    "report.examples": (1, 1000, 0, 1001),
}


def with_value(path, key, value):
    params = shipped_params()
    *places, last = key.split(".")
    if last == "feather_px":
        params["correct"]["editor"] = inpaint_editor("models/pocket/base")
    section = params
    for place in places:
        section = section[place]
    section[last] = value
    write_params(path.parent, params)
    return path


@pytest.mark.parametrize("key", LIMITS)
def test_every_number_has_bounds_that_are_told(path, key):
    low, high, too_low, too_high = LIMITS[key]
    for good in (low, high):
        load_params(with_value(path, key, good))
    for bad in (too_low, too_high, math.inf, math.nan):
        with pytest.raises(ConfigError) as caught:
            load_params(with_value(path, key, bad))
        assert f"{key}: input should be" in str(caught.value)
        assert f"got {bad!r}" in str(caught.value)


def numbers(value, prefix=""):
    for name, part in value.items():
        if isinstance(part, dict):
            yield from numbers(part, f"{prefix}{name}.")
        elif type(part) in (int, float):
            yield f"{prefix}{name}"


def test_no_number_of_the_preset_is_without_a_row_of_limits():
    kinds = {"samples": "images"}  # one model of both sections
    alike = {key.rpartition(".")[2] for key in LIMITS} | {"questions_per_batch"}
    assert kinds
    lacking = [key for key in numbers(shipped_params()) if key.rpartition(".")[2] not in alike]
    assert [key for key in lacking if not key.startswith("merges.merged.weights")] == []


def test_all_problems_are_told_at_once(path):
    message = problem(path, lora={"rank": 0}, prompts={"rouge_l_max": 1.8})
    assert "lora.rank" in message
    assert "prompts.rouge_l_max" in message


def test_a_number_written_by_dvc_in_scientific_notation_is_a_number(path):
    text = (ROOT / "presets/pocket.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("learning_rate: 5.0e-4", "learning_rate: 1e-05"), encoding="utf-8")
    assert load_params(path).lora.learning_rate == 1e-5


def test_yes_is_text_and_not_a_truth_value_as_in_yaml_1_2(path):
    text = (ROOT / "presets/pocket.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("same_bytes: true", "same_bytes: yes"), encoding="utf-8")
    with pytest.raises(ConfigError, match="same_bytes: .*got 'yes'"):
        load_params(path)


def test_a_section_is_read_without_looking_at_the_others(path):
    changed(path, prompts={"rouge_l_max": "wrong"}, lora={"rank": 16})
    assert load_section("lora", LoraParams, path).rank == 16
    assert load_section("threads", Threads, path) == 1
    with pytest.raises(ConfigError, match=r"prompts\.rouge_l_max"):
        load_section("prompts", PromptsParams, path)


def with_skill(path, **overrides):
    params = tiny_params(lora={"rank": 16})
    params["skills"]["count"] |= overrides
    write_params(path.parent, params)
    return path


def test_a_skill_overrides_only_what_it_names(path):
    with_skill(path, lora={"rank": 4})
    assert load_skill_section("lora", LoraParams, "count", path).rank == 4
    assert load_skill_section("lora", LoraParams, "common", path).rank == 16
    count, common = (load_skill_section("lora", LoraParams, s, path) for s in ("count", "common"))
    assert count.model_copy(update={"rank": 16}) == common


def test_each_section_of_a_skill_is_laid_over_its_own(path):
    with_skill(path, images={"per_prompt": 3}, prompts={"per_skill": 9})
    assert load_skill_section("images", TrainingImagesParams, "count", path).per_prompt == 3
    assert load_skill_section("prompts", PromptsParams, "count", path).per_skill == 9


@pytest.mark.parametrize("override", [{"rnk": 4}, {"rank": 0}, {"rank": "4"}], ids=str)
def test_a_wrong_override_is_named_with_its_skill(path, override):
    with pytest.raises(ConfigError, match=r"skills\.count\.lora\.rn?a?n?k"):
        load_skill_section("lora", LoraParams, "count", with_skill(path, lora=override))


def test_a_section_that_is_no_mapping_is_one_line(path):
    params = shipped_params()
    params["lora"] = 5
    write_params(path.parent, params)
    with pytest.raises(ConfigError, match="lora: input should be"):
        load_skill_section("lora", LoraParams, "count", path)
    path.write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(ConfigError, match="must be a mapping of sections, got list"):
        load_section("lora", LoraParams, path)


def test_an_unknown_row_lists_the_rows(path):
    changed(path)
    there_are = "skills has no row .cuont.; there are: paragraph, count, "
    with pytest.raises(ConfigError, match=there_are):
        load_skill_section("lora", LoraParams, "cuont", path)
    with pytest.raises(ConfigError, match="hub has no row 'a'; there are: none"):
        load_row("hub", "a", ModelParams, path)


def test_rows_keep_their_order_and_each_is_checked(path):
    names = ["new", "base", "old"]
    params = {**shipped_params(), "models": {name: {"weights": "w"} for name in names}}
    write_params(path.parent, params)
    assert list(load_rows("models", ModelParams, path)) == names
    changed(path, models={"new": {"wieghts": "w"}})
    with pytest.raises(ConfigError, match=r"models\.new\.wieghts is not a known key"):
        load_rows("models", ModelParams, path)


def test_a_measure_has_the_keys_of_its_kind(path):
    changed(path)
    assert isinstance(load_row("measures", "dsg", MeasureParams, path), DsgParams)
    assert isinstance(load_row("measures", "tifa", MeasureParams, path), TifaParams)
    row = {**shipped_params()["measures"]["dsg"], "mapping": "exact"}
    changed(path, measures={"dsg": row})
    with pytest.raises(ConfigError, match=r"measures\.dsg\.mapping is not a known key"):
        load_row("measures", "dsg", MeasureParams, path)


SWITCH = {"weights": "w", "experts": ["count"], "combine": "switch", "every_steps": 2}
COMPOSITE = {"weights": "w", "experts": ["count"], "combine": "composite"}


def test_a_model_has_the_keys_of_its_kind(path):
    models = {"a": {"weights": "w"}, "b": SWITCH, "c": COMPOSITE}
    write_params(path.parent, {**shipped_params(), "models": models})
    found = load_rows("models", ModelParams, path)
    assert {name: row.model_dump() for name, row in found.items()} == models


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**COMPOSITE, "every_steps": 2}, r"models\.x\.every_steps is not a known key"),
        ({**COMPOSITE, "combine": "switch"}, r"models\.x\.every_steps is missing"),
        ({**SWITCH, "every_steps": 0}, r"models\.x\.every_steps: input should be greater"),
        ({**SWITCH, "experts": []}, r"models\.x\.experts: list should have at least 1 item"),
        ({**SWITCH, "combine": "swich"}, r"models\.x: combine should be 'switch' or 'composite'"),
        ({"weights": "w", "experts": ["count"]}, r"models\.x: combine should be 'switch' or"),
        ({"combine": "composite", "experts": ["count"]}, r"models\.x\.weights is missing"),
    ],
)
def test_a_model_that_is_of_no_kind_is_one_line(path, row, words):
    changed(path, models={"x": row})
    with pytest.raises(ConfigError, match=words) as caught:
        load_row("models", "x", ModelParams, path)
    assert str(caught.value).count("models.x") == 1 and "\n" not in str(caught.value)


FOUND = {"kind": "pocket", "model": None}
SYNGEN = {"kind": "syngen", "phrases": FOUND, "map_size": 4, "step_size": 1.0, "steps_share": 0.5}
STRUCTURE = {"kind": "structure_diffusion", "phrases": FOUND}
ATTEND = {
    **SYNGEN, "kind": "attend_and_excite", "refinements": [{"at_share": 0.0, "attention": 0.1}],
    "iterations_max": 2,
}  # fmt: skip


def test_a_model_may_draw_by_a_sampler_of_its_own_and_a_plain_one_says_nothing_of_it(path):
    models = {
        name: {"weights": "w", "sampler": sampler}
        for name, sampler in (("a", SYNGEN), ("b", STRUCTURE), ("c", ATTEND), ("d", None))
    }
    write_params(path.parent, {**shipped_params(), "models": models})
    found = load_rows("models", ModelParams, path)
    written = {name: row.model_dump() for name, row in found.items()}
    assert written == {**models, "d": {"weights": "w"}}


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        ({**SYNGEN, "kind": "syngn"}, r"models\.x\.sampler: input tag 'syngn' .* 'syngen'"),
        ({**SYNGEN, "map_size": 1}, r"models\.x\.sampler\.map_size: input should be greater"),
        ({**SYNGEN, "map_size": 1025}, r"sampler\.map_size: input should be less"),
        ({**SYNGEN, "step_size": 0.0}, r"sampler\.step_size: input should be greater than 0"),
        ({**SYNGEN, "step_size": 1.1e6}, r"sampler\.step_size: input should be less"),
        ({**SYNGEN, "steps_share": 1.1}, r"sampler\.steps_share: input should be less"),
        ({**STRUCTURE, "map_size": 4}, r"models\.x\.sampler\.map_size is not a known key"),
        ({**ATTEND, "iterations_max": -1}, r"sampler\.iterations_max: input should be greater"),
        ({**ATTEND, "iterations_max": 1001}, r"sampler\.iterations_max: input should be less"),
        ({**ATTEND, "refinements": [{"at_share": 2.0, "attention": 0.1}]},
         r"sampler\.refinements\.0\.at_share: input should be less"),
        ({"kind": "syngen", "phrases": {"kind": "pocke", "model": None}},
         r"models\.x\.sampler\.phrases\.kind: input should be 'pocket' or 'spacy'"),
    ],
)  # fmt: skip
def test_a_wrong_sampler_is_one_line(path, sampler, words):
    changed(path, models={"x": {"weights": "w", "sampler": sampler}})
    with pytest.raises(ConfigError, match=words) as caught:
        load_row("models", "x", ModelParams, path)
    assert "\n" not in str(caught.value)


def test_experts_that_stay_apart_have_no_sampler(path):
    changed(path, models={"x": {**SWITCH, "sampler": STRUCTURE}})
    with pytest.raises(ConfigError, match=r"models\.x\.sampler is not a known key"):
        load_row("models", "x", ModelParams, path)


def test_a_router_is_trained_as_an_expert_but_for_its_overrides(path):
    row = {"skills": ["count", "common"], "top_k": 1, "lora": {"train_steps": 7}}
    changed(path, routers={"moe": row})
    one = load_section("lora", LoraParams, path)
    assert load_router("moe", path) == one.model_copy(update={"train_steps": 7})


@pytest.mark.parametrize("key", ["rank", "targets"])
def test_what_is_an_experts_own_is_no_key_of_a_router(path, key):
    changed(path, routers={"moe": {"skills": ["count"], "top_k": 1, "lora": {key: None}}})
    with pytest.raises(ConfigError, match=rf"routers\.moe\.lora\.{key} is not a known key"):
        load_router("moe", path)


def with_objective(path, name, skill, **own):
    params = tiny_params(lora={"objective": name, "rank": 16, "train_steps": 3})
    params["objectives"]["dpo"]["lora"] = own
    params["skills"]["count"]["lora"] = skill
    params["mixtures"] = {"mixture": {"skills": ["count", "common"], "lora": {}}}
    write_params(path.parent, params)


def test_an_objectives_settings_lie_over_the_section_and_under_a_skills_own(path):
    own = {"rank": 4, "learning_rate": 1e-5, "train_steps": 5}
    with_objective(path, "dpo", {"rank": 2}, **own)
    one = load_section("lora", LoraParams, path)
    assert load_expert("common", path) == one.model_copy(update=own)
    assert load_expert("count", path) == one.model_copy(update={**own, "rank": 2})
    assert load_mixture("mixture", path) == one.model_copy(update={**own, "train_steps": 10})
    with_objective(path, "denoise", {}, **own)
    assert load_expert("common", path) == load_section("lora", LoraParams, path)


def test_an_objective_is_a_runs_and_no_skills_own(path):
    with_objective(path, "dpo", {"objective": "denoise"})
    with pytest.raises(ConfigError, match=r"skills\.count\.lora\.objective is not a known key"):
        load_expert("count", path)


def test_an_objective_and_its_rater_are_rows(path):
    said = problem(path, lora={"objective": "dop"})
    assert "lora.objective names 'dop', not in objectives; known: denoise, dpo, ddpo" in said
    objectives = {**shipped_params()["objectives"]}
    objectives["ddpo"] = {**objectives["ddpo"], "rater": "nobody"}
    assert "objectives.ddpo names 'nobody', not in raters" in problem(path, objectives=objectives)


def test_a_mixture_is_trained_for_the_steps_of_its_skills_together(path):
    changed(path, mixtures={"mixture": {"skills": ["count", "common"], "lora": {}}})
    one = load_section("lora", LoraParams, path)
    assert load_mixture("mixture", path) == one.model_copy(
        update={"train_steps": 2 * one.train_steps}
    )
    row = {"skills": ["count", "common"], "lora": {"train_steps": 7, "rank": 5}}
    mixed = load_mixture("mixture", changed(path, mixtures={"mixture": row}))
    assert (mixed.train_steps, mixed.rank) == (7, 5)


@pytest.mark.parametrize("name", ["Count", "a b", "../x", "", "9", "a" * 65])
def test_a_rows_name_that_is_no_slug_is_refused(path, name):
    assert "models" in problem(path, models={name: {"weights": "w"}})


def test_rows_for_which_no_stage_exists_yet_are_refused(path):
    assert "hub" in problem(path, hub={"a": {}})


def test_a_missing_file_is_told_as_missing_data(tmp_path):
    with pytest.raises(MissingDataError, match=r"params\.yaml: no such file"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("data", [b"lora: {rank: 1\nseed: [", b"\xff\xfe"], ids=["yaml", "bytes"])
def test_a_broken_file_is_one_line(path, data):
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"params\.yaml: not (valid YAML.*line|a text file)"):
        load_params(path)


@pytest.mark.parametrize("value", [-1, True, "zero", 0.5], ids=str)
def test_a_seed_is_a_whole_number_that_is_not_negative(path, value):
    changed(path, seed=value)
    with pytest.raises(ConfigError, match=f"seed: input should be .*got {value!r}"):
        load_section("seed", Seed, path)


def test_one_model_may_be_subject_and_reference_of_nothing_but_rows(path):
    changed(path)
    found = load_section("compare", CompareParams, path)
    assert (found.subject, found.reference, found.against) == ("merged", "base", ["mixture"])
