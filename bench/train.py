"""Trains a LoRA adapter with selma and diffusers' way in turns, and prints how fast each is.

Diffusers' way is that of its examples train_text_to_image_lora.py and …_sdxl.py: an adapter of
peft's, in every step the pictures through the VAE and the prompts through the text encoders, and
torch's AdamW. Both train the same model on the same pictures with the same effective batch and
micro-batch. Pictures are decoded and prompts tokenised beforehand for both; the examples do it anew
in each step. GFLOP/s count what the U-Net must do (selma/checking/flops.py), for both alike.

python bench/train.py                      # the pocket model with the settings of params.yaml
python bench/train.py --unpinned           # with the processor's own instructions
python bench/train.py --model sdxl --device cuda --dtype bfloat16 --batch 64 --micro-batches 1 4 16
"""

import io
import math
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from backbones import arguments, costs_of, model_folder, prompts_of, stock_pipeline
from rounds import OURS, Way, clock, measure_peak, print_table, take_turns

PICTURES = 160  # of the training set
THEIRS = "diffusers' example"
STACKED = "selma, five experts in a pass"


def picture_rows(size: tuple[int, int]) -> list[dict[str, Any]]:
    """Read the pocket world's training pictures, or draw noise of another size (height, width)."""
    import numpy as np
    from PIL import Image

    from selma.core.tables import read_table

    path = Path("data/images/count.parquet")
    if size == (32, 32) and path.is_file():
        return read_table(path, "images")[:PICTURES]
    rows, generator = [], np.random.default_rng(0)
    for number, prompt in enumerate(prompts_of(PICTURES)):
        data = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (*size, 3), "uint8")).save(data, "PNG")
        image = {"bytes": data.getvalue(), "path": None}
        rows.append({"prompt_id": f"{number:04d}", "sample": 0, "prompt": prompt, "image": image})
    return rows


class Selma:
    """Trains with `train_experts`, as stages/lora.py does, on pictures that are encoded once."""

    def __init__(self, folder: Path, args: Any, now: Any) -> None:
        """Load the model and encode the pictures; `encoding_s` is what that took."""
        from selma.diffusion.loading import load_backbone
        from selma.training.moments import encode_examples

        self.args, self.now = args, now
        self.backbone = load_backbone(str(folder), args.dtype, args.device, "float32")
        self.rows = picture_rows(self.backbone.picture_size)
        start = now()
        with tempfile.TemporaryDirectory() as kept:
            self.examples = encode_examples(self.rows, self.backbone, Path(kept), flip=False)
        self.encoding_s = now() - start

    def run(self, micro_batch: int, number: int = 1) -> float:
        """Train `number` new adapters in one pass for some steps; returns seconds a sample."""
        from selma.training.adapters import LoraLinear
        from selma.training.trainer import train_experts

        args, denoiser, times = self.args, self.backbone.denoiser, []
        settings = args.params.lora.model_dump(exclude={"checkpoint_every_steps"})
        settings |= {"train_steps": args.steps + 1, "rank": args.rank, "flip": False}
        settings |= {"batch_size": args.batch, "micro_batch_size": micro_batch}
        try:
            experts = train_experts(
                self.backbone, {str(k): self.examples for k in range(number)}, seed=0,
                on_step=lambda *_: times.append(self.now()), **settings,
            )  # fmt: skip
        finally:
            layers = [*denoiser.named_modules()]
            for name, layer in layers:
                if isinstance(layer, LoraLinear):
                    denoiser.set_submodule(name, layer.base)
        for expert in experts.values():
            check(expert.losses, [t for name, t in expert.tensors.items() if "lora_B" in name])
        return (times[-1] - times[0]) / args.steps / args.batch / number


class Diffusers:
    """Trains as the examples of diffusers do, one adapter from round to round."""

    def __init__(self, folder: Path, rows: list[dict[str, Any]], args: Any, now: Any) -> None:
        """Load the model, add the adapter and prepare the data loader's tensors."""
        import torch
        from diffusers import DDPMScheduler
        from diffusers.training_utils import cast_training_params
        from peft import LoraConfig

        from selma.training.moments import decode_pictures

        self.args, self.now = args, now
        lora = args.params.lora
        pipeline = stock_pipeline(folder, args.dtype, args.device)
        self.unet, self.vae = pipeline.unet, pipeline.vae
        self.noise_scheduler = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
        both = {"tokenizer": "text_encoder", "tokenizer_2": "text_encoder_2"}
        both = {a: b for a, b in both.items() if a in pipeline.components}
        self.encoders = [pipeline.components[name] for name in both.values()]
        for model in (self.unet, self.vae, *self.encoders):
            model.requires_grad_(False)
        self.unet.add_adapter(
            LoraConfig(
                r=args.rank, lora_alpha=args.rank, init_lora_weights="gaussian",
                target_modules=["to_k", "to_q", "to_v", "to_out.0"],
            )
        )  # fmt: skip
        cast_training_params(self.unet)  # to float32
        self.unet.train()
        self.trained = [p for p in self.unet.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.trained, lr=lora.learning_rate, weight_decay=lora.weight_decay
        )
        size = pipeline.vae_scale_factor * self.unet.config.sample_size
        self.sizes = torch.tensor([size, size, 0, 0, size, size]).to(self.vae.device)
        prompts = [row["prompt"] for row in rows]
        tokens = [
            pipeline.components[name](
                prompts, padding="max_length", truncation=True, return_tensors="pt",
                max_length=pipeline.components[name].model_max_length,
            ).input_ids
            for name in both
        ]  # fmt: skip
        self.data = torch.utils.data.TensorDataset(decode_pictures(rows, (size, size)), *tokens)

    def told(self, tokens: list[Any]) -> dict[str, Any]:
        """Encode prompts to what the U-Net is told of them."""
        import torch

        if len(self.encoders) == 1:
            (encoder,) = self.encoders
            return {"encoder_hidden_states": encoder(tokens[0], return_dict=False)[0]}
        states = []
        for encoder, one in zip(self.encoders, tokens, strict=True):
            read = encoder(one, output_hidden_states=True)
            states.append(read.hidden_states[-2])
        added = {"text_embeds": read[0], "time_ids": self.sizes.repeat(len(tokens[0]), 1)}
        return {"encoder_hidden_states": torch.cat(states, -1), "added_cond_kwargs": added}

    def loss(self, pixels: Any, *tokens: Any) -> Any:
        """Compute the loss of a micro-batch as the examples do."""
        import torch
        from torch.nn.functional import mse_loss

        scheduler, device = self.noise_scheduler, self.args.device
        pixels = pixels.to(device, self.vae.dtype)
        latents = self.vae.encode(pixels).latent_dist.sample() * self.vae.config.scaling_factor
        noise = torch.randn_like(latents)
        steps = scheduler.config.num_train_timesteps
        timesteps = torch.randint(0, steps, (len(latents),), device=device)
        told = self.told([one.to(device) for one in tokens])
        target = noise
        if scheduler.config.prediction_type == "v_prediction":
            target = scheduler.get_velocity(latents, noise, timesteps)
        noisy = scheduler.add_noise(latents, noise, timesteps)
        half = self.unet.dtype != torch.float32
        with torch.autocast(device, self.unet.dtype, enabled=half):
            prediction = self.unet(noisy, timesteps, return_dict=False, **told)[0]
        return mse_loss(prediction.float(), target.float())

    def run(self, micro_batch: int) -> float:
        """Train for some steps; returns seconds for a sample."""
        import torch

        args, parts, losses, times = self.args, self.args.batch // micro_batch, [], []
        loader = torch.utils.data.DataLoader(
            self.data, batch_size=micro_batch, shuffle=True, drop_last=True
        )
        batches = (batch for _ in iter(int, 1) for batch in loader)
        for _ in range(args.steps + 1):
            total = 0.0
            for _ in range(parts):
                loss = self.loss(*next(batches)) / parts
                loss.backward()
                total += loss.detach().item()
            torch.nn.utils.clip_grad_norm_(self.trained, args.params.lora.max_gradient_norm)
            self.optimiser.step()
            self.optimiser.zero_grad()
            losses.append(total)
            times.append(self.now())
        check(losses, [p for name, p in self.unet.named_parameters() if "lora_B" in name])
        return (times[-1] - times[0]) / args.steps / args.batch


def check(losses: list[float], last: list[Any]) -> None:
    """See that a way has really trained: a finite loss, and no B is zero as it was at first."""
    assert all(map(math.isfinite, losses)), losses
    assert last and all(bool(one.isfinite().all() and one.any()) for one in last)


def main() -> None:
    """Print a table for each size of the micro-batch."""
    args = arguments(
        __doc__,
        steps={"type": int, "default": 4, "help": "of a round"},
        batch={"type": int, "help": "pictures of an update"},
        micro_batches={"type": int, "nargs": "+", "help": "pictures in memory at once"},
        rank={"type": int, "help": "of the adapter"},
    )
    lora = args.params.lora
    args.batch, args.rank = args.batch or lora.batch_size, args.rank or lora.rank
    now = clock(args.device, args.threads)
    with model_folder(args.model, args.dtype) as folder:
        ours = Selma(folder, args, now)
        theirs = Diffusers(folder, ours.rows, args, now)
    flops, peak = costs_of(ours.backbone, args.rank).train, measure_peak(args, now)
    print(
        f"{args.model}, {args.dtype}: {flops / 1e9:.2f} GFLOP a sample; peak {peak / 1e9:.0f} "
        f"GFLOP/s; selma encodes {len(ours.rows)} pictures once in {ours.encoding_s:.1f} s, "
        "which is not in the table"
    )
    for size in args.micro_batches or [lora.micro_batch_size]:
        ways = [
            Way(THEIRS, partial(theirs.run, size)),
            Way(STACKED, partial(ours.run, size, 5)),
            Way(OURS, partial(ours.run, size)),
        ]
        take_turns(ways, args.rounds, args.device)
        print(f"\nupdates of {args.batch}, {size} at once")
        print_table(ways, "samples", flops, peak)


if __name__ == "__main__":
    main()
