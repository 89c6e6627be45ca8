"""Judges are found by name, say what they are, and work with their own defaults."""

from dataclasses import replace

import pytest

from selma.core.errors import ConfigError, MissingDataError
from selma.judges.loading import (
    DEFAULTS,
    JUDGES,
    WITHOUT_WEIGHTS,
    describe_judge,
    judge_settings,
    judge_title,
    load_judge,
    with_defaults,
)

SILENT = dict.fromkeys(DEFAULTS)


def settings_for(name, path, **given):
    values = {**with_defaults(name, SILENT), "path": path, "revision": None, **given}
    return judge_settings(name, values, template=values["template"])


def test_a_judge_is_called_by_its_kind_and_its_model(tmp_path):
    folder = tmp_path / "flan-t5"
    folder.mkdir()
    settings = settings_for("blip2", str(folder))
    about = describe_judge({"path": str(folder), "revision": None}, settings)
    assert judge_title("blip2", about) == "blip2 flan-t5"
    assert judge_title("endpoint", {"path": "gpt-4o-2024-08-06"}) == "endpoint gpt-4o-2024-08-06"


def test_the_judge_of_the_pocket_world_has_no_model_and_no_weights(tmp_path):
    settings = settings_for("pocket", str(tmp_path))
    about = describe_judge(load_judge("pocket", settings).about, settings)
    assert judge_title("pocket", about) == "pocket"
    assert "revision" not in about


@pytest.mark.parametrize("name", sorted(set(JUDGES) - set(WITHOUT_WEIGHTS) - {"mplug"}))
def test_every_judge_of_weights_is_there_and_misses_its_folder(name, tmp_path):
    with pytest.raises(MissingDataError, match="nowhere: no such folder"):
        load_judge(name, settings_for(name, str(tmp_path / "nowhere")))


def test_an_endpoint_works_with_its_own_defaults_and_refuses_what_it_cannot_do(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    settings = settings_for("endpoint", "m-2024")
    about = load_judge("endpoint", settings).about
    assert about["decoding"]["max_completion_tokens"] == 512
    with pytest.raises(ConfigError, match="beams is 5, but a server cannot be asked for a beam"):
        load_judge("endpoint", replace(settings, beams=5))


def test_what_is_given_comes_before_a_default():
    assert with_defaults("endpoint", {**SILENT, "beams": 3})["beams"] == 3
    assert with_defaults("blip2", SILENT) == DEFAULTS


def test_an_unknown_judge_is_named_with_those_there_are():
    with pytest.raises(ConfigError, match="unknown judge 'blip3'.*blip2"):
        load_judge("blip3", settings_for("blip2", None))
