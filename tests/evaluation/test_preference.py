"""Preference scorers give the published formulas, whatever the batches."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from selma.errors import RecordError
from selma.evaluation.pixels import preprocess
from selma.evaluation.preference import SCORERS, score_samples

PROMPTS = ("a red star", "two blue discs", "a cat", "an owl on a big tree in the rain")


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def samples():
    rows = []
    for number, prompt in enumerate(PROMPTS):
        buffer = io.BytesIO()
        Image.fromarray(picture(number)).save(buffer, "PNG")
        image = {"bytes": buffer.getvalue(), "path": None}
        rows.append({"item_id": f"i{number}", "sample": 0, "image": image, "prompt": prompt})
    return rows


def scored(metric, directory, batch_size=3):
    return score_samples(
        samples(),
        SCORERS[metric](directory, "v"),
        metric=metric,
        judge="tiny",
        batch_size=batch_size,
        advance=lambda number: None,
    )


def values(rows):
    return np.array([row["score"] for row in rows])


@pytest.fixture(scope="module")
def clip(tmp_path_factory, write_clip):
    directory = tmp_path_factory.mktemp("clip")
    return directory, write_clip(directory)


def test_pickscore_is_the_models_own_logit_of_a_picture_with_its_prompt(clip, tokenizer):
    directory, model = clip
    scorer = SCORERS["pickscore"](directory, "v")
    tokens = tokenizer(list(PROMPTS), padding=True, truncation=True, return_tensors="pt")
    pixels = torch.from_numpy(preprocess([picture(n) for n in range(4)], scorer.settings))
    with torch.inference_mode():
        logits = model(**tokens, pixel_values=pixels).logits_per_image
    np.testing.assert_allclose(
        values(scored("pickscore", directory)), logits.diagonal().numpy(), atol=1e-4
    )


def test_hps_is_a_hundred_cosines_whatever_the_learned_scale(clip):
    directory, model = clip
    cosines = values(scored("pickscore", directory)) / float(model.logit_scale.detach().exp())
    np.testing.assert_allclose(values(scored("hps", directory)), 100 * cosines, atol=1e-4)


@pytest.mark.parametrize("metric", ["pickscore", "imagereward"])
def test_the_batch_size_does_not_move_a_score(metric, tmp_path, request):
    writer = {"pickscore": "write_clip", "imagereward": "write_reward_model"}[metric]
    request.getfixturevalue(writer)(tmp_path)
    one, all_at_once = (values(scored(metric, tmp_path, size)) for size in (1, 100))
    np.testing.assert_allclose(one, all_at_once, atol=1e-4)
    assert len(set(one)) == len(PROMPTS)


def test_imagereward_is_the_scaled_reward_of_each_pair(tmp_path, tokenizer, write_reward_model):
    model = write_reward_model(tmp_path)
    tokens = tokenizer(["a cat"], return_tensors="pt")
    scorer = SCORERS["imagereward"](tmp_path, "v")
    pixels = torch.from_numpy(preprocess([picture(2)], scorer.settings))
    with torch.inference_mode():
        raw = model.forward(pixels, tokens["input_ids"], tokens["attention_mask"])
    got = values(scored("imagereward", tmp_path))[2]
    np.testing.assert_allclose(got, (float(raw[0]) - 0.5) / 2.0, atol=1e-5)


def test_a_prompt_that_is_too_long_is_marked_and_reported(clip, caplog):
    rows = scored("pickscore", clip[0])
    assert [json.loads(r["details"])["truncated"] for r in rows] == [False, False, False, True]
    assert "1 of 4 prompts were truncated" in caplog.text


def test_details_say_what_the_number_is(clip):
    details = json.loads(scored("hps", clip[0])[0]["details"])
    assert {key: details[key] for key in ("metric", "judge", "version", "weight")} == {
        "metric": "hps",
        "judge": "tiny",
        "version": "v",
        "weight": 1,
    }


def test_clip_weights_that_lack_a_tensor_are_refused(tmp_path, write_clip):
    write_clip(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    del tensors["visual_projection.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(RecordError, match="visual_projection.weight"):
        SCORERS["pickscore"](tmp_path, "v")


def test_a_tower_that_looks_for_another_end_token_is_refused(tmp_path, write_clip):
    write_clip(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["eos_token_id"] = 7
    path.write_text(json.dumps(config))
    with pytest.raises(RecordError, match="end token 7"):
        SCORERS["hps"](tmp_path, "v")
