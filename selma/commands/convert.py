"""The command `selma convert`: published checkpoints become the folders that scorers read."""

import argparse
from pathlib import Path


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("convert", help="turn a published checkpoint into a scorer")
    metrics = command.add_subparsers(title="metrics", required=True, metavar="METRIC")
    hps = metrics.add_parser("hps", help="HPS_v2_compressed.pt or HPS_v2.1_compressed.pt")
    hps.add_argument("--version", required=True, help="v2.0 or v2.1, which are different models")
    imagereward = metrics.add_parser("imagereward", help="ImageReward.pt")
    imagereward.add_argument("--med-config", type=Path, required=True, metavar="FILE")
    for metric, model in ((hps, "CLIP ViT-H-14"), (imagereward, "bert-base-uncased")):
        add = metric.add_argument
        add("checkpoint", type=Path, metavar="CKPT")
        add("--tokenizer", type=Path, required=True, metavar="DIR", help=f"of {model}")
        add("--out", type=Path, required=True, metavar="DIR")
        metric.set_defaults(run=run, convert_hps=metric is hps)


def run(args: argparse.Namespace) -> None:
    """Convert one checkpoint."""
    from selma.scorers.layouts.conversion import convert_hps, convert_imagereward

    files = args.tokenizer, args.out
    if args.convert_hps:
        convert_hps(args.checkpoint, args.version, *files, heads=None)
    else:
        convert_imagereward(args.checkpoint, args.med_config, *files, vision_heads=None)
    print(f"wrote {args.out}")
