"""Tests of the stage train_detector: its params and paths decide what it writes."""

import json

import pytest
import yaml

from selma.correction.detectors.loading import load_detector
from selma.foundation.autoencoder import build_autoencoder
from selma.foundation.tokenizer import build_tokenizer
from stages.train_detector import main

SMALL = {
    "pictures": 6, "held_out_pictures": 2, "train_steps": 2, "batch_size": 3,
    "learning_rate": 0.01, "checkpoint_every_steps": 1, "attribute_threshold": 0.0,
    "primitive_threshold": 0.0, "nms_iou": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    build_tokenizer(0).save_pretrained(folder / "tokenizer")
    build_autoencoder(0).save_pretrained(folder / "autoencoder")
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch, inputs):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "root"))

    def train(out="out", **changes):
        params = {"seed": changes.pop("seed", 1), "threads": 1, "detector": SMALL | changes}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        folder = tmp_path / out
        main(
            [
                *("--params", str(tmp_path / "params.yaml")),
                *("--tokenizer", str(inputs / "tokenizer")),
                *("--autoencoder", str(inputs / "autoencoder")),
                *("--out", str(folder / "model"), "--curve", str(folder / "curve.csv")),
                *("--metrics", str(folder / "metrics.json")),
            ]
        )
        return folder

    return train


def weights(folder):
    return (folder / "model/model.safetensors").read_bytes()


def test_params_change_the_weights_and_a_second_run_does_not(run):
    before = weights(run("before"))
    assert weights(run("again")) == before
    changes = [{"seed": 2}, {"pictures": 7}, {"train_steps": 1}, {"learning_rate": 0.02}]
    for number, change in enumerate(changes):
        assert weights(run(f"after-{number}", **change)) != before, change


def test_the_detector_is_written_with_what_it_is_worth(run):
    from PIL import Image

    folder = run()
    detector = load_detector("owlv2", folder / "model", dtype="float32", device="cpu", batch_size=1)
    picture = Image.new("RGB", (32, 32), "red")
    assert isinstance(detector.detect([picture], [["image of a star"]])[0], list)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {kind: set(rates) for kind, rates in metrics.items()} == {
        kind: {"precision", "recall"} for kind in ("attribute", "primitive")
    }
    assert set(metrics["primitive"]["recall"]) == {"n", "accuracy", "low", "high"}
