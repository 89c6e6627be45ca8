import time
from types import SimpleNamespace

import pytest
import torch

from selma.training.speed import PEAKS, Meter, count_operations, in_words
from selma.training.trainer import train_experts

GIB = 2**30


def test_operations_of_a_product_are_twice_its_multiplications():
    one, other = torch.ones(3, 5), torch.ones(5, 7)
    assert count_operations(lambda: one @ other) == 2 * 3 * 5 * 7


def test_the_figures_of_a_training_agree_with_its_clock(make_backbone, examples):
    settings = {
        "seed": 3, "rank": 2, "targets": None, "learning_rate": 1e-3, "weight_decay": 0.0,
        "train_steps": 6, "batch_size": 4, "micro_batch_size": 2, "max_gradient_norm": 1.0,
        "min_snr_gamma": None, "average_decay": None, "flip": False, "select": None,
    }  # fmt: skip
    started = time.monotonic()
    expert = train_experts(make_backbone(), {"count": examples}, **settings)["count"]
    elapsed = time.monotonic() - started
    speed = expert.speed
    assert speed["samples_per_second"] >= 6 * 4 / elapsed
    assert 0.01 * GIB < speed["peak_memory_bytes"] < 64 * GIB
    each = speed["flops_per_second"] / speed["samples_per_second"]
    whole = train_experts(
        make_backbone(), {"count": examples}, **{**settings, "micro_batch_size": 4}
    )["count"].speed
    # W + BA is formed once a micro-batch, so that a larger one costs a little less
    assert 0.8 < whole["flops_per_second"] / whole["samples_per_second"] / each < 1


class Gpu:
    device = "cuda"

    def __init__(self, dtype):
        self.denoiser = SimpleNamespace(dtype=dtype)


@pytest.mark.parametrize(
    ("name", "dtype", "share"),
    [
        ("NVIDIA H100 80GB HBM3", torch.bfloat16, 1 / PEAKS["H100"]),
        ("NVIDIA A100-SXM4-80GB", torch.float16, 1 / PEAKS["A100"]),
        ("NVIDIA H100 80GB HBM3", torch.float32, None),
        ("Some other", torch.bfloat16, None),
    ],
)
def test_utilisation_is_said_of_a_known_gpu_in_half_precision(monkeypatch, name, dtype, share):
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda: 3 * GIB)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: name)
    clock = iter([10.0, 14.0])
    monkeypatch.setattr("selma.training.speed.time", SimpleNamespace(monotonic=lambda: next(clock)))
    meter = Meter(Gpu(dtype), 8, 1e12)
    for _ in range(5):
        meter()
    figures = meter.figures()
    monkeypatch.undo()
    assert figures["samples_per_second"] == 5 * 8 / 4
    assert figures["flops_per_second"] == 1e13
    assert figures["peak_memory_bytes"] == 3 * GIB
    assert figures.get("model_flop_utilisation") == (share and pytest.approx(1e13 * share))
    words = "10 samples/s, 1e+04 GFLOP/s, "
    words += "1 % of the GPU's peak, " if share == 1 / PEAKS["H100"] else ""
    words += "3 % of the GPU's peak, " if share == 1 / PEAKS["A100"] else ""
    assert in_words(figures) == f"{words}peak memory 3.0 GiB"
