import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from selma.core.errors import BackendError, RecordError
from selma.diffusion.gated import SLOTS, GatedStableDiffusion, Region
from selma.diffusion.loading import load_backbone
from selma.diffusion.sampling import draw_batch
from selma.diffusion.tiny import write_tiny_backbone, write_tiny_gated

KINDS = {"epsilon": (8, 8), "v_prediction": (6, 10)}
REGIONS = [Region("a cat", (0.0, 0.1, 0.5, 0.6)), Region("a dog", (0.5, 0.2, 1.0, 0.9))]
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    directory = tmp_path_factory.mktemp("gated")
    for kind, size in KINDS.items():
        write_tiny_gated(directory / kind, prediction_type=kind, latent_size=size)
    return directory


@pytest.fixture
def folder(folders, tmp_path):
    return shutil.copytree(folders / "epsilon", tmp_path / "model")


def load(folder):
    return load_backbone(str(folder), "float32", "cpu")


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_weights(folder, change):
    tensors = change(load_file(folder / WEIGHTS))
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def stock_picture(folder, size, regions, noise):
    from diffusers import StableDiffusionGLIGENPipeline

    pipeline = StableDiffusionGLIGENPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        "a cat and a dog", height=size[0] * 4, width=size[1] * 4, num_inference_steps=4,
        guidance_scale=3.0, gligen_scheduled_sampling_beta=1.0, latents=noise,
        negative_prompt="blurry", gligen_phrases=[one.phrase for one in regions],
        gligen_boxes=[list(one.corners) for one in regions], output_type="np",
    ).images[0]  # fmt: skip


def own_picture(backbone, regions, noise):
    text = backbone.encode_prompts(["blurry", "a cat and a dog"])
    conditions = {**text, **backbone.ground([[], regions])}
    trajectory, latents = backbone.trajectory(4), noise
    with torch.no_grad():
        for timestep in trajectory.timesteps:
            both = backbone.predict(torch.cat([latents] * 2), timestep, conditions)
            without, wanted = both.chunk(2)
            latents = trajectory.step(without + 3 * (wanted - without), timestep, latents)
        return (backbone.decode(latents) / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_a_grounded_picture_is_the_stock_pipelines(folders, kind):
    """Diffusers counts the class as deprecated and runs no test of it; here it is one."""
    size, backbone = KINDS[kind], load(folders / kind)
    noise = torch.randn((1, 4, *size), generator=torch.Generator().manual_seed(3))
    ours = own_picture(backbone, REGIONS, noise)
    assert ours.shape == (size[0] * 4, size[1] * 4, 3)
    np.testing.assert_allclose(ours, stock_picture(folders / kind, size, REGIONS, noise), atol=1e-5)
    others = own_picture(backbone, REGIONS[:1], noise)
    assert np.abs(ours - others).max() > 0.002  # a region less is another picture


def test_without_regions_it_is_the_plain_model(folders, folder):
    edit_json(folder / "model_index.json", _class_name="StableDiffusionPipeline")
    edit_json(folder / "unet/config.json", attention_type="default")
    plain = ("fuser.", "position_net.")
    change_weights(folder, lambda w: {n: v for n, v in w.items() if not any(p in n for p in plain)})
    options = {"guidance_scale": 3.0, "inference_steps": 3}
    theirs = draw_batch(["a cat"], [1], load(folder), **options)
    ours = draw_batch(["a cat"], [1], load(folders / "epsilon"), **options)
    np.testing.assert_array_equal(ours, theirs)


def test_the_conditions_say_what_is_drawn_where(folders):
    backbone = load(folders / "epsilon")
    given = backbone.ground([REGIONS, []])
    assert given["boxes"].shape == (2, SLOTS, 4)
    assert given["boxes"][0, 1].tolist() == pytest.approx([0.5, 0.2, 1.0, 0.9])
    assert given["present"].sum(dim=1).tolist() == [2, 0]
    assert given["phrases"].shape == (2, SLOTS, 16)
    assert not torch.equal(given["phrases"][0, 0], given["phrases"][0, 1])
    assert all(not given[name][1].any() for name in given)


def test_more_regions_than_there_are_slots_are_refused(folders):
    with pytest.raises(ValueError, match="31 regions, 30 at most"):
        load(folders / "epsilon").ground([REGIONS[:1] * 31])


def test_a_config_with_the_old_flag_loads_with_its_gated_layers(folders, folder):
    config = json.loads((folder / "unet/config.json").read_text())
    del config["attention_type"]
    (folder / "unet/config.json").write_text(json.dumps({**config, "use_gated_attention": True}))
    backbone, other = load(folder), load(folders / "epsilon")
    assert isinstance(backbone, GatedStableDiffusion)
    assert backbone.denoiser.config.attention_type == "gated"
    for name, weight in other.denoiser.state_dict().items():
        assert torch.equal(backbone.denoiser.state_dict()[name], weight)


def test_a_plain_folder_whose_gated_layers_would_be_dropped_is_refused(folder):
    edit_json(folder / "model_index.json", _class_name="StableDiffusionPipeline")
    edit_json(folder / "unet/config.json", attention_type="default", use_gated_attention=True)
    with pytest.raises(BackendError, match=r"gated layers, e\.g\. .*fuser.*GLIGENPipeline"):
        load(folder)


def test_a_weight_that_has_no_place_is_refused(folder):
    change_weights(folder, lambda weights: {**weights, "fuser_of_old": torch.zeros(1)})
    with pytest.raises(BackendError, match="1 of its weights have no place.*fuser_of_old"):
        load(folder)


def test_a_gated_model_without_its_gated_layers_is_refused(folder, tmp_path):
    write_tiny_backbone("sd1", tmp_path / "plain")
    edit_json(
        tmp_path / "plain/model_index.json", _class_name="StableDiffusionGLIGENPipeline"
    )  # fmt: skip
    with pytest.raises(RecordError, match="weights are missing.*fuser"):
        load(tmp_path / "plain")
