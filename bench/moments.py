"""Measures the memory that caching a training set takes: 1,000 pictures of 1024 px by default.

python bench/moments.py [--pictures 1000] [--size 1024]

The VAE is a small one that makes latents of the real shape, as the real one's activations live on
the GPU; what is measured is the process's own memory, beyond the libraries and the model.
"""

import argparse
import hashlib
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

GIB = 2**30


def peak() -> int:
    """Bytes of this process's memory at its peak so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def rows(number: int, size: int):
    """Yield the rows of an images table; each picture is another, and compresses as photographs."""
    from selma.pictures.png import encode_png

    rng = np.random.default_rng(0)
    for k in range(number):
        coarse = rng.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8)
        picture = coarse.repeat(8, axis=0).repeat(8, axis=1) ^ rng.integers(
            0, 4, (size, size, 3), dtype=np.uint8
        )
        data = encode_png(picture)
        yield {
            "prompt_id": f"count-{k:04d}", "prompt": f"picture number {k}", "sample": 0, "seed": k,
            "image": {"bytes": data, "path": None}, "width": size, "height": size,
            "sha256": hashlib.sha256(data).hexdigest(),
        }  # fmt: skip


def write(table: Path, number: int, size: int) -> None:
    """Write the images table."""
    from selma.core.tables import write_table

    write_table(table, "images", rows(number, size))


def main() -> None:
    """Write the table, encode it, and print the peak."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--size", type=int, default=1024)
    args = parser.parse_args()
    import torch
    from diffusers import AutoencoderKL

    from selma.core.tables import stream_table
    from selma.diffusion.loading import load_backbone
    from selma.diffusion.tiny import write_tiny_backbone
    from selma.training.moments import encode_examples

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_tiny_backbone("sdxl", Path(folder) / "sdxl")
        backbone = load_backbone(str(Path(folder) / "sdxl"), "float32", "cpu")
        backbone.vae = AutoencoderKL(
            block_out_channels=(4, 4, 4, 4), norm_num_groups=4, mid_block_add_attention=False,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        ).eval()  # fmt: skip
        table = Path(folder) / "images.parquet"
        writer = multiprocessing.get_context("spawn").Process(
            target=write, args=(table, args.pictures, args.size)
        )
        writer.start()
        writer.join()
        stored, before = table.stat().st_size, peak()
        started = time.monotonic()
        work = Path(folder) / "work"
        examples = encode_examples(stream_table(table, "images"), backbone, work, flip=False)
        cached = sum(path.stat().st_size for path in work.iterdir())
        print(f"{len(examples)} pictures of {args.size} px, latents {examples.latent_shape}")
        print(f"table {stored / GIB:.2f} GiB, moments on disk {cached / GIB:.2f} GiB")
        print(f"peak {peak() / GIB:.2f} GiB; before encoding {before / GIB:.2f} GiB")
        print(f"{len(examples) / (time.monotonic() - started):.1f} pictures/s")


if __name__ == "__main__":
    main()
