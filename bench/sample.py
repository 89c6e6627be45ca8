"""Draws with selma and with diffusers' stock pipeline in turns, and prints how fast each is.

The stock pipeline draws one prompt at a time, as is usual, and the same batch as selma. All draw
the same prompts with the same steps, scheduler, guidance and noise; their pictures are compared.
GFLOP/s count the U-Net's predictions and the VAE's decoder, for all alike.

python bench/sample.py                     # the pocket model with the settings of params.yaml
python bench/sample.py --unpinned          # with the processor's own instructions
python bench/sample.py --model sd14 --device cuda --dtype bfloat16 --batches 1 4 16 64 \
    --guidance-scale 7.5 --inference-steps 50
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from backbones import arguments, costs_of, model_folder, prompts_of, stock_pipeline
from rounds import OURS, Way, clock, measure_peak, print_table, take_turns

SINGLE, BATCH = "diffusers, one at a time", "diffusers, the same batch"
Draw = Callable[[Sequence[Any]], list[Any]]


def stock_drawer(pipeline: Any, args: Any) -> Draw:
    """Make the function that draws with a stock pipeline, from noise as selma draws it."""
    import numpy as np
    import torch

    def draw(requests: Sequence[Any]) -> list[Any]:
        pictures = pipeline(
            [one.prompt for one in requests],
            generator=[torch.Generator().manual_seed(one.seed) for one in requests],
            guidance_scale=args.guidance_scale,
            num_inference_steps=args.inference_steps,
        ).images
        return [np.asarray(picture) for picture in pictures]

    return draw


def timed(
    draw: Draw, at_once: int, into: list[Any], *, requests: Sequence[Any], now: Callable[[], float]
) -> float:
    """Draw so many at once, fill `into` with the pictures, and return the seconds for one."""
    into.clear()
    start = now()
    for cut in range(0, len(requests), at_once):
        into += draw(requests[cut : cut + at_once])
    return (now() - start) / len(requests)


def largest_difference(some: list[Any], others: list[Any]) -> int:
    """Find the largest difference of two lists of pictures, in levels of 256."""
    pairs = zip(some, others, strict=True)
    return max(int(abs(one.astype(int) - other.astype(int)).max()) for one, other in pairs)


def main() -> None:
    """Print a table for each size of the batch."""
    args = arguments(
        __doc__,
        batches={"type": int, "nargs": "+", "help": "pictures of a batch"},
        guidance_scale={"type": float},
        inference_steps={"type": int},
    )
    from selma.diffusion.drawing import batch_drawer
    from selma.diffusion.loading import load_backbone
    from selma.diffusion.requests import make_requests

    samples = args.params.samples
    args.guidance_scale = args.guidance_scale or samples.guidance_scale
    args.inference_steps = args.inference_steps or samples.inference_steps
    settings = {"guidance_scale": args.guidance_scale, "inference_steps": args.inference_steps}
    now = clock(args.device, args.threads)
    with model_folder(args.model, args.dtype) as folder:
        backbone = load_backbone(str(folder), args.dtype, args.device)
        pipeline = stock_pipeline(folder, args.dtype, args.device)
    ours, stock = batch_drawer(backbone, **settings), stock_drawer(pipeline, args)
    costs, peak = costs_of(backbone, args.params.lora.rank), measure_peak(args, now)
    predictions = args.inference_steps * (2 if args.guidance_scale > 1 else 1)
    flops = predictions * costs.predict + costs.decode
    print(f"{args.model}, {args.dtype}: {flops / 1e9:.2f} GFLOP a picture; peak "
          f"{peak / 1e9:.0f} GFLOP/s")  # fmt: skip
    for size in args.batches or [samples.batch_size]:
        prompts = {f"{k:04d}": prompt for k, prompt in enumerate(prompts_of(size))}
        requests = make_requests(prompts, 1, 0, "bench")
        drawn: dict[str, list[Any]] = {name: [] for name in (SINGLE, BATCH, OURS)}
        draw = partial(timed, requests=requests, now=now)
        ways = [
            Way(SINGLE, partial(draw, stock, 1, drawn[SINGLE])),
            Way(BATCH, partial(draw, stock, size, drawn[BATCH])),
            Way(OURS, partial(draw, ours, size, drawn[OURS])),
        ]
        take_turns(ways, args.rounds, args.device)
        print(f"\nbatches of {size}")
        print_table(ways, "pictures", flops, peak)
        whole = [pictures for pictures in drawn.values() if len(pictures) == size]
        levels = [largest_difference(whole[-1], pictures) for pictures in whole]
        print(f"the pictures of the ways differ by at most {max(levels)} of 255 levels")


if __name__ == "__main__":
    main()
