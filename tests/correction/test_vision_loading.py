"""A model's folder that cannot be used is refused in one clear line."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.correction.detectors.loading import load_detector
from selma.correction.segmenters.loading import load_segmenter

OPTIONS = {"dtype": "float32", "device": "cpu", "batch_size": 2}


@pytest.fixture
def copy(tiny_folder, tmp_path):
    def copied(kind="owlv2"):
        return shutil.copytree(tiny_folder(kind), tmp_path / kind)

    return copied


def refuse(error, match, kind, path, **changes):
    with pytest.raises(error, match=match) as caught:
        load_detector(kind, path, **{**OPTIONS, **changes})
    assert "\n" not in str(caught.value)


def test_a_missing_folder_or_file(tmp_path):
    refuse(MissingDataError, "no such folder", "owlv2", tmp_path / "none")
    refuse(MissingDataError, r"config\.json: not found", "owlv2", tmp_path)


def test_a_folder_of_another_model(tiny_folder):
    refuse(RecordError, "'sam' model, expected 'owlv2'", "owlv2", tiny_folder("sam"))
    with pytest.raises(RecordError, match="'owlv2' model, expected 'sam2' or 'sam2_video'"):
        load_segmenter("sam2", tiny_folder("owlv2"), dtype="float32", device="cpu")


def test_pickled_weights_alone(copy):
    folder = copy()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refuse(RecordError, r"pytorch_model\.bin is pickled", "owlv2", folder)


def test_a_missing_tensor_and_one_of_another_shape(copy):
    folder = copy()
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = "class_head.dense0.bias"
    save_file({k: v for k, v in tensors.items() if k != name}, path, metadata={"format": "pt"})
    refuse(RecordError, f"1 missing, e.g. {name}", "owlv2", folder)
    save_file({**tensors, name: tensors[name][:3].clone()}, path, metadata={"format": "pt"})
    refuse(RecordError, rf"1 mismatched, e\.g\. .*{name}", "owlv2", folder)


def test_damaged_files(copy):
    folder = copy()
    for name, match in [
        ("model.safetensors", "cannot be read"),
        ("tokenizer.json", "tokenizer"),
        ("config.json", "not JSON"),
    ]:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
        refuse(RecordError, match, "owlv2", folder)
        (folder / name).write_bytes(whole)


def test_a_missing_tokenizer_and_a_missing_image_processor(copy):
    folder = copy()
    tokenizer = folder / "tokenizer.json"
    kept = tokenizer.read_bytes()
    tokenizer.unlink()
    refuse(RecordError, "tokenizer", "owlv2", folder)
    tokenizer.write_bytes(kept)
    whole = folder / "processor_config.json"
    settings = json.loads(whole.read_text())["image_processor"]
    whole.unlink()
    refuse(MissingDataError, r"preprocessor_config\.json: not found", "owlv2", folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))  # as older folders do
    load_detector("owlv2", folder, **OPTIONS)
    folder = copy("sam3")
    (folder / "preprocessor_config.json").write_text("{}")
    refuse(RecordError, "lack 'size'", "sam3", folder)


def test_unknown_kinds_and_wrong_settings(tiny_folder, tmp_path):
    folder = tiny_folder("owlv2")
    refuse(ConfigError, "unknown detector 'owl'", "owl", folder)
    refuse(ConfigError, "batch_size is 0", "owlv2", folder, batch_size=0)
    refuse(ConfigError, "unknown dtype", "owlv2", folder, dtype="int8")
    for kind, path, match in [
        ("sam9", folder, "unknown segmenter 'sam9'"),
        ("sam", None, "needs the path"),
        ("contrast", tmp_path, "has no model"),
    ]:
        with pytest.raises(ConfigError, match=match):
            load_segmenter(kind, path, dtype="float32", device="cpu")


def test_a_float16_detector_sees_nearly_the_same(tiny_folder):
    from tiny_vision import picture

    queries = [["image of a dog", "image of a cat"]]
    whole, half = (
        load_detector("owlv2", tiny_folder("owlv2"), **{**OPTIONS, "dtype": dtype}).detect(
            [picture(0)], queries
        )[0]
        for dtype in ("float32", "bfloat16")
    )
    assert whole and abs(whole[0].score - half[0].score) < 0.05
