"""The stage preferences scores each model's own pictures by the model that its row names."""

import shutil

import pytest
from stage_world import item, pixels, rows_of, run, sample, write_benchmark, write_samples
from tiny_world import tiny_params, write_params

from selma.core.errors import ConfigError, MissingDataError, SelmaError
from selma.core.tables import content_hash, read_about

ITEMS = [item("a", "a red square"), item("b", "two blue hearts", source="common")]
OTHERS = [item("c", "a green ring")]
PLAIN = {"version": None, "antialias": None, "batch_size": 2}


@pytest.fixture
def folder(with_models):
    write_benchmark("first", *ITEMS)
    write_benchmark("second", *OTHERS)
    for model, colour in (("red-model", "red"), ("blue-model", "blue")):
        write_samples(model, "first", [sample(one, n, colour) for n, one in enumerate(ITEMS)])
        write_samples(model, "second", [sample(OTHERS[0], 0, colour)])
    for model in ("red-model", "blue-model"):
        rows = rows_of(f"data/samples/{model}/first.parquet", "samples")
        write_samples(model, "first", [{**row, "sample": 0} for row in rows])
    return with_models


def prefer(folder, model="red-model", *, arguments=None, threads=1, name="mine", **changes):
    row = {"kind": "pickscore", "title": "Mine", "benchmark": "first"}
    row |= {"path": "models/pocket/pickscore", **PLAIN, **changes}
    params = tiny_params(threads=threads)
    params["preferences"] = {"mine": row, "another": {**row, "benchmark": "second"}}
    write_params(folder, params)
    places = arguments or f"--benchmarks data/benchmarks --samples data/samples/{model}"
    run("preferences", f"--preference {name} --model {model} {places} --out out.parquet")
    return {row["item_id"]: row["score"] for row in rows_of("out.parquet", "scores")}


def by_hand(path, model, benchmark=ITEMS, name="first"):
    """Cosine of picture and prompt by stock transformers, and the model's own factor."""
    import torch
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    clip = CLIPModel.from_pretrained(path).eval()
    tokenizer = CLIPTokenizer.from_pretrained(path)
    processor = CLIPImageProcessor.from_pretrained(path)
    rows = rows_of(f"data/samples/{model}/{name}.parquet", "samples")
    shown = processor([pixels(row).astype("uint8") for row in rows], return_tensors="pt")
    prompts = [one["prompt"] for one in benchmark]
    tokens = tokenizer(prompts, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        out = clip(**tokens, **shown)
    cosines = (out.image_embeds * out.text_embeds).sum(1)
    return {one["item_id"]: float(c) for one, c in zip(benchmark, cosines, strict=True)}, float(
        clip.logit_scale.detach().exp()
    )


def scaled(cosines, factor):
    return {
        name: pytest.approx(factor * cosine, rel=1e-4, abs=1e-4) for name, cosine in cosines.items()
    }


def test_pickscore_of_each_models_own_pictures(folder):
    for model in ("red-model", "blue-model"):
        cosines, factor = by_hand("models/pocket/pickscore", model)
        assert prefer(folder, model) == scaled(cosines, factor)


def test_the_weights_are_those_of_the_path_of_params(folder):
    cosines, factor = by_hand("models/pocket/hps", "red-model")
    assert prefer(folder, path="models/pocket/hps") == scaled(cosines, factor)
    assert read_about(folder / "out.parquet")["judge"] == "models/pocket/hps"


def test_hps_is_100_times_the_cosine_by_its_version(folder):
    cosines, _ = by_hand("models/pocket/hps", "red-model")
    row = {"kind": "hps", "path": "models/pocket/hps", "version": "pocket"}
    assert prefer(folder, **row) == scaled(cosines, 100)
    assert read_about(folder / "out.parquet")["version"] == "pocket"
    with pytest.raises(SelmaError, match=r"v2\.1"):
        prefer(folder, **{**row, "version": "v2.1"})
    with pytest.raises(ConfigError, match="v9"):
        prefer(folder, **{**row, "version": "v9"})
    with pytest.raises(ConfigError, match="antialias"):
        prefer(folder, **{**row, "antialias": False})


def test_imagereward_is_a_network_of_its_own(folder):
    row = {"kind": "imagereward", "path": "models/pocket/imagereward"}
    found = prefer(folder, **row)
    assert read_about(folder / "out.parquet")["metric"] == "imagereward"
    assert found["a"] != pytest.approx(prefer(folder)["a"])


def test_the_benchmark_is_that_of_the_row(folder):
    cosines, factor = by_hand("models/pocket/pickscore", "blue-model", OTHERS, "second")
    assert prefer(folder, "blue-model", name="another") == scaled(cosines, factor)
    about = read_about(folder / "out.parquet")
    assert about["benchmark"] == "second"
    assert about["benchmark_sha256"] == content_hash(OTHERS, "benchmark")


def test_scores_say_what_they_are(folder):
    prefer(folder, title="My score")
    about = read_about(folder / "out.parquet")
    assert (about["measure"], about["title"], about["metric"]) == ("mine", "My score", "pickscore")
    assert (about["factor"], about["coverage"], about["n_pictures"]) == (1.0, 1.0, 2)
    assert about["benchmark"] == "first"
    rows = rows_of("out.parquet", "scores")
    assert [(row["item_id"], row["source"]) for row in rows] == [("a", "count"), ("b", "common")]


def test_pictures_are_shown_to_the_model_in_batches_of_params(folder):
    """Torch's own hook sees how many pictures each convolution got."""
    import torch
    from torch.nn.modules.module import register_module_forward_pre_hook

    seen = []

    def note(module, inputs):
        if isinstance(module, torch.nn.Conv2d):
            seen.append(len(inputs[0]))

    handle = register_module_forward_pre_hook(note)
    try:
        prefer(folder, batch_size=2)
        prefer(folder, batch_size=1)
    finally:
        handle.remove()
    assert seen == [2, 1, 1]


def test_pictures_and_benchmarks_come_from_the_folders_of_the_arguments(folder):
    shutil.move(folder / "data", folder / "elsewhere")
    places = "--benchmarks elsewhere/benchmarks --samples elsewhere/samples/blue-model"
    moved = prefer(folder, "red-model", arguments=places)
    shutil.move(folder / "elsewhere", folder / "data")
    assert moved == prefer(folder, "blue-model")
    assert moved != prefer(folder, "red-model")


def test_torch_works_with_the_threads_of_params(folder, one_thread):
    import torch

    prefer(folder, threads=2)
    assert torch.get_num_threads() == 2


def test_a_missing_picture_an_unknown_scorer_or_option_stops_the_stage(folder):
    with pytest.raises(ConfigError, match="unknown preference scorer 'pick'"):
        prefer(folder, kind="pick")
    with pytest.raises(ConfigError, match="version"):
        prefer(folder, version="v2.1")
    rows = rows_of("data/samples/red-model/first.parquet", "samples")
    write_samples("red-model", "first", rows[:1])
    with pytest.raises(MissingDataError, match="1 missing"):
        prefer(folder)
    assert not (folder / "out.parquet").exists()
