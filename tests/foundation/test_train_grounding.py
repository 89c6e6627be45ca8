"""Tests of the stage train_grounding: its params and paths decide what it writes."""

import pytest
import yaml

from stages.train_grounding import main

SMALL = {
    "pictures": 6, "wrong_captions": 0.1, "partial_captions": 0.3, "single_objects": 0.3,
    "empty_captions": 0.1, "ungrounded": 0.1, "partly_grounded": 0.3, "colourless_phrases": 0.2,
    "timestep_power": 0.5, "attention_weight": 0.1, "train_steps": 10, "batch_size": 4,
    "learning_rate": 0.01, "average_decay": 0.9, "checkpoint_every_steps": 5,
    "held_out_pictures": 2,
}  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch, tiny_models):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "root"))

    def train(out="out", **changes):
        params = {"seed": changes.pop("seed", 1), "threads": 1, "gligen": SMALL | changes}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        folder = tmp_path / out
        main(
            [
                *("--section", "gligen", "--params", str(tmp_path / "params.yaml")),
                *("--base", str(tiny_models / "models/pocket/base")),
                *("--out", str(folder / "model"), "--curve", str(folder / "curve.csv")),
                *("--metrics", str(folder / "metrics.json")),
            ]
        )
        return folder

    return train


def weights(folder):
    return (folder / "model/unet/diffusion_pytorch_model.safetensors").read_bytes()


def test_params_change_the_weights_and_a_second_run_does_not(run):
    brief = {
        "batch_size": 16,
        "train_steps": 1,
        "checkpoint_every_steps": 1,
        "held_out_pictures": 1,
    }
    before = weights(run("before", **brief))
    assert weights(run("again", **brief)) == before
    changes = [{"seed": 2}, {"single_objects": 1.0}, {"attention_weight": 1.0}, {"train_steps": 2}]
    for number, change in enumerate(changes):
        assert weights(run(f"after-{number}", **brief | change)) != before, change
