"""`selma preset NAME --tiny`: the whole graph in the shape of each real preset, on real classes."""

import json

import pytest
from dvc_world import DvcWorld, lay_out
from fork_server import ForkServer
from test_presets import REAL
from tiny_world import ROOT, read_yaml

from selma.adapters.files import read_adapter
from selma.checking.problems import find_problems
from selma.commands.cli import main as selma
from selma.core.errors import ConfigError
from selma.core.tables import read_table
from selma.tiny.benchmarks import DSG, TIFA
from selma.tiny.presets import AT_MOST, FAMILIES, INSTEAD, LEAKS, LLM, make_tiny

# diffusers' Euler scheduler with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")


def text_of(name):
    return (ROOT / "presets" / f"{name}.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One repository, in which the presets run one after the other."""
    folder = tmp_path_factory.mktemp("presets") / "world"
    folder.mkdir()
    lay_out(folder)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ForkServer(tmp_path_factory.mktemp("python")) as server:
        yield server


@pytest.fixture(scope="module", params=REAL)
def world(request, folder, server):
    """The preset's name, the repository after one `dvc repro`, and the stages that did not run."""
    first = not (folder / "dvc.lock").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("OPENAI_API_KEY", raising=False)
        patch.setenv("SELMA_TRACK", "0")
        assert selma(["preset", request.param, "--tiny", "--force"]) == 0
        assert find_problems(folder, folder / "params.yaml") == []
        world = DvcWorld(folder, read_yaml(folder / "params.yaml"), server)
        ran = world.repro()
        assert len(ran) == len(set(ran))
        if first:
            assert set(ran) == world.stages()
    return request.param, world, world.stages() - set(ran)


def test_only_the_same_prompts_and_judges_are_kept_and_a_second_repro_does_nothing(world):
    _, world, kept = world
    same = {f"prompts@{skill}" for skill in world.params["skills"]}
    same |= {f"judge_row@{judge}" for judge in world.params["judges"]}
    same |= {f"rater_row@{rater}" for rater in world.params["raters"]}
    same |= {f"source@{source}" for source in world.params["sources"]} | {"objective_row"}
    assert kept in (set(), same)
    assert world.repro() == []


def test_every_measure_has_its_value_of_every_model_over_all_prompts(world):
    _, world, _ = world
    comparison = json.loads((world.folder / "metrics/comparison.json").read_text())
    measures = {"dsg": DSG, "tifa": TIFA, "pickscore": DSG, "imagereward": DSG, "hps": DSG}
    found = {
        (row["measure"], row["model"]): (row["n_items"], row["n_samples"])
        for row in comparison["scores"]
        if row["skill"] == "all"
    }
    assert found == {
        (measure, model): (len(items), world.params["samples"]["per_prompt"])
        for measure, items in measures.items()
        for model in ("base", "merged", "mixture")
    }
    headline = json.loads((world.folder / "metrics/metrics.json").read_text())
    assert set(measures) <= set(headline)
    metrics = {row["name"]: row["metric"] for row in comparison["measures"]}
    assert metrics == {measure: measure for measure in measures}
    versions = {row["name"]: row["version"] for row in comparison["measures"]}
    assert versions["hps"] == "v2.1"


def test_the_judges_of_the_paper_answered_and_do_not_say_the_same_of_all_pictures(world):
    _, world, _ = world
    for answers, judge in (("dsg", "mplug mplug"), ("tifa", "blip2 blip2")):
        said = set()
        for model in world.params["models"]:
            path = world.folder / f"data/answers/{answers}/{model}.parquet"
            rows = read_table(path, "answers")
            assert {row["judge"] for row in rows} == {judge}
            said |= {row["answer"] for row in rows}
        assert len(said) > 1


def projections(folder):
    """The attention's projections of the family's own U-Net, as diffusers names them."""
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    ends = ("to_q", "to_k", "to_v", "to_out.0")
    return {name for name, _ in unet.named_modules() if name.endswith(ends)}


def test_adapters_are_of_the_presets_family_and_change_its_pictures(world):
    name, world, _ = world
    backbone = world.folder / world.params["backbone"]["path"]
    pipeline = json.loads((backbone / "model_index.json").read_text())["_class_name"]
    scheduler = json.loads((backbone / "scheduler/scheduler_config.json").read_text())
    assert (pipeline, scheduler["prediction_type"]) == {
        "sd14": ("StableDiffusionPipeline", "epsilon"),
        "sd2": ("StableDiffusionPipeline", "v_prediction"),
        "sdxl": ("StableDiffusionXLPipeline", "epsilon"),
    }[name]
    names = projections(backbone)
    experts = [f"experts/{skill}" for skill in world.params["skills"]]
    for path in (*experts, "merged/merged", "mixtures/mixture"):
        found = read_adapter(world.folder / f"models/{path}.safetensors")
        assert set(found) == {f"unet.{module}" for module in names}
    pictures = {
        model: [
            row["image"]["bytes"]
            for row in read_table(
                world.folder / f"data/samples/{model}/dsg1k-tiny.parquet", "samples"
            )
        ]
        for model in ("base", "merged", "mixture")
    }
    for row in zip(*pictures.values(), strict=True):
        assert len(set(row)) == 3


def leaves(node, key=()):
    """All values of a params file by their keys."""
    if not isinstance(node, dict) or not node:
        return {key: node}
    return {k: v for name, value in node.items() for k, v in leaves(value, (*key, name)).items()}


@pytest.mark.parametrize("name", REAL)
def test_only_sizes_places_and_the_llm_differ_from_the_preset(name):
    from ruamel.yaml import YAML

    tiny, whole = (
        leaves(YAML(typ="safe").load(text))
        for text in (make_tiny(name, text_of(name)).text, text_of(name))
    )
    whole = {key: value for key, value in whole.items() if key[0] not in ("hub", "benchmarks")}
    gone = {key for key in tiny if key[0] == "benchmarks"} | {("hub",)}
    assert set(tiny) - gone == set(whole)
    for key, value in whole.items():
        if tiny[key] == value:
            continue
        if key[0] == "llm":
            assert tiny[key] == LLM[key[1]]
        elif key[-1] in LEAKS:
            assert tiny[key] == LEAKS[key[-1]]
        elif isinstance(value, str):
            assert key[-1] in ("path", "weights", "benchmark")
        else:
            assert key[-1] in INSTEAD or tiny[key] == AT_MOST[key[-1]] < value


def test_every_real_presets_backbone_has_a_stand_in():
    hubs = [read_yaml(ROOT / "presets" / f"{name}.yaml")["hub"] for name in REAL]
    assert {hub["backbone"]["repo"] for hub in hubs} == set(FAMILIES)


def test_what_has_no_stand_in_is_named():
    other = text_of("sd14").replace("CompVis/stable-diffusion-v1-4", "somebody/flux")
    with pytest.raises(ConfigError, match=r"backbone at tiny size 'somebody/flux'"):
        make_tiny("sd14", other)
    with pytest.raises(ConfigError, match="no model of the Hub"):
        make_tiny("pocket", text_of("pocket"))


def test_another_params_file_stops_it_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    assert selma(["preset", "sd14", "--tiny"]) == 2
    assert "--force overwrites" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
