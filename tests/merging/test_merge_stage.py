import json

import pytest
import torch
from ruamel.yaml import YAML

from selma.core.errors import ConfigError, RecordError
from selma.merging.files import read_adapter, read_provenance, write_adapter
from stages import merge


@pytest.fixture
def world(tmp_path, factors):
    """A folder with params and two experts."""
    weights = {"count": 1.0, "common": 3.0}
    section = {"method": "delta_mean", "scale": 1.0, "weights": weights}
    YAML().dump({"threads": 1, "merge": section}, tmp_path / "params.yaml")
    for seed, skill in enumerate(weights):
        path = tmp_path / f"{skill}.safetensors"
        write_adapter(path, {"x.to_q": factors(seed)}, {"name": skill})
    return tmp_path


def run(world, *files):
    files = files or (world / "count.safetensors", world / "common.safetensors")
    merge.main(
        f"--experts {' '.join(map(str, files))} --out {world}/merged.safetensors "
        f"--metrics {world}/merge.json --params {world}/params.yaml".split()
    )
    return (world / "merged.safetensors").read_bytes()


def test_the_stage_writes_the_weighted_mean_with_its_origins_and_its_certificate(world, factors):
    run(world)
    merged = read_adapter(world / "merged.safetensors")["x.to_q"]
    expected = 0.25 * factors(0).delta() + 0.75 * factors(1).delta()
    torch.testing.assert_close(merged.delta(), expected, rtol=1e-5, atol=1e-5)
    provenance = read_provenance(world / "merged.safetensors")
    assert provenance["merge"]["weights"] == {"count": 1.0, "common": 3.0}
    assert provenance["experts"]["count"]["name"] == "count"
    metrics = json.loads((world / "merge.json").read_text())
    assert metrics["relative_error"] < 1e-6
    assert set(metrics["cosine"]) == {"count", "common"}


def test_the_order_of_the_files_changes_no_byte(world):
    paths = [world / "common.safetensors", world / "count.safetensors"]
    assert run(world, *paths) == run(world, *reversed(paths))


def test_two_files_of_one_name_are_refused(world):
    (world / "old").mkdir()
    other = world / "old" / "count.safetensors"
    other.write_bytes((world / "count.safetensors").read_bytes())
    with pytest.raises(ConfigError, match="count"):
        run(world, world / "count.safetensors", world / "common.safetensors", other)


def test_an_expert_cut_in_half_stops_the_stage_and_nothing_is_written(world):
    path = world / "count.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RecordError, match=r"count\.safetensors: not a whole"):
        run(world)
    assert not (world / "merged.safetensors").exists()
