"""The command `selma convert`: published checkpoints become the folders that scorers read."""

import argparse
from pathlib import Path


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command's arguments."""
    command = commands.add_parser("convert", help="turn a published checkpoint into a scorer")
    metrics = command.add_subparsers(title="metrics", required=True, metavar="METRIC")
    hps = metrics.add_parser("hps", help="HPS_v2_compressed.pt or HPS_v2.1_compressed.pt")
    hps.add_argument("--version", required=True, help="v2.0 or v2.1, which are different models")
    hps.set_defaults(run=_run_hps)
    imagereward = metrics.add_parser("imagereward", help="ImageReward.pt")
    imagereward.add_argument("--med-config", type=Path, required=True, metavar="FILE")
    imagereward.set_defaults(run=_run_imagereward)
    for metric, model in ((hps, "CLIP ViT-H-14"), (imagereward, "bert-base-uncased")):
        metric.add_argument("checkpoint", type=Path, metavar="CKPT")
        metric.add_argument(
            "--tokenizer", type=Path, required=True, metavar="DIR", help=f"of {model}"
        )
        metric.add_argument("--out", type=Path, required=True, metavar="DIR")


def _run_hps(args: argparse.Namespace) -> None:
    from selma.scorers.layouts.conversion import convert_hps

    convert_hps(args.checkpoint, args.version, args.tokenizer, args.out, heads=None)
    print(f"wrote {args.out}")


def _run_imagereward(args: argparse.Namespace) -> None:
    from selma.scorers.layouts.conversion import convert_imagereward

    paths = (args.checkpoint, args.med_config, args.tokenizer, args.out)
    convert_imagereward(*paths, vision_heads=None)
    print(f"wrote {args.out}")
