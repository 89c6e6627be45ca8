"""Preference scorers give the published formulas, whatever the batches."""

import hashlib
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from selma.core.errors import ConfigError, RecordError
from selma.measuring.preferring import load_scorer, score_pictures, shuffled_prompts
from selma.pictures.checks import Findings, PictureSet
from selma.scorers.pixels import preprocess
from selma.scorers.preference import SCORERS, score_samples

PROMPTS = ("a red star", "two blue discs", "a cat", "an owl on a big tree in the rain")
SOURCES = {f"i{number}": ("even", "odd")[number % 2] for number in range(4)}


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


def scored_with_about(metric, directory, batch_size=3):
    return score_samples(
        samples(),
        SCORERS[metric](directory, "pocket" if metric == "hps" else "v"),
        metric=metric,
        judge="tiny",
        sources=SOURCES,
        batch_size=batch_size,
        advance=lambda number: None,
    )


def scored(metric, directory, batch_size=3):
    return scored_with_about(metric, directory, batch_size)[0]


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


def test_a_prompt_that_is_too_long_is_marked_counted_and_reported(clip, caplog):
    rows, about = scored_with_about("pickscore", clip[0])
    assert [json.loads(r["details"]) for r in rows] == [
        {"truncated": cut} for cut in (False, False, False, True)
    ]
    assert about["truncated"] == 1
    assert "1 of 4 prompts were truncated" in caplog.text


def test_a_row_holds_where_its_prompt_comes_from(clip):
    rows = scored("hps", clip[0])
    assert [row["source"] for row in rows] == ["even", "odd", "even", "odd"]
    assert {row["weight"] for row in rows} == {1.0}
    assert all(
        set(row) == {"item_id", "sample", "source", "score", "weight", "details"} for row in rows
    )


def test_an_item_without_a_source_is_named(clip):
    with pytest.raises(RecordError, match="item 'i0' is not in the benchmark"):
        score_samples(
            samples(),
            SCORERS["hps"](clip[0], "pocket"),
            metric="hps",
            judge="tiny",
            sources={},
            batch_size=2,
            advance=lambda number: None,
        )


def test_what_is_said_about_scores_is_what_decides_them(clip):
    about = scored_with_about("hps", clip[0])[1]
    weights = hashlib.sha256((clip[0] / "model.safetensors").read_bytes()).hexdigest()
    assert {name: about[name] for name in about if name not in ("libraries", "preprocessing")} == {
        "metric": "hps",
        "version": "pocket",
        "factor": 1.0,
        "policy": "",
        "judge": "tiny",
        "revision": f"sha256:{weights}",
        "unit": "100 * cosine",
        "device": "cpu",
        "antialias": True,
        "truncated": 1,
    }
    assert about["libraries"]["torch"] == torch.__version__
    assert set(about["libraries"]) >= {"torch", "transformers", "pillow", "numpy"}
    assert "Pillow's bicubic" in about["preprocessing"]
    assert "at most 16 tokens" in about["preprocessing"]
    assert json.loads(json.dumps(about)) == about


def test_weights_in_half_precision_score_in_single(tmp_path, clip, write_clip):
    write_clip(tmp_path)
    path = tmp_path / "model.safetensors"
    halved = {name: tensor.half() for name, tensor in load_file(path).items()}
    save_file(halved, path, metadata={"format": "pt"})
    save_file(
        {name: tensor.float() for name, tensor in halved.items()},
        tmp_path / "single",
        metadata={"format": "pt"},
    )
    half = values(scored("pickscore", tmp_path))
    (tmp_path / "single").replace(path)
    np.testing.assert_allclose(half, values(scored("pickscore", tmp_path)), atol=1e-5)
    assert np.abs(half - values(scored("pickscore", clip[0]))).max() > 1e-5


def test_pickscore_reads_a_checkpoint_as_older_releases_saved_it(tmp_path, write_clip, clip):
    write_clip(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["text_config"] |= {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    path.write_text(json.dumps(config))
    path = tmp_path / "model.safetensors"
    buffers = {
        "text_model.embeddings.position_ids": torch.arange(16)[None],
        "vision_model.embeddings.position_ids": torch.arange(17)[None],
    }
    save_file(load_file(path) | buffers, path, metadata={"format": "pt"})
    # End token 2 makes the tower take the highest id: the end, wherever the padding goes on.
    got = values(scored("pickscore", tmp_path))
    np.testing.assert_allclose(got, values(scored("pickscore", clip[0])), atol=1e-5)


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
        SCORERS["hps"](tmp_path, "pocket")


BENCHMARK = [
    {"item_id": f"i{number}", "prompt": prompt, "source": "s", "questions": []}
    for number, prompt in enumerate([*PROMPTS, "a fox"])
]


def score(metric, directory, version=None, antialias=None, **options):
    scorer = load_scorer(metric, directory, version=version, antialias=antialias, device="cpu")
    return score_pictures(
        BENCHMARK,
        PictureSet(samples(), len(BENCHMARK), Findings(missing=("i4/0",))),
        scorer,
        kind=metric,
        judge="tiny",
        measure="row",
        title="Title",
        benchmark_name="tiny-bench",
        batch_size=2,
        advance=lambda number: None,
        **options,
    )


def test_scores_say_how_much_of_the_benchmark_they_cover(clip):
    rows, about = score("pickscore", clip[0])
    np.testing.assert_allclose(values(rows), values(scored("pickscore", clip[0])), atol=1e-4)
    wanted = {"benchmark": "tiny-bench", "n_items": 4, "n_wanted": 5, "coverage": 0.8}
    wanted |= {"measure": "row", "title": "Title", "judge": "tiny", "prompts": "own"}
    assert {name: about[name] for name in wanted} == wanted
    assert about["left_out"] == ["1 missing (i4/0)"]


def test_clipscore_is_scored_by_its_variants_name(clip):
    rows, about = score("clipscore", clip[0], "tifa")
    np.testing.assert_allclose(values(rows), values(scored("hps", clip[0])), atol=1e-4)
    assert (about["version"], about["unit"]) == ("tifa", "100 * cosine")


def test_antialias_is_an_option_of_hps_alone(clip):
    assert score("hps", clip[0], "pocket", antialias=True)[1]["antialias"]
    with pytest.raises(ConfigError, match="antialias: is an option of hps, not of pickscore"):
        score("pickscore", clip[0], antialias=True)


def test_the_control_scores_each_picture_against_another_prompt(clip):
    rows, about = score("pickscore", clip[0], shuffle_seed=7)
    others = shuffled_prompts({row["item_id"]: row["prompt"] for row in BENCHMARK}, 7)
    swapped = [{**row, "prompt": others[row["item_id"]]} for row in samples()]
    expected, _ = score_samples(
        swapped,
        SCORERS["pickscore"](clip[0], "v"),
        metric="pickscore",
        judge="tiny",
        sources=SOURCES,
        batch_size=2,
        advance=lambda number: None,
    )
    np.testing.assert_allclose(values(rows), values(expected), atol=1e-5)
    assert about["prompts"] == "another item's, seed 7"


def test_no_item_keeps_its_prompt_and_order_does_not_matter():
    prompts = {f"i{number}": f"prompt {number % 90}" for number in range(100)}
    others = shuffled_prompts(prompts, 0)
    assert all(others[item] != prompts[item] for item in prompts)
    assert set(others.values()) == set(prompts.values())
    backwards = dict(reversed(list(prompts.items())))
    assert shuffled_prompts(backwards, 0) == others
    assert shuffled_prompts(prompts, 1) != others


def test_a_new_prompt_changes_one_other_at_most():
    prompts = {f"i{number}": f"prompt {number}" for number in range(50)}
    before = shuffled_prompts(prompts, 0)
    after = shuffled_prompts({**prompts, "new": "a fox"}, 0)
    changed = [item for item in prompts if before[item] != after[item]]
    assert len(changed) == 1
    assert after[changed[0]] == "a fox"


def test_a_single_prompt_cannot_be_shuffled():
    with pytest.raises(RecordError, match="2 items have 1 different prompts"):
        shuffled_prompts({"a": "x", "b": "x"}, 0)
