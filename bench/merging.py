"""Merges five adapters of SDXL's shape, and compares a few layers with what other tools do.

Prints seconds and peak memory of the whole merge, its certificate included, at ranks 128 and 16;
then, layer by layer in this process, time and error beside peft's "svd" and the reduction by
`torch.pca_lowrank` that DiffSynth-Studio uses. The experts are random: no rank-k update is exact.
"""

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

from selma.core.devices import prepare_device
from selma.core.processor import is_pinned, pin_processor

EXPERTS = 5
LAYERS = {  # (out, in) → how many an SDXL U-Net's attention has
    (640, 640): 60, (640, 2048): 20, (1280, 1280): 360, (1280, 2048): 120,
}  # fmt: skip


def adapters(rank: int, layers: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """Draw experts in half precision, as they are passed around."""
    import torch

    from selma.adapters.factors import LoraFactors
    from selma.core.seeds import derive_seed

    found: dict[str, Any] = {}
    for expert in "abcde"[:EXPERTS]:
        found[expert] = {}
        for name, (out, inside) in layers.items():
            generator = torch.Generator().manual_seed(derive_seed(0, expert, name))
            a = torch.randn(rank, inside, generator=generator).half()
            found[expert][name] = LoraFactors(a, torch.randn(out, rank, generator=generator).half())
    return found


def settings(rank: int) -> Any:
    """Keep so many directions of the experts' mean."""
    from selma.merging.merge import Settings

    return Settings(
        method="svd", weights=dict.fromkeys("abcde"[:EXPERTS], 1.0), scale=1.0, rank=rank,
        error_max=None, match_norm=False, parameters={}, dtype="float16", seed=0,
    )  # fmt: skip


def whole(rank: int, device: str) -> None:
    """Merge all layers of five experts of a rank to that rank."""
    from selma.merging.certificate import summarise
    from selma.merging.merge import merge

    names = {
        f"unet.{out}x{inside}.{number}": (out, inside)
        for (out, inside), count in LAYERS.items()
        for number in range(count)
    }
    experts = adapters(rank, names)
    before = peak()
    start = time.perf_counter()
    merged = merge(experts, settings(rank), device)
    seconds = time.perf_counter() - start
    facts = summarise(merged.layers, merged.names)
    print(
        f"{EXPERTS} experts, {len(names)} layers, rank {rank} → {rank}: {seconds:.1f} s, "
        f"peak {peak():.2f} GiB ({before:.2f} with the experts read), "
        f"relative error {facts['relative_error']:.3f}",
        flush=True,
    )


def peak() -> float:
    """GiB of memory that this process has used at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def by_peft(experts: list[Any], rank: int) -> Any:
    """Merge one layer by peft's `add_weighted_adapter`, combination type "svd"."""
    import torch
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    out, inside = experts[0].shape
    module = torch.nn.Sequential(torch.nn.Linear(inside, out, bias=False))
    config = LoraConfig(r=experts[0].rank, lora_alpha=experts[0].rank, target_modules=["0"])
    model = LoraModel(module, {"0": config}, "0")
    for name in map(str, range(1, len(experts))):
        model.peft_config[name] = config
        model.inject_adapter(module, name)
    names = list(map(str, range(len(experts))))
    for name, one in zip(names, experts, strict=True):
        module[0].lora_A[name].weight.data = one.lora_a.float()
        module[0].lora_B[name].weight.data = one.lora_b.float()
    weights = [1 / len(names)] * len(names)

    def merge() -> Any:
        model.add_weighted_adapter(names, weights, "m", combination_type="svd", svd_rank=rank)
        delta = module[0].get_delta_weight("m").detach().double()
        model.delete_adapter("m")
        return delta

    return merge


def by_pca(experts: list[Any], rank: int) -> Any:
    """Reduce the mean of one layer by `torch.pca_lowrank`, which centres it, as DiffSynth does."""
    import torch

    def merge() -> Any:
        dense = sum(one.lora_b.float() @ one.lora_a.float() for one in experts) / len(experts)
        u, s, v = torch.pca_lowrank(dense, q=rank)
        return (u * s).double() @ v.T.double()

    return merge


def by_us(experts: list[Any], rank: int) -> Any:
    """Merge one layer with everything that `merge` does for it."""
    from selma.merging.merge import merge

    adapters = {name: {"unet.x": one} for name, one in zip("abcde", experts, strict=True)}
    return lambda: merge(adapters, settings(rank)).adapter["unet.x"].delta()


def compare(rank: int) -> None:
    """Print, for a layer of each shape, seconds and relative error of each way."""
    import torch

    ways: dict[str, Callable[..., Any]] = {"ours": by_us, "peft": by_peft, "pca": by_pca}
    print(f"\none layer, rank {rank} → {rank}, {torch.get_num_threads()} threads in torch's calls:")
    print(f"{'layer':>12}" + "".join(f"{f'{way} s':>10}{'error':>10}" for way in ways), "  least")
    for out, inside in LAYERS:
        experts = [one["x"] for one in adapters(rank, {"x": (out, inside)}).values()]
        mean = sum(one.delta() for one in experts) / EXPERTS
        s = torch.linalg.svdvals(mean)
        row = f"{f'{out}×{inside}':>12}"
        for make in ways.values():
            act = make(experts, rank)
            times = []
            for _ in range(2):
                start = time.perf_counter()
                found = act()
                times.append(time.perf_counter() - start)
            row += f"{min(times):10.3f}{float((found - mean).norm() / mean.norm()):10.5f}"
        print(row, f"{float(s[rank:].norm() / s.norm()):8.5f}", flush=True)


def main() -> None:
    """Run all of it, or with `--compare` the layers alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--native", action="store_true", help="this processor's own instructions")
    parser.add_argument("--compare", action="store_true", help="the comparison of layers alone")
    args = parser.parse_args()
    if not args.native:
        pin_processor()
    device = prepare_device()
    print(f"instruction set pinned: {is_pinned()}, device: {device}")
    for rank in () if args.compare else (16, 128):
        whole(rank, device)
    for rank in (16, 128):
        compare(rank)


if __name__ == "__main__":
    main()
