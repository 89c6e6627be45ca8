"""The models that bench/train.py and bench/sample.py measure, and their common arguments."""

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selma.core.devices import check_device, prepare_device, set_threads
from selma.core.processor import pin_processor
from selma.runtime.params import load_params

POCKET = Path("models/pocket/base")
TOKENS = 77  # of a real text encoder
# The published configs: as far as they differ from diffusers' and transformers' defaults.
UNETS: dict[str, dict[str, Any]] = {
    "sd14": {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    "sd2": {
        "sample_size": 96, "cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20],
        "use_linear_projection": True,
    },
    "sdxl": {
        "sample_size": 128, "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20],
        "use_linear_projection": True, "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "transformer_layers_per_block": [1, 2, 10], "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
    },
}  # fmt: skip
VAE: dict[str, Any] = {
    "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4,
    "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip
# Width, layers and heads of the text encoders: CLIP ViT-L, OpenCLIP ViT-H and ViT-bigG.
TEXT_ENCODERS = {
    "sd14": {"text_encoder": (768, 12, 12)},
    "sd2": {"text_encoder": (1024, 23, 16)},
    "sdxl": {"text_encoder": (768, 12, 12), "text_encoder_2": (1280, 32, 20)},
}
TINY = {"sd14": "sd1", "sd2": "sd2", "sdxl": "sdxl"}  # of the same family in selma.diffusion.tiny
MODELS = ("pocket", *UNETS, *(f"tiny-{kind}" for kind in TINY.values()))


def arguments(description: str, **more: dict[str, Any]) -> argparse.Namespace:
    """Read the arguments, as params.yaml says where not given, and prepare the machine.

    That is done as a stage does it, before anything loads torch, and for all that is measured:
    diffusers takes selma's kernels, too, pinned or not.
    """
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=formatter)
    parser.add_argument("--model", choices=MODELS, default="pocket")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, help="of the processor")
    parser.add_argument("--unpinned", action="store_true", help="as same_bytes: false does")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak-tflops", type=float, help="of the GPU, if it is not a known one")
    for name, options in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **options)
    args = parser.parse_args()
    if not args.unpinned:
        pin_processor()
    args.params = load_params()
    args.threads = args.threads or args.params.threads
    set_threads(args.threads)
    check_device(args.device)
    if args.device == "cuda":
        prepare_device()
    return args


@contextlib.contextmanager
def model_folder(name: str, dtype: str) -> Iterator[Path]:
    """Write a model in diffusers' layout, with random weights unless it is the pocket model."""
    from diffusers.utils import logging

    logging.disable_progress_bar()  # of loading and saving
    if name == "pocket":
        yield POCKET
        return
    with tempfile.TemporaryDirectory() as folder:
        pipeline_of(name, dtype).save_pretrained(folder)
        yield Path(folder)


def stock_pipeline(folder: Path, dtype: str, device: str) -> Any:
    """Load a model with diffusers as is usual; what it would print is left out."""
    import torch
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder, dtype=getattr(torch, dtype))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def pipeline_of(name: str, dtype: str) -> Any:
    """Make a stock pipeline with random weights from the published configs, or a tiny one."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    from selma.diffusion.tiny import KINDS

    if name.startswith("tiny-"):
        return KINDS[name.removeprefix("tiny-")](seed=0)
    tiny = KINDS[TINY[name]](seed=0)
    parts = tiny.components
    for part in ("tokenizer", "tokenizer_2"):
        if part in parts:
            parts[part].model_max_length = TOKENS
    torch.manual_seed(0)
    for part, (width, layers, heads) in TEXT_ENCODERS[name].items():
        config = parts[part].config
        config.update({
            "hidden_size": width, "intermediate_size": 4 * width, "projection_dim": width,
            "num_hidden_layers": layers, "num_attention_heads": heads,
            "max_position_embeddings": TOKENS,
        })  # fmt: skip
        parts[part] = type(parts[part])(config)
    parts["unet"] = UNet2DConditionModel.from_config(UNETS[name])
    parts["vae"] = AutoencoderKL.from_config(VAE)
    return type(tiny)(**parts).to(dtype=getattr(torch, dtype))


def prompts_of(number: int) -> list[str]:
    """Take prompts of pocket-dsg, or make some up where it has not been pulled."""
    from selma.core.tables import read_table

    path = Path("data/benchmarks/pocket-dsg.parquet")
    if path.is_file():
        known = [row["prompt"] for row in read_table(path, "benchmark")]
    else:
        known = [f"{k} red circles and a blue square" for k in range(2, 9)]
    return [known[k % len(known)] for k in range(number)]


def costs_of(backbone: Any, rank: int) -> Any:
    """Count the floating-point operations of a model's picture and training sample."""
    from selma.checking.flops import count_costs

    tokens = backbone.encoders[0].tokenizer.model_max_length
    configs = dict(backbone.denoiser.config), dict(backbone.vae.config)
    return count_costs(*configs, rank, backbone.targets, tokens=tokens)
