"""The stage fit writes RegMean or learned weights of the experts that its row names."""

import pytest
import torch
from stage_world import read_json, run
from tiny_world import tiny_params, write_expert, write_images, write_params, write_prompts

from selma.adapters.factors import LoraFactors
from selma.adapters.files import read_adapter, read_provenance, write_adapter
from selma.core.errors import ConfigError, MissingDataError
from selma.core.fingerprints import content_sha256
from selma.core.tables import read_table, write_table
from selma.diffusion.grams import text_gram
from selma.diffusion.loading import load_backbone
from selma.merging.certificate import MEASURED
from selma.merging.verification import verify

BLOCK = "unet.mid_block.attentions.0.transformer_blocks.0"
TEXT, OTHER = f"{BLOCK}.attn2.to_v", f"{BLOCK}.attn1.to_q"
SHAPES = {TEXT: (32, 96), OTHER: (32, 32)}
SKILLS = ("common", "count")
REGMEAN = {
    "kind": "regmean", "weights": {"common": 1.0, "count": 3.0}, "scale": 1.0,
    "off_diagonals": 0.5, "rank": None,
}  # fmt: skip
CAT = {"kind": "cat", "skills": list(SKILLS), "lora": {"weight_decay": 0.0}}


def factors(seed, layer):
    out, inside = SHAPES[layer]
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(2, inside, generator=generator)
    return LoraFactors(a, 0.1 * torch.randn(out, 2, generator=generator))


@pytest.fixture
def folder(with_models):
    for seed, skill in enumerate(SKILLS):
        adapter = {layer: factors(10 * seed + n, layer) for n, layer in enumerate(SHAPES)}
        write_adapter(with_models / f"models/experts/{skill}.safetensors", adapter, {"name": skill})
        write_prompts(with_models, skill, 3 + seed)
        write_images(with_models, skill, 3)
    rows = read_table(with_models / "data/prompts/count.parquet", "prompts")
    rows = [{**row, "prompt": f"a blue ring over {row['prompt']}"} for row in rows]
    write_table(with_models / "data/prompts/count.parquet", "prompts", rows)
    return with_models


def fit(folder, row, **changes):
    write_params(folder, {**tiny_params(**changes), "fits": {"mine": row, "other": REGMEAN}})
    arguments = "--fit mine --experts models/experts --prompts data/prompts --images data/images"
    run("fit", f"{arguments} --out out/m.safetensors --certificate out/c.json "
        "--metrics out/m.json --curve out/m.csv")  # fmt: skip
    adapter = read_adapter(folder / "out/m.safetensors")
    return {layer: one.delta() for layer, one in adapter.items()}


def experts(folder, layer):
    paths = {skill: folder / f"models/experts/{skill}.safetensors" for skill in SKILLS}
    return {skill: read_adapter(path)[layer].delta() for skill, path in paths.items()}


def close(one, other, within=1e-4):
    return bool((one - other).abs().max() <= within * other.abs().max())


def curve(folder):
    header, *lines = (folder / "out/m.csv").read_text().splitlines()
    return header, [[float(value) for value in line.split(",")] for line in lines]


def test_regmean_is_the_closed_form_of_the_prompts_text_states(folder):
    fitted = fit(folder, REGMEAN)
    backbone = load_backbone("models/pocket/base", "float32", "cpu")
    left, right = torch.zeros(32, 96).double(), torch.zeros(96, 96).double()
    for skill, delta in experts(folder, TEXT).items():
        rows = read_table(folder / f"data/prompts/{skill}.parquet", "prompts")
        gram = text_gram([row["prompt"] for row in rows], backbone)
        gram = 0.5 * gram + 0.5 * gram.diagonal().diag()
        left += REGMEAN["weights"][skill] * delta @ gram
        right += REGMEAN["weights"][skill] * gram
    assert close(fitted[TEXT], left @ torch.linalg.inv(right))
    own = experts(folder, OTHER)
    assert close(fitted[OTHER], 0.25 * own["common"] + 0.75 * own["count"])
    assert not close(
        fitted[TEXT],
        0.25 * experts(folder, TEXT)["common"] + 0.75 * experts(folder, TEXT)["count"],
        within=0.01,
    )


def test_regmeans_curve_goes_from_the_means_error_to_the_fits(folder):
    fit(folder, REGMEAN)
    header, points = curve(folder)
    facts = read_json("out/m.json")
    assert header == "step,loss"
    errors = facts["output_error"]
    assert points == [
        [1, pytest.approx(errors["mean"], abs=1e-6)],
        [2, pytest.approx(errors["fit"], abs=1e-6)],
    ]
    assert 0 < errors["fit"] < errors["mean"]
    assert facts["relative_error"] < 1e-5
    assert facts["text_layers"] == 1
    made = read_provenance(folder / "out/m.safetensors")
    assert made["fit"] == REGMEAN
    assert set(made["experts"]) == set(SKILLS)


@pytest.mark.parametrize("row", [REGMEAN, CAT], ids=["regmean", "cat"])
def test_a_fit_is_certified_as_a_merge_is(folder, row):
    fit(folder, row)
    certificate, facts = read_json("out/c.json"), read_json("out/m.json")
    assert certificate["sha256"] == content_sha256(folder / "out/m.safetensors")
    paths = {skill: folder / f"models/experts/{skill}.safetensors" for skill in SKILLS}
    assert certificate["inputs"] == {s: content_sha256(path) for s, path in paths.items()}
    assert set(certificate["layers"]) == set(SHAPES) and certificate["formula"]
    assert {facts[name] == certificate[name] for name in MEASURED} == {True}
    made = read_provenance(folder / "out/m.safetensors")
    assert certificate["settings"] == (made["fit"] if row is REGMEAN else made["merge"])


def test_scale_rank_and_an_expert_of_weight_0(folder):
    whole = fit(folder, REGMEAN)
    twice = fit(folder, {**REGMEAN, "scale": 2.0})
    assert all(close(twice[layer], 2 * whole[layer]) for layer in SHAPES)
    fit(folder, {**REGMEAN, "rank": 1})
    assert {one.rank for one in read_adapter(folder / "out/m.safetensors").values()} == {1}
    (folder / "models/experts/common.safetensors").unlink()
    alone = fit(folder, {**REGMEAN, "weights": {"common": 0.0, "count": 2.0}})
    expert = read_adapter(folder / "models/experts/count.safetensors")
    assert all(close(alone[layer], expert[layer].delta()) for layer in SHAPES)


def learned(made):
    """The weights of a merge's record, per layer and skill."""
    blocks = made["merge"]["weights"]
    assert all(own["all"] == 0.5 and set(own) == {"all", *SHAPES} for own in blocks.values())
    return {layer: {skill: blocks[skill][layer] for skill in SKILLS} for layer in SHAPES}


def test_cat_is_the_sum_with_the_weights_of_its_provenance_which_moved_from_the_mean(folder):
    fitted = fit(folder, CAT)
    made = read_provenance(folder / "out/m.safetensors")
    weights = learned(made)
    for layer, own in weights.items():
        assert all(0 < abs(weight - 0.5) < 0.1 for weight in own.values())
        deltas = experts(folder, layer)
        assert close(fitted[layer], sum(own[skill] * deltas[skill] for skill in SKILLS))
    header, points = curve(folder)
    assert header == "step,loss,gradient_norm"
    assert [step for step, *_ in points] == [3]
    assert read_json("out/m.json")["step"] == 3
    paths = [folder / f"models/experts/{skill}.safetensors" for skill in SKILLS]
    assert "verified: the same bytes" in verify(folder / "out/m.safetensors", paths)


def test_cat_trains_as_lora_says_but_for_the_rows_own_numbers(folder, caplog):
    caplog.set_level("INFO", logger="selma")
    row = {**CAT, "lora": {"train_steps": 1, "batch_size": 3, "weight_decay": 0.0}}
    fit(folder, row)
    assert "training mine on 6 pictures: 1 steps of 3, 4 weights" in caplog.text
    lora = tiny_params()["lora"]
    made = read_provenance(folder / "out/m.safetensors")["fit"]["lora"]
    assert made == {
        **{
            key: value for key, value in lora.items() if key not in ("objective", "rank", "targets")
        },
        **row["lora"],
    }
    weights = learned(read_provenance(folder / "out/m.safetensors"))
    moved = [abs(weight - 0.5) for own in weights.values() for weight in own.values()]
    assert max(moved) == pytest.approx(lora["learning_rate"], rel=1e-3)  # Adam's first step


def test_the_adapters_own_keys_of_lora_are_none_of_a_fits(folder):
    with pytest.raises(ConfigError, match=r"fits\.mine\.lora\.rank is not a known key"):
        fit(folder, {**CAT, "lora": {"rank": 4}})


def test_the_same_bytes_again_and_others_with_another_seed(folder):
    fit(folder, CAT)
    first = (folder / "out/m.safetensors").read_bytes()
    fit(folder, CAT)
    assert (folder / "out/m.safetensors").read_bytes() == first
    fit(folder, CAT, seed=1)
    assert (folder / "out/m.safetensors").read_bytes() != first


def test_what_is_missing_or_does_not_fit_stops_it_and_nothing_is_written(folder):
    with pytest.raises(ConfigError, match="kind"):
        fit(folder, {**REGMEAN, "kind": "regmeen"})
    with pytest.raises(ConfigError, match=r"fits\.mine\.scale: .*nothing is left to merge"):
        fit(folder, {**REGMEAN, "scale": 0.0})
    for skill in SKILLS:
        write_prompts(folder, skill, 1)  # 48 tokens
    with pytest.raises(ConfigError, match="off_diagonals: .* do not span all 96"):
        fit(folder, {**REGMEAN, "off_diagonals": 1.0})
    write_expert(folder, "count", layer=OTHER.replace("to_q", "to_k"))
    (folder / "data/prompts/common.parquet").unlink()
    with pytest.raises(MissingDataError, match="common"):
        fit(folder, REGMEAN)
    assert not (folder / "out").exists()
