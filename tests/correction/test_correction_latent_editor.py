import itertools
import json
import logging
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from gated_model import ATTENTION, WholeBox, latent_settings
from PIL import Image

from selma.adapters.factors import LoraFactors
from selma.adapters.files import write_adapter
from selma.core.errors import (
    AdapterMismatchError,
    BackendError,
    ConfigError,
    MissingDataError,
)
from selma.correction.editors.latent.settings import RefinerSettings
from selma.correction.editors.loading import load_editor
from selma.correction.layout import check_layout
from selma.correction.loop import Job
from selma.correction.plan import plan
from selma.correction.scene import make_scene
from selma.diffusion.loading import load_backbone
from selma.diffusion.tiny import write_tiny_backbone, write_tiny_gated

# diffusers' Euler scheduler with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")

NOUNS = ["cat", "dog", "bird", "owl"]
SIZES = {"epsilon": (8, 8), "v_prediction": (6, 10)}
CURRENT = [
    ["cat #1", [0.1, 0.1, 0.3, 0.3]], ["dog #1", [0.5, 0.5, 0.3, 0.3]],
    ["bird #1", [0.6, 0.1, 0.2, 0.2]], ["owl #1", [0.0, 0.6, 0.2, 0.2]],
]  # fmt: skip
GOALS = {
    "remove": [CURRENT[0], CURRENT[1], CURRENT[3]],
    "add": [*CURRENT, ["owl #2", [0.2, 0.6, 0.3, 0.3]]],
    "move": [["cat #1", [0.2, 0.1, 0.4, 0.4]], *CURRENT[1:]],
    "attribute": [CURRENT[0], ["red dog #1", CURRENT[1][1]], *CURRENT[2:]],
    "all": [
        ["cat #1", [0.2, 0.1, 0.4, 0.4]], ["red dog #1", CURRENT[1][1]], CURRENT[3],
        ["owl #2", [0.2, 0.6, 0.3, 0.3]], ["owl #3", [0.7, 0.7, 0.3, 0.3]],
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    directory = tmp_path_factory.mktemp("gated")
    for kind, size in SIZES.items():
        write_tiny_gated(directory / kind, prediction_type=kind, latent_size=size)
    return directory


def load(path, **changes):
    return load_editor(latent_settings(path, **changes), WholeBox(), device="cpu")


@pytest.fixture(scope="module")
def editor(folders):
    return load(folders / "v_prediction")


def job(goal, seed=7, current=CURRENT, nouns=NOUNS):
    here, there = (check_layout(one, nouns, 99).layout for one in (current, goal))
    scene = make_scene([(noun, [None]) for noun in nouns], "a sea", "fog")
    return Job(scene, here, there, plan(here, there), seed)


def picture(width=40, height=24, mode="RGB", seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels, "RGB").convert(mode)


def difference(one, other):
    return np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float))


@pytest.mark.parametrize("kind", SIZES)
def test_a_plan_of_every_operation_is_carried_out(folders, kind):
    todo = job(GOALS["all"])
    assert todo.plan.counts() == {"remove": 1, "add": 2, "move": 1, "attribute": 1}
    edited = load(folders / kind).edit(picture(), todo)
    assert (edited.size, edited.mode) == ((40, 24), "RGB")
    assert difference(edited, picture()).mean() > 1


def test_each_operation_makes_a_picture_of_its_own(editor):
    kinds = ("remove", "add", "move", "attribute")
    for kind in kinds:
        assert [one for one, count in job(GOALS[kind]).plan.counts().items() if count] == [kind]
    edited = [picture(), *(editor.edit(picture(), job(GOALS[kind])) for kind in kinds)]
    for one, other in itertools.combinations(edited, 2):
        assert difference(one, other).max() > 2


@pytest.mark.parametrize(
    ("mode", "size"), [("L", (40, 24)), ("RGBA", (31, 47)), ("P", (5, 90)), ("RGB", (1, 1))]
)
def test_pictures_of_any_mode_and_size_keep_their_size(editor, mode, size):
    edited = editor.edit(picture(*size, mode), job(GOALS["remove"]))
    assert (edited.size, edited.mode) == (size, "RGB")


def test_the_same_job_ends_in_the_same_bytes_and_no_global_generator_is_used(folders, editor):
    todo = job(GOALS["all"])
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    first = editor.edit(picture(), todo)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]
    torch.manual_seed(2)
    again = load(folders / "v_prediction").edit(picture(), todo)
    assert again.tobytes() == first.tobytes()
    other = editor.edit(picture(), job(GOALS["all"], seed=8))
    assert difference(first, other).max() > 2


def test_nothing_to_do_is_nothing_done(editor):
    given = picture(33, 21)
    assert editor.edit(given, job(CURRENT)).tobytes() == given.tobytes()


def adapter(tmp_path, layer, shape):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2, shape[1], generator=generator)
    b = torch.randn(shape[0], 2, generator=generator)
    path = tmp_path / "adapter.safetensors"
    write_adapter(path, {layer: LoraFactors(a, b)}, {})
    return path, b @ a


LAYER = "mid_block.attentions.0.transformer_blocks.0.attn2.to_q"


def test_an_adapter_changes_its_layer_alone(folders, tmp_path):
    path, update = adapter(tmp_path, f"unet.{LAYER}", (32, 32))
    plain = load_backbone(str(folders / "epsilon"), "float32", "cpu").denoiser.state_dict()
    editor = load(folders / "epsilon", adapter=str(path))
    changed = {
        name: weight - plain[name]
        for name, weight in editor.backbone.denoiser.state_dict().items()
        if not torch.equal(weight, plain[name])
    }
    assert list(changed) == [f"{LAYER}.weight"]
    torch.testing.assert_close(changed[f"{LAYER}.weight"], update, rtol=1e-4, atol=1e-5)


def test_an_adapter_of_another_model_is_refused(folders, tmp_path):
    path, _ = adapter(tmp_path, f"unet.{LAYER}", (8, 8))
    with pytest.raises(AdapterMismatchError, match="belongs to another base model"):
        load(folders / "epsilon", adapter=str(path))


def test_a_model_without_gated_layers_is_refused(tmp_path):
    write_tiny_backbone("sd1", tmp_path / "plain")
    with pytest.raises(BackendError, match="needs a model with GLIGEN's gated layers"):
        load(tmp_path / "plain")


def test_a_gated_model_that_is_said_to_be_plain_is_refused_by_name(folders, tmp_path):
    folder = shutil.copytree(folders / "epsilon", tmp_path / "model")
    changes = {
        "model_index.json": {"_class_name": "StableDiffusionPipeline"},
        "unet/config.json": {"attention_type": "default", "use_gated_attention": True},
    }
    for name, change in changes.items():
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BackendError, match="gated layers.*which a plain Stable Diffusion drops"):
        load(folder)


def test_shares_by_which_a_changed_object_would_be_lost_are_refused(folders):
    with pytest.raises(ConfigError, match="redraws from step 7 of 10 on, but .* first 5 alone"):
        load(folders / "epsilon", attribute_strength=0.3, inference_steps=10)


def test_layers_that_the_model_lacks_are_refused_at_once(folders):
    attention = replace(ATTENTION, layers=["up_blocks.9"])
    with pytest.raises(ConfigError, match="up_blocks"):
        load(folders / "epsilon", attention=attention)


def test_of_more_than_30_objects_the_edited_ones_are_told_first(editor, caplog):
    names = [f"cat #{number}" for number in range(1, 32)]
    current = [[name, [0.01 * n, 0.0, 0.3, 0.3]] for n, name in enumerate(names)]
    goal = [*current, ["owl #1", [0.5, 0.5, 0.4, 0.4]]]
    with caplog.at_level(logging.WARNING):
        editor.edit(picture(), job(goal, current=current))
    assert "told of 30 boxes; not told of: cat #30, cat #31" in caplog.text


def test_what_a_prompt_of_more_than_77_tokens_loses_is_not_guided_to(editor, caplog):
    """Each letter is a token here; the cat is read, the owl is cut off."""
    nouns = ["very long name of a dog", *NOUNS]
    current = [[f"{nouns[0]} #{n}", [0.1 * n, 0.0, 0.2, 0.2]] for n in range(1, 6)]
    goal = [["cat #1", [0.0, 0.5, 0.4, 0.4]], *current, ["owl #1", [0.5, 0.5, 0.4, 0.4]]]
    with caplog.at_level(logging.WARNING):
        editor.edit(picture(), job(goal, current=current, nouns=nouns))
    assert "attention is therefore not guided to: owl #1" in caplog.text


REFINER = RefinerSettings(
    path="", dtype="float32", strength=0.5, inference_steps=4, size_px=32, aesthetic_score=7.0,
    guidance=2.0,
)  # fmt: skip


def write_refiner(folder):
    """A tiny SDXL whose U-Net is told the aesthetic score, as the refiner's is."""
    write_tiny_backbone("sdxl", folder)
    index = json.loads((folder / "model_index.json").read_text())
    index["_class_name"] = "StableDiffusionXLImg2ImgPipeline"
    (folder / "model_index.json").write_text(json.dumps(index))


def test_a_refiner_goes_over_the_result_by_a_seed(folders, tmp_path, editor):
    write_refiner(tmp_path / "refiner")
    refined = load(
        folders / "v_prediction", refiner=replace(REFINER, path=str(tmp_path / "refiner"))
    )
    first, again = (refined.edit(picture(), job(GOALS["remove"])) for _ in range(2))
    assert first.size == (40, 24)
    assert first.tobytes() == again.tobytes()
    assert difference(first, editor.edit(picture(), job(GOALS["remove"]))).mean() > 1


def test_a_refiner_that_is_not_there_is_named(folders):
    with pytest.raises(MissingDataError, match="nowhere: no such folder"):
        load(folders / "epsilon", refiner=replace(REFINER, path="nowhere"))
