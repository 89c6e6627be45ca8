"""The stage merge writes the weighted mean that its row describes, and certifies it."""

import math

import pytest
from stage_world import read_json, run
from tiny_world import MERGE, tiny_params, write_params

from selma.adapters.factors import LoraFactors
from selma.adapters.files import read_adapter, read_provenance, write_adapter
from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.core.fingerprints import content_sha256

LAYER = "unet.mid.to_q"


def delta(seed):
    """A dense update of rank 2: what the expert of this seed adds."""
    return factors(seed).delta()


def factors(seed):
    import torch

    generator = torch.Generator().manual_seed(seed)
    return LoraFactors(
        torch.randn(2, 6, generator=generator), torch.randn(5, 2, generator=generator)
    )


@pytest.fixture
def folder(world):
    for seed, skill in enumerate(("count", "common", "attributes")):
        write_adapter(
            world / f"experts/{skill}.safetensors", {LAYER: factors(seed)}, {"name": skill}
        )
    return world


def merge(folder, weights, *, experts="experts", name="mine", **changes):
    row = {**MERGE, "weights": weights, **changes}
    other = {**MERGE, "scale": 9.0, "weights": {"count": 1.0}}
    write_params(folder, {**tiny_params(threads=2), "merges": {"another": other, "mine": row}})
    run(
        "merge",
        f"--merge {name} --experts {experts} --out out.safetensors --certificate whole.json "
        "--metrics out.json",
    )
    return read_adapter(folder / "out.safetensors")[LAYER].delta()


def close(one, other):
    return bool((one - other).abs().max() < 1e-4)


def test_the_merge_is_the_weighted_mean_of_the_experts_that_have_a_weight(folder):
    merged = merge(folder, {"count": 1.0, "common": 3.0})
    assert close(merged, 0.25 * delta(0) + 0.75 * delta(1))
    made = read_provenance(folder / "out.safetensors")
    assert set(made["experts"]) == {"count", "common"}
    assert made["merge"]["weights"] == {"count": 1.0, "common": 3.0}


def test_another_row_without_an_expert_leaves_it_out(folder):
    assert close(merge(folder, {"attributes": 2.0}), delta(2))
    assert close(merge(folder, {"attributes": 2.0}, name="another"), 9.0 * delta(0))


def test_the_scale_of_params_multiplies_the_mean(folder):
    merged = merge(folder, {"count": 1.0, "common": 1.0}, scale=0.5)
    assert close(merged, 0.25 * delta(0) + 0.25 * delta(1))


def test_an_unknown_method_is_refused(folder):
    with pytest.raises(
        ConfigError, match=r"unknown merge method 'tise' .*'ties'.*; choose one of: .*delta_mean"
    ):
        merge(folder, {"count": 1.0}, method="tise")


def test_experts_are_taken_from_the_folder_of_the_arguments(folder):
    write_adapter(folder / "others/count.safetensors", {LAYER: factors(7)}, {"name": "count"})
    assert close(merge(folder, {"count": 1.0}, experts="others"), delta(7))


def test_the_certificate_holds_norms_cosines_rank_and_error(folder):
    merge(folder, {"count": 1.0, "common": 1.0})
    found = read_json("out.json")
    one, other = delta(0), delta(1)
    assert found["norm"]["count"] == pytest.approx(float(one.norm()), abs=1e-3)
    assert found["norm"]["common"] == pytest.approx(float(other.norm()), abs=1e-3)
    cosine = float((one * other).sum() / one.norm() / other.norm())
    assert found["cosine"]["count"]["common"] == pytest.approx(cosine, abs=1e-3)
    assert found["merged_norm"] == pytest.approx(float((one + other).norm() / 2), abs=1e-3)
    assert found["rank"] == 4
    assert 0 <= found["relative_error"] < 1e-5
    whole = read_json("whole.json")
    assert {key: whole[key] for key in found} == found
    assert whole["sha256"] == content_sha256(folder / "out.safetensors")
    assert whole["inputs"]["count"] == content_sha256(folder / "experts/count.safetensors")
    assert whole["layers"][LAYER]["rank"] == 4


def test_the_order_of_the_weights_changes_no_byte(folder):
    merge(folder, {"count": 1.0, "common": 3.0})
    first = (folder / "out.safetensors").read_bytes()
    merge(folder, {"common": 3.0, "count": 1.0})
    assert (folder / "out.safetensors").read_bytes() == first


def test_a_missing_or_damaged_expert_stops_the_stage_and_nothing_is_written(folder):
    with pytest.raises(MissingDataError, match="paragraph"):
        merge(folder, {"count": 1.0, "paragraph": 1.0})
    path = folder / "experts/count.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RecordError, match=r"count\.safetensors: not a whole"):
        merge(folder, {"count": 1.0})
    with pytest.raises(ConfigError, match="scale"):
        merge(folder, {"common": 1.0}, scale=0.0)
    assert not (folder / "out.safetensors").exists()


def test_an_expert_without_weight_in_the_mean_takes_no_part(folder):
    merged = merge(folder, {"count": 1.0, "common": 0.0})
    assert close(merged, delta(0))
    assert math.isfinite(float(merged.norm()))


def test_torch_works_with_the_threads_of_params(folder, one_thread):
    import torch

    merge(folder, {"count": 1.0})
    assert torch.get_num_threads() == 2
