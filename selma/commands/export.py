"""`selma export`: writes a LoRA in the layout of another program."""

import argparse
from pathlib import Path

ERROR_TOLD = 1e-6  # a relative error that is worth a word; float32 alone is off by less


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("export", help="write a LoRA in another program's layout")
    add = command.add_argument
    add("file", type=Path, metavar="LORA", help="a .safetensors file, or a PEFT folder")
    add("--to", required=True, help="kohya (ComfyUI, A1111, Forge), diffusers, or peft (a folder)")
    add("-o", "--out", type=Path, required=True)
    add("--dtype", help="float16, bfloat16 or float32; default: as in the file")
    add("--names", default="diffusers", help="of kohya's blocks: diffusers, or sgm as sd-scripts "
        "writes for SDXL (default: diffusers)")  # fmt: skip
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Export, and say what was written."""
    from selma.adapters.exporting import export

    done = export(args.file, args.out, to=args.to, dtype=args.dtype, names=args.names)
    off = f", off by {done.relative_error:.1e} of the norm"
    told = off if done.relative_error > ERROR_TOLD else ""
    print(f"{args.out}: {done.layers} layers, {done.dtype}{told}")
    if done.vanished:
        some = ", ".join(done.vanished[:3]) + ", …" * (len(done.vanished) > 3)
        print(f"warning: {len(done.vanished)} layers become zero in {done.dtype}: {some}")
