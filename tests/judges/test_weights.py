"""A judge is loaded whole and from what its settings name, or not at all."""

import json
import shutil

import pytest
from tiny import settings, write_blip_vqa, write_instructblip

from selma.core.errors import ConfigError, MissingDataError, MissingDependencyError, RecordError
from selma.judges.blip2 import load_instructblip
from selma.judges.blip_vqa import load_blip_vqa
from selma.judges.vilt import load_vilt
from selma.judges.weights import library_versions, load_image_processor


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a BLIP."""
    made = tmp_path_factory.mktemp("whole")
    write_blip_vqa(made)
    return made


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of it, to be damaged."""
    return shutil.copytree(whole, tmp_path / "blip")


def test_a_folder_that_is_not_there_is_missing_data(tmp_path):
    with pytest.raises(MissingDataError, match="nowhere: no such folder"):
        load_blip_vqa(settings(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"dtype": "fp16"}, "unknown dtype 'fp16'.*bfloat16, float16, float32"),
        ({"device": "gpu"}, "unknown device 'gpu'.*cpu, cuda"),
        ({"beams": 0}, "beams is 0"),
        ({"questions_per_batch": 0}, "questions_per_batch is 0"),
        ({"template": "baer"}, "unknown judge template 'baer'.*did you mean 'bare'"),
        ({"revision": "main"}, "is a folder, revision 'main' is of no use"),
        ({"path": "org/model", "revision": "main"}, "'main' is no commit of 40 hexadecimal"),
    ],
)
def test_a_wrong_setting_is_a_config_error(folder, change, problem):
    with pytest.raises(ConfigError, match=problem):
        load_blip_vqa(settings(folder, **change))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("config.json", "config.json: cannot be loaded"),
        ("model.safetensors", "model.safetensors: cannot be loaded"),
        ("preprocessor_config.json", "preprocessor_config.json: cannot be loaded"),
        ("tokenizer.json", "tokenizer: "),
    ],
)
def test_a_file_that_is_missing_is_named(folder, name, problem):
    (folder / name).unlink()
    with pytest.raises(RecordError, match=problem):
        load_blip_vqa(settings(folder))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_a_file_that_is_cut_is_named(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RecordError, match=f"{name}: cannot be loaded"):
        load_blip_vqa(settings(folder))


def test_weights_of_another_shape_are_refused(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["intermediate_size"] = 96
    path.write_text(json.dumps(config))
    with pytest.raises(RecordError, match=r"model.safetensors: cannot be loaded|do not fit"):
        load_blip_vqa(settings(folder))


def test_pickled_weights_are_not_read(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(RecordError, match="model.safetensors: cannot be loaded"):
        load_blip_vqa(settings(folder))


def test_a_model_of_another_type_is_refused(folder):
    with pytest.raises(RecordError, match="it is a 'blip' model, this judge wants 'vilt'"):
        load_vilt(settings(folder))


def test_pictures_of_another_size_than_the_towers_are_refused(folder):
    path = folder / "preprocessor_config.json"
    values = json.loads(path.read_text()) | {"size": {"height": 21, "width": 21}}
    path.write_text(json.dumps(values))
    with pytest.raises(RecordError, match="pictures become 21×21 pixels.*wants 28×28"):
        load_blip_vqa(settings(folder))


def test_the_q_formers_tokenizer_must_be_there(tmp_path):
    write_instructblip(tmp_path)
    for path in (tmp_path / "qformer_tokenizer").iterdir():
        path.unlink()
    with pytest.raises(RecordError, match="qformer_tokenizer/tokenizer: "):
        load_instructblip(settings(tmp_path))


@pytest.mark.parametrize("name", ["BlipImageProcessor", "BlipImageProcessorFast"])
def test_pillow_makes_the_pixels_whatever_the_file_says(folder, name):
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_processor_type": name}))
    assert type(load_image_processor(settings(folder))).__name__ == "BlipImageProcessorPil"


def test_a_library_that_is_not_installed_is_named():
    assert set(library_versions(["torch", "pillow"])) == {"torch", "pillow"}
    with pytest.raises(MissingDependencyError, match="package no-such-package is not installed"):
        library_versions(["no-such-package"])
