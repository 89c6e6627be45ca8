"""Shows that a short run gives the same bytes on other processors, by emulating them.

`python bench/same_bytes.py` computes every kind of result once on this processor and once on each
of those that qemu-user emulates, prints the first digits of each result's SHA-256 and leaves with 1
if one differs. `--unpinned` shows what happens without the pin of `selma.core.processor`.
Needs qemu-x86_64 (Debian: qemu-user) and the pocket models (`dvc pull foundation/dvc.yaml`).
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selma.core.processor import PINNED, missing_for_pin

ROOT = Path(__file__).parent.parent
POCKET = ROOT / "models/pocket"
MODELS = ("base", "pickscore", "hps", "imagereward")
CPUS = ("Haswell", "EPYC-Rome")  # Intel 2013, AMD 2019
THREADS = 2
PROMPTS = ("two red circles", "a blue square and a green star", "three small rings", "")


def compute_items() -> Iterator[tuple[str, Any]]:
    """Compute each result, as an array or a tuple of numbers."""
    import numpy as np
    import torch

    from selma.core.devices import prepare_device, set_threads
    from selma.diffusion.loading import load_backbone
    from selma.diffusion.requests import to_uint8
    from selma.diffusion.sampling import draw_batch

    set_threads(THREADS)
    backbone = load_backbone(str(POCKET / "base"), "float32", prepare_device())
    seeds = range(len(PROMPTS))
    pixels = draw_batch(PROMPTS, seeds, backbone, guidance_scale=3.0, inference_steps=3)
    yield "pixels", pixels
    drawn = to_uint8(pixels, PROMPTS)
    experts = {}
    for name in ("one", "two"):
        expert = train_briefly(name, drawn, backbone)
        yield f"expert {name}", tuple(expert.values())
        experts[name] = expert
        backbone = load_backbone(str(POCKET / "base"), "float32", prepare_device())
    yield "merged", merge(experts)
    for metric in MODELS[1:]:
        yield metric, score(metric, drawn)
    yield "pocket judge", look_at(drawn)
    yield "bootstrap", compare()
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(2000, generator=generator).numpy()
    yield "numpy functions", (np.exp(values), np.log(values), np.sin(values), values**0.3)
    yield "numpy products", (values.reshape(40, 50) @ values.reshape(50, 40),)


def train_briefly(name: str, pictures: Any, backbone: Any) -> dict[str, Any]:
    """Train an adapter for two steps on the pictures."""
    from selma.pictures.png import encode_png
    from selma.training.experts import train

    rows = [
        {
            "prompt_id": str(k),
            "sample": 0,
            "prompt": prompt,
            "image": {"bytes": encode_png(picture)},
        }
        for k, (prompt, picture) in enumerate(zip(PROMPTS, pictures, strict=True))
    ]
    with tempfile.TemporaryDirectory() as folder:
        expert = train(
            {name: rows}, backbone, Path(folder), seed=0, rank=8, targets=None,
            learning_rate=5e-4, weight_decay=0.01, train_steps=2, batch_size=4, micro_batch_size=4,
            max_gradient_norm=1.0, min_snr_gamma=None, average_decay=None, flip=False,
            select=None, checkpoint_every_steps=2,
        )[name]  # fmt: skip
    return dict(sorted(expert.tensors.items()))


def merge(experts: dict[str, dict[str, Any]]) -> tuple[Any, ...]:
    """Merge the experts exactly, by truncation, and by what looks at single entries."""
    from selma.adapters.files import factors_of
    from selma.merging.certificate import summarise
    from selma.merging.merge import Settings
    from selma.merging.merge import merge as merge_adapters

    adapters = {name: factors_of(tensors, "unet") for name, tensors in experts.items()}
    parts: list[Any] = []
    for method, rank, parameters in (
        ("delta_mean", None, {}), ("svd", 3, {}), ("ties", 3, {"density": 0.4}),
        ("knots", None, {"density": 0.5}), ("tsv", None, {}),
    ):  # fmt: skip
        settings = Settings(
            method=method, weights=dict.fromkeys(adapters, 1.0), scale=1.0, rank=rank,
            error_max=None, match_norm=False, parameters=parameters, dtype="float32", seed=0,
        )  # fmt: skip
        merged = merge_adapters(adapters, settings)
        for _, layer in sorted(merged.adapter.items()):
            parts += [layer.lora_a, layer.lora_b, layer.scale]
        parts.append(repr(summarise(merged.layers, merged.names)))
    return tuple(parts)


def score(metric: str, pictures: list[Any]) -> Any:
    """Score each picture against its prompt by one of the pocket scorers."""
    import torch

    from selma.scorers.pixels import preprocess
    from selma.scorers.preference import SCORERS

    scorer = SCORERS[metric](POCKET / metric, "pocket")
    with torch.inference_mode():
        pixels = torch.from_numpy(preprocess(pictures, scorer.settings))
        return scorer.score(pixels, scorer.tokenize(PROMPTS))


def look_at(pictures: list[Any]) -> tuple[str, ...]:
    """Let the pocket judge say what is in each picture."""
    from selma.pocket.judge import detect_all

    return tuple(map(repr, detect_all(pictures)))


def compare() -> tuple[str, ...]:
    """Compare two made-up models on the same prompts."""
    import numpy as np

    from selma.comparing.statistics import Bootstrap, compare_paired

    generator = np.random.default_rng(0)
    first, second = generator.random((2, 300))
    weights = generator.integers(1, 5, 300).astype(float)
    how = Bootstrap(500, 0.95, 0)
    return tuple(repr(compare_paired(first, second, w, how)) for w in (weights, weights**0))


def digest(item: Any) -> str:
    """Hash an item's bytes: an array, or a tuple of arrays, texts and numbers."""
    import numpy as np

    total = hashlib.sha256()
    for part in item if isinstance(item, tuple) else (item,):
        data = repr(part).encode() if isinstance(part, str | float) else np.asarray(part).tobytes()
        total.update(data)
    return total.hexdigest()


def start(command: list[str], environment: dict[str, str]) -> "subprocess.Popen[str]":
    """Begin to compute the items in a process of its own."""
    line = [*command, sys.executable, __file__, "--items"]
    return subprocess.Popen(
        line, env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def hashes_of(run: "subprocess.Popen[str]") -> dict[str, str]:
    """Wait for a process and read item → hash."""
    out, errors = run.communicate()
    if run.returncode:
        raise SystemExit(f"{errors}\n{run.args}: left with {run.returncode}")
    return dict(row.rsplit(" ", 1) for row in out.splitlines())


def missing_here() -> str:
    """Say what this machine lacks to run the comparison; empty if nothing."""
    if shutil.which("qemu-x86_64") is None:
        return "qemu-x86_64 is not installed (Debian: qemu-user)"
    if missing := missing_for_pin():
        return f"this processor has no {missing}"
    for name in MODELS:
        if not (POCKET / name).is_dir():
            return f"models/pocket/{name}: not found; run `dvc pull foundation/dvc.yaml`"
    return ""


def main() -> int:
    """Compare the processors; 0 if all items are the same or nothing can be compared."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpus", nargs="+", default=CPUS, help="names that qemu-x86_64 knows")
    parser.add_argument("--unpinned", action="store_true", help="without the pin")
    parser.add_argument("--items", action="store_true", help="print the hashes of one run")
    args = parser.parse_args()
    if args.items:
        for name, item in compute_items():
            print(name, digest(item), flush=True)
        return 0
    if missing := missing_here():
        print(f"skipped: {missing}")
        return 0
    kept = {name: value for name, value in os.environ.items() if name not in PINNED}
    environment = {**kept, "OMP_WAIT_POLICY": "passive", **({} if args.unpinned else PINNED)}
    runs = {"native": start([], environment)}
    for cpu in args.cpus:
        runs[cpu] = start(["qemu-x86_64", "-cpu", cpu], environment)
    found = {cpu: hashes_of(run) for cpu, run in runs.items()}
    print(f"{'':18}" + "".join(f"{cpu:12}" for cpu in found))
    different = []
    for item, native in found["native"].items():
        hashes = [results.get(item, "missing") for results in found.values()]
        same = set(hashes) == {native}
        print(f"{item:18}" + "".join(f"{each[:8]:12}" for each in hashes) + "differs" * (not same))
        different += [] if same else [item]
    if different:
        print(f"different bytes: {', '.join(different)}", file=sys.stderr)
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
