"""The command line `selma …`: presets, checks, and the pipeline's parts on their own."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from selma.errors import ConfigError, MissingDataError, RecordError, SelmaError

PRESETS = Path(__file__).resolve().parent.parent / "presets"
STALE_DAYS = 7


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code; see `selma.errors`."""
    args = build_parser().parse_args(argv)
    try:
        return int(args.run(args) or 0)
    except (SelmaError, OSError) as error:
        from selma.runtime import report_error

        return report_error(error if isinstance(error, SelmaError) else ConfigError(str(error)))
    except KeyboardInterrupt:
        print("selma: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        from selma.runtime import report_error

        return report_error(error)


def build_parser() -> argparse.ArgumentParser:
    """Describe all commands; imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog="selma",
        description="Teaches a text-to-image model to follow its prompts, as a DVC pipeline.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    command = commands.add_parser("preset", help="write a complete params.yaml")
    command.add_argument("name", help="pocket, sd14, sd2, sdxl")
    command.add_argument("--out", type=Path, default=Path("params.yaml"))
    command.add_argument("--force", action="store_true", help="overwrite the file")
    command.set_defaults(run=_preset)

    command = commands.add_parser("check", help="list all that would stop a run; changes nothing")
    command.add_argument("--params", type=Path, default=Path("params.yaml"))
    command.set_defaults(run=_check)

    command = commands.add_parser("merge", help="merge LoRA files into one")
    command.add_argument("experts", type=Path, nargs="+", metavar="LORA.safetensors")
    command.add_argument("-o", "--out", type=Path, required=True)
    command.add_argument("--weights", type=float, nargs="+", help="one per file; default: all 1")
    command.add_argument("--scale", type=float, default=1.0, help="1 is the weighted mean")
    command.add_argument("--method", default="delta_mean")
    command.set_defaults(run=_merge)

    command = commands.add_parser("compare", help="A − B of two score tables, with an interval")
    command.add_argument("first", type=Path, metavar="A.parquet")
    command.add_argument("second", type=Path, metavar="B.parquet")
    command.add_argument("--resamples", type=int, default=10_000)
    command.add_argument("--confidence", type=float, default=0.95)
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=_compare)

    command = commands.add_parser("table", help="print the results as a Markdown table")
    command.add_argument("--write", type=Path, metavar="FILE", help="put it between its markers")
    command.set_defaults(run=_table)

    command = commands.add_parser("track", help="bring journals and experiments to MLflow")
    command.set_defaults(run=_track)

    command = commands.add_parser("clean", help="list what interrupted stages left behind")
    command.add_argument("--days", type=float, default=STALE_DAYS, help="older than this")
    command.add_argument("--yes", action="store_true", help="remove it")
    command.set_defaults(run=_clean)
    return parser


def _preset(args: argparse.Namespace) -> None:
    from selma.choices import choose
    from selma.runtime import write_bytes_atomic

    if not PRESETS.is_dir():
        raise MissingDataError(f"{PRESETS}: no such folder; install selma from its repository")
    path = choose("preset", args.name, {file.stem: file for file in PRESETS.glob("*.yaml")})
    if args.out.exists() and not args.force and args.out.read_bytes() != path.read_bytes():
        raise ConfigError(f"{args.out}: is there and differs from the preset; --force overwrites")
    write_bytes_atomic(args.out, path.read_bytes())
    print(f"wrote {args.out}; `selma check` says what has to be filled in")


def _check(args: argparse.Namespace) -> int:
    from selma.check import find_problems

    problems = find_problems(Path(), args.params)
    for problem in problems:
        print(f"selma: error: {' '.join(problem.split())}", file=sys.stderr)
    if not problems:
        print(f"{args.params}, skills, presets, dvc.yaml and models: no problems")
    return ConfigError.exit_code if problems else 0


def _merge(args: argparse.Namespace) -> None:
    from selma.adapters.files import read_adapter, read_provenance, write_adapter
    from selma.choices import choose
    from selma.merging.certificate import certify
    from selma.merging.methods import MERGE_METHODS, absolute_weights, merge_adapters

    merge_layer = choose("merge method", args.method, MERGE_METHODS)
    names = [path.stem for path in args.experts]
    if len(set(names)) < len(names):
        names = [str(path) for path in args.experts]
    given = args.weights if args.weights is not None else [1.0] * len(names)
    if len(given) != len(names) or len(set(names)) < len(names):
        raise ConfigError(
            f"--weights: expected one for each of {len(names)} different files, got {len(given)}"
        )
    relative = dict(zip(names, given, strict=True))
    weights = absolute_weights(relative, args.scale)
    files = dict(zip(names, args.experts, strict=True))
    experts = {name: read_adapter(path) for name, path in files.items()}
    merged = merge_adapters(experts, merge_layer, weights)
    origins = {name: read_provenance(path) for name, path in files.items()}
    settings = {"method": args.method, "scale": args.scale, "weights": relative}
    write_adapter(args.out, merged, {"merge": settings, "experts": origins})
    facts = certify(read_adapter(args.out), experts, weights)
    print(f"{args.out}: rank {facts['rank']}, relative error {facts['relative_error']:.1e}")


def _compare(args: argparse.Namespace) -> None:
    import numpy as np

    from selma.evaluation.statistics import compare_paired

    if not 0.5 < args.confidence < 1 or args.resamples < 100:
        raise ConfigError(
            "expected --confidence between 0.5 and 1 and --resamples of at least 100, got "
            f"{args.confidence} and {args.resamples}"
        )
    (about, first), (other, second) = _item_scores(args.first), _item_scores(args.second)
    if about != other:
        raise RecordError(
            f"{args.first} and {args.second}: scored in different ways, {about} and {other}; "
            "score both alike"
        )
    alone = sorted(set(first) ^ set(second))
    if alone:
        raise RecordError(
            f"{args.first} and {args.second}: {len(alone)} items are in only one of them, first "
            f"{alone[0]!r}; compare scores of the same benchmark"
        )
    result = compare_paired(
        np.array([first[item][0] for item in sorted(first)]),
        np.array([second[item][0] for item in sorted(first)]),
        np.array([first[item][1] for item in sorted(first)]),
        resamples=args.resamples,
        confidence=args.confidence,
        seed=args.seed,
    )
    mean = result.estimate
    print(
        f"A - B = {mean.mean:+.4f}  {100 * args.confidence:g} % interval "
        f"{mean.low:+.4f} to {mean.high:+.4f}  p = {result.p_value:.4f}  "
        f"wins {result.wins}, ties {result.ties}, losses {result.losses}  n = {len(first)} prompts"
    )


def _item_scores(path: Path) -> tuple[list[str], dict[str, tuple[float, float]]]:
    """Give how the scores were made, and each item's mean over its pictures and its weight."""
    import json

    from selma.tables import read_table

    scores: dict[str, list[float]] = {}
    weights: dict[str, float] = {}
    about: set[str] = set()
    for row in read_table(path, "scores"):
        details = json.loads(row["details"])
        scores.setdefault(row["item_id"], []).append(row["score"])
        weights[row["item_id"]] = float(details["weight"])
        about.add(", ".join(str(details[key]) for key in ("metric", "judge", "policy", "version")))
    if not scores:
        raise MissingDataError(f"{path}: holds no scores; run `dvc repro`")
    means = {item: (sum(values) / len(values), weights[item]) for item, values in scores.items()}
    return sorted(about), means


def _table(args: argparse.Namespace) -> None:
    from selma.report.markdown import replace_results, table_of
    from selma.runtime import write_bytes_atomic

    table = table_of(Path())
    if args.write is None:
        print(table, end="")
        return
    text = replace_results(args.write.read_text(encoding="utf-8"), table, str(args.write))
    write_bytes_atomic(args.write, text.encode())
    print(f"wrote the results into {args.write}")


def _track(args: argparse.Namespace) -> None:
    from selma.runtime import root
    from selma.tracking.command import track

    lines, changes = track(root())
    print("\n".join(lines))
    print(f"{changes} changes")


def _clean(args: argparse.Namespace) -> None:
    from selma.runtime import root

    folders = sorted((root() / ".selma" / "work").glob("*"))
    for folder in folders:
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files) / 1e6
        newest = max((path.stat().st_mtime for path in [folder, *files]), default=0.0)
        days = (time.time() - newest) / 86_400
        stale = days >= args.days
        removed = stale and args.yes and _removed(folder)
        state = "removed" if removed else "stale" if stale else "kept"
        print(f"{state}  {days:6.1f} days  {size:8.1f} MB  {folder}")
    if not folders:
        print("nothing was left behind")


def _removed(folder: Path) -> bool:
    """Remove a work folder unless a stage holds its lock."""
    import fcntl
    import shutil

    lock = folder.parent.parent / "locks" / folder.name.rsplit("-", 1)[-1]
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(folder)
    return True


if __name__ == "__main__":
    sys.exit(main())
