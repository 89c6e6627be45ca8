import pytest
from ruamel.yaml import YAML

from selma.core.errors import MissingDataError
from selma.core.tables import read_table, write_table
from selma.merging.files import read_adapter, read_provenance
from stages import lora, mixture

LORA = {
    "rank": 2,
    "learning_rate": 1e-3,
    "weight_decay": 0.01,
    "train_steps": 2,
    "batch_size": 2,
    "max_gradient_norm": 1.0,
    "checkpoint_every_steps": 1,
}
SKILLS = ("count", "common")


@pytest.fixture
def world(tmp_path, model_directory, make_row, monkeypatch):
    """A folder with params and two skills' pictures."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    params = {
        "seed": 3,
        "threads": 1,
        "skills": {
            "count": {"prompts": {}, "lora": {"rank": 3}},
            "common": {"prompts": {}, "lora": {}},
        },
        "backbone": {"path": str(model_directory), "revision": None, "dtype": "float32"},
        "lora": LORA,
        "mixture": {},
    }
    YAML().dump(params, tmp_path / "params.yaml")
    for skill in SKILLS:
        rows = [
            {**make_row(skill, k), "seed": k, "width": 16, "height": 16, "sha256": "0"}
            for k in range(3)
        ]
        write_table(tmp_path / f"{skill}-images.parquet", "images", rows)
    return tmp_path


def run(world, stage, name, *skills, extra=""):
    images = " ".join(f"{world}/{skill}-images.parquet" for skill in skills)
    stage.main(
        f"{extra} --images {images} --out {world}/{name}.safetensors --curve {world}/{name}.csv "
        f"--params {world}/params.yaml".split()
    )
    return (world / f"{name}.safetensors").read_bytes()


def run_lora(world, skill):
    return run(world, lora, skill, skill, extra=f"--skill {skill}")


def test_an_expert_carries_its_skills_overrides_and_its_origin(world):
    run_lora(world, "count")
    assert {layer.rank for layer in read_adapter(world / "count.safetensors").values()} == {3}
    provenance = read_provenance(world / "count.safetensors")
    assert (provenance["name"], provenance["seed"]) == ("count", 3)
    assert provenance["lora"] == {**LORA, "rank": 3}
    assert (world / "count.csv").read_text().splitlines()[0] == "step,loss"
    assert (world / "count.csv").read_text().splitlines()[-1].startswith("2,")


def test_the_mixture_trains_on_all_sets_for_all_experts_steps(world, caplog):
    caplog.set_level("INFO", logger="selma")
    run(world, mixture, "mixture", *SKILLS)
    assert "training mixture on 6 pictures: 4 steps of 2" in caplog.text
    assert read_provenance(world / "mixture.safetensors")["lora"]["train_steps"] == 4


def test_the_mixture_does_not_depend_on_the_order_of_the_sets_but_on_each_set(world, make_row):
    whole = run(world, mixture, "mixture", *SKILLS)
    assert run(world, mixture, "mixture", *reversed(SKILLS)) == whole
    for skill in SKILLS:
        path = world / f"{skill}-images.parquet"
        kept = path.read_bytes()
        rows = read_table(path, "images")
        rows[0]["image"] = make_row("other", 9)["image"]
        write_table(path, "images", rows)
        assert run(world, mixture, "mixture", *SKILLS) != whole
        path.write_bytes(kept)


def test_a_stage_that_died_goes_on_from_its_checkpoint_and_ends_in_the_same_bytes(
    world, monkeypatch
):
    whole = run_lora(world, "common")
    blocked = world / "common.csv"
    blocked.unlink()
    blocked.mkdir()  # the curve cannot be put there: the stage dies at its very end
    with pytest.raises(OSError):
        run_lora(world, "common")
    states = list((world / ".selma" / "work").glob("lora-common-*/state.safetensors"))
    assert len(states) == 1
    blocked.rmdir()
    assert run_lora(world, "common") == whole
    assert not states[0].exists()


def test_a_missing_image_table_says_how_to_get_it(world):
    (world / "count-images.parquet").unlink()
    with pytest.raises(MissingDataError, match="dvc"):
        run_lora(world, "count")


def test_a_missing_base_model_leaves_nothing_half_written(world):
    text = (world / "params.yaml").read_text()
    path = YAML(typ="safe").load(text)["backbone"]["path"]
    (world / "params.yaml").write_text(text.replace(path, str(world / "nowhere")))
    with pytest.raises(MissingDataError, match="nowhere"):
        run_lora(world, "count")
    assert not (world / "count.safetensors").exists()
