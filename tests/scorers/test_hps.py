"""HPS: a version is asked for by name, and its benchmark's numbers are the published kind."""

import json
from functools import partial
from statistics import fmean, pstdev

import numpy as np
import pytest
import torch

from selma.core.errors import ConfigError, RecordError
from selma.scorers.clipscore import load_clipscore
from selma.scorers.hps import STYLES, benchmark_score, picture_path, style_score
from selma.scorers.pixels import preprocess
from selma.scorers.preference import load_hps, load_imagereward, load_pickscore


@pytest.fixture(scope="module")
def v21(tmp_path_factory, write_hps):
    directory = tmp_path_factory.mktemp("hps") / "v2.1"
    return directory, write_hps(directory, "v2.1")


@pytest.fixture
def scores():
    generator = np.random.default_rng(0)
    return {style: generator.normal(25 + n, 2, 800) for n, style in enumerate(STYLES)}


def test_a_folder_of_another_version_is_refused(v21):
    with pytest.raises(RecordError, match=r"holds HPS v2.1, expected HPS v2.0.*not comparable"):
        load_hps(v21[0], "v2.0")
    with pytest.raises(RecordError, match="holds HPS v2.1, expected HPS pocket"):
        load_hps(v21[0], "pocket")


def test_a_version_that_does_not_exist_is_refused(v21, tmp_path, write_clip):
    write_clip(tmp_path)
    for folder in (v21[0], tmp_path):
        with pytest.raises(ConfigError, match="unknown HPS version 'v9'.*pocket, v2.0, v2.1"):
            load_hps(folder, "v9")


def test_a_folder_that_does_not_say_its_version_is_none_that_is_published(tmp_path, write_clip):
    write_clip(tmp_path)
    assert load_hps(tmp_path, "pocket").about["version"] == "pocket"
    with pytest.raises(RecordError, match=r"no selma.json.*convert hps HPS_v2.1_compressed.pt"):
        load_hps(tmp_path, "v2.1")


@pytest.mark.parametrize("load", [load_pickscore, load_imagereward])
def test_a_folder_of_another_metric_is_refused(v21, load):
    with pytest.raises(RecordError, match="the model is of metric 'hps', expected"):
        load(v21[0], "v1.0")


def test_a_folder_of_another_kind_of_model_is_refused_in_one_line(
    tmp_path, write_clip, write_reward_model
):
    write_clip(tmp_path / "clip")
    write_reward_model(tmp_path / "reward")
    for load in (load_pickscore, partial(load_clipscore, variant="tifa"), load_hps):
        version = () if isinstance(load, partial) else ("pocket",)
        with pytest.raises(RecordError, match="reward/config.json: not a CLIP's config") as caught:
            load(tmp_path / "reward", *version)
        assert "\n" not in str(caught.value)
    with pytest.raises(RecordError, match="config.json: not a reward model's config") as caught:
        load_imagereward(tmp_path / "clip", "v1.0")
    assert "\n" not in str(caught.value)


def test_a_damaged_origin_is_named(tmp_path, write_clip):
    write_clip(tmp_path)
    (tmp_path / "selma.json").write_text(json.dumps({"metric": "hps"}))
    with pytest.raises(RecordError, match="selma.json: does not say what was converted"):
        load_hps(tmp_path, "pocket")


@pytest.mark.parametrize(
    ("antialias", "resize"),
    [
        (None, "tensor-bicubic"),
        (False, "tensor-bicubic"),
        (True, "tensor-bicubic-antialias"),
    ],
)
def test_antialias_chooses_the_resize_and_is_recorded(v21, antialias, resize):
    directory, model = v21
    scorer = load_hps(directory, "v2.1", antialias=antialias)
    assert scorer.settings.resize == resize
    assert scorer.about["antialias"] is bool(antialias)
    words = "with antialias" if antialias else "without antialias"
    assert words in scorer.about["preprocessing"]
    picture = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    mean, deviation = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    values = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]
    small = torch.nn.functional.interpolate(
        values, (32, 32), mode="bicubic", antialias=bool(antialias)
    )
    pixels = (small - torch.tensor(mean)[:, None, None]) / torch.tensor(deviation)[:, None, None]
    ids = torch.tensor([[52, 26, 2, 0, 45, 53, *[0] * 10]])  # a, c-a-t
    with torch.inference_mode():
        expected = 100 * model.cosines(pixels, ids)
        got = scorer.score(
            torch.from_numpy(preprocess([picture], scorer.settings)), scorer.tokenize(["a cat"])
        )
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=0)


def test_antialias_moves_a_score(v21):
    picture = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    values = []
    for antialias in (False, True):
        scorer = load_hps(v21[0], "v2.1", antialias=antialias)
        pixels = torch.from_numpy(preprocess([picture], scorer.settings))
        with torch.inference_mode():
            values.append(float(scorer.score(pixels, scorer.tokenize(["a cat"]))))
    assert abs(values[0] - values[1]) > 1e-2


def test_pillow_cannot_do_without_antialias(tmp_path, write_clip):
    write_clip(tmp_path)
    assert load_hps(tmp_path, "pocket", antialias=True).about["antialias"] is True
    with pytest.raises(ConfigError, match="Pillow, which always antialiases"):
        load_hps(tmp_path, "pocket", antialias=False)


def test_a_style_is_the_mean_and_the_spread_of_ten_chunks(scores):
    result = benchmark_score(scores)
    for style in STYLES:
        chunks = [fmean(scores[style][start : start + 80]) for start in range(0, 800, 80)]
        assert result.styles[style].mean == pytest.approx(fmean(chunks), abs=1e-12)
        assert result.styles[style].deviation == pytest.approx(pstdev(chunks), abs=1e-12)
    pooled = [score for style in STYLES for score in scores[style]]
    assert result.mean == pytest.approx(fmean(pooled), abs=1e-12)
    assert result.pictures == 3200


def test_missing_pictures_are_an_error_unless_they_are_allowed(scores):
    scores["photo"][[3, 700]] = np.nan
    with pytest.raises(RecordError, match=r"2 pictures of photo are missing, first photo/00003"):
        benchmark_score(scores)
    result = benchmark_score(scores, partial=True)
    there = [value for value in scores["photo"] if not np.isnan(value)]
    assert (result.styles["photo"].pictures, result.pictures) == (798, 3198)
    pooled = [*there, *(value for style in STYLES[:3] for value in scores[style])]
    assert result.mean == pytest.approx(fmean(pooled), abs=1e-12)


def test_a_picture_stays_in_its_chunk_when_others_are_missing():
    values = np.repeat(np.arange(10.0), 80)
    values[:79] = np.nan  # one picture of the first chunk is left
    values[160:240] = np.nan  # none of the third
    result = style_score(values, "anime", partial=True)
    chunks = [0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert result.mean == pytest.approx(fmean(chunks))
    assert result.deviation == pytest.approx(pstdev(chunks))
    assert result.pictures == 800 - 79 - 80
    with pytest.raises(RecordError, match="800 pictures of anime are missing"):
        style_score(np.full(800, np.nan), "anime", partial=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("anime"), "expected anime, concept-art, paintings, photo"),
        (lambda s: s.update(sketch=s["photo"]), "got styles anime, concept-art, paintings, photo,"),
        (lambda s: s.update(photo=s["photo"][:799]), r"photo has scores of shape \(799,\)"),
        (lambda s: s["photo"].__setitem__(0, np.inf), "a score of photo is infinite"),
    ],
)
def test_scores_of_another_benchmark_are_refused(scores, change, message):
    change(scores)
    with pytest.raises(RecordError, match=message):
        benchmark_score(scores)


def test_pictures_have_the_benchmarks_names():
    assert picture_path("concept-art", 17) == "concept-art/00017.jpg"
    for style, index in (("sketch", 0), ("anime", 800), ("anime", -1)):
        with pytest.raises(RecordError, match="no prompt"):
            picture_path(style, index)
