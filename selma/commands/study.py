"""`selma study`: runs a study's variants and seeds, and prints the tables that compare them."""

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from selma.core.errors import ConfigError

if TYPE_CHECKING:
    from selma.studies.experiments import Plan
    from selma.studies.running import State
    from selma.studies.study_file import Study

FAILED_EXIT_CODE = 4
SUFFIXES = {"markdown": ".md", "latex": ".tex", "csv": ".csv"}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
        "study",
        help="variants × training seeds as DVC experiments, and tables with intervals over both",
        description="A study is a file, see docs/studies.md. Its runs are ordinary experiments of "
        "DVC; your working tree is not touched, and what was killed goes on.",
    )
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION")
    running = actions.add_parser("run", help="run what is not done yet, and print the tables")
    running.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at once")
    actions.add_parser("status", help="what is done, running or missing, and how long it took")
    table = actions.add_parser("table", help="print the tables and claims")
    table.add_argument("--format", choices=tuple(SUFFIXES), default="markdown")
    where = table.add_mutually_exclusive_group()
    where.add_argument("--write", type=Path, metavar="PAGE", help="put them between its markers")
    where.add_argument("-o", "--out", type=Path, metavar="FILE")
    report = actions.add_parser("report", help="write the study as an HTML page")
    report.add_argument("--figure", metavar="TABLE", help="only this table's differences, as SVG")
    actions.add_parser("release", help="write the runs beside the file and push their scores")
    report.add_argument("-o", "--out", type=Path, metavar="FILE", required=True)
    for name, action in actions.choices.items():
        action.add_argument("file", type=Path, metavar="FILE", help="studies/NAME.yaml")
        action.set_defaults(run=run, action=name)


def run(args: argparse.Namespace) -> int:
    """Do one action; exit code 0, or `FAILED_EXIT_CODE` if a run of the study failed."""
    from selma.runtime.journal import root
    from selma.studies.experiments import plan
    from selma.studies.sharing import bundle_of, take_released
    from selma.studies.study_file import read_study

    _check_where(args)
    study = read_study(args.file)
    home = root()
    planned = plan(study, home)
    take_released(planned, home, bundle_of(args.file))
    if args.action == "run":
        return _run(study, planned, home, args.jobs)
    if args.action == "status":
        print(_status(study, planned, home))
        return 0
    if args.action == "release":
        _release(study, planned, home, bundle_of(args.file))
    elif args.action == "table":
        _table(_compared(study, planned, home), args)
    else:
        _report(_compared(study, planned, home), args.figure, args.out)
    return 0


def _check_where(args: argparse.Namespace) -> None:
    """Refuse a suffix or page that does not fit the format, before anything is compared."""
    if args.action == "table" and args.write is not None and args.format != "markdown":
        raise ConfigError("--write: a page is Markdown; use --out for the other formats")
    if args.action == "table":
        suffix = SUFFIXES[args.format]
    elif args.action == "report":
        suffix = ".html" if args.figure is None else ".svg"
    else:
        return
    if args.out is not None and args.out.suffix != suffix:
        raise ConfigError(f"--out {args.out}: expected a name that ends in {suffix}")


def _run(study: "Study", plan: "Plan", root: Path, jobs: int) -> int:
    from selma.report.study_text import as_markdown
    from selma.studies.checking import check_variants
    from selma.studies.running import DONE, Runner, states
    from selma.tracking.command import track_quietly

    if not 1 <= jobs <= 64:
        raise ConfigError(f"--jobs: expected 1 to 64, got {jobs}")
    check_variants(study, plan, root)
    total = len(plan.experiments)

    def report(experiment: Any, words: str) -> None:
        done = sum(state.state == DONE for state in states(root, study.name, plan))
        print(f"[{done}/{total}] {experiment.label}: {words}", flush=True)

    signal.signal(signal.SIGTERM, _leave)
    failed = Runner(root, study.name, study.targets, report).run(plan, jobs)
    for line in failed:
        print(f"selma: error: {line}", file=sys.stderr)
    track_quietly()
    if failed:
        return FAILED_EXIT_CODE
    print(f"{total} of {total} runs are done\n", flush=True)
    print(as_markdown(_compared(study, plan, root)), end="")
    return 0


def _leave(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def _status(study: "Study", plan: "Plan", root: Path) -> str:
    from statistics import median

    from selma.commands.text_table import text_of, text_table
    from selma.studies.running import DONE, states

    found = states(root, study.name, plan)
    columns = {"name": text_of("name"), "state": text_of("state"), "time": text_of("time"),
               "note": text_of("note")}  # fmt: skip
    lines = [text_table(columns, [_line(state) for state in found])]
    done = [state for state in found if state.state == DONE]
    words = f"{len(done)} of {len(found)} runs are done"
    took = [state.seconds for state in done if state.seconds]
    if took and len(done) < len(found):
        left = median(took) * (len(found) - len(done))
        words += f"; the others take about {_duration(left)}, if each takes as long"
    return "\n".join([*lines, words])


def _line(state: "State") -> dict[str, str]:
    time = "–" if state.seconds is None else _duration(state.seconds)
    return {"name": state.experiment.label, "state": state.state, "time": time, "note": state.note}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _compared(study: "Study", plan: "Plan", root: Path) -> dict[str, Any]:
    from selma.studies.comparison import compare_study
    from selma.studies.results import read_scores

    return compare_study(study, read_scores(study, plan, _revisions(study, plan, root), root))


def _revisions(study: "Study", plan: "Plan", root: Path) -> dict[str, str]:
    from selma.studies.running import ensure_done, states

    found = states(root, study.name, plan)
    ensure_done(found)
    return {state.experiment.name: state.revision for state in found}


def _release(study: "Study", plan: "Plan", root: Path, bundle: Path) -> None:
    from selma.studies.sharing import release_runs

    pushed = release_runs(study, plan, _revisions(study, plan, root), root, bundle)
    print(f"wrote {len(plan.experiments)} runs to {bundle} and pushed {pushed} files")


def _table(found: dict[str, Any], args: argparse.Namespace) -> None:
    from selma.report.marked import write_marked
    from selma.report.study_text import FORMATS

    text = FORMATS[args.format](found)
    if args.write is not None:
        write_marked(args.write, found["name"], f"\n{text}\n")
        print(f"wrote {found['name']} into {args.write}")
    elif args.out is None:
        print(text, end="")
    else:
        _write(args.out, text)


def _report(found: dict[str, Any], figure: str | None, out: Path) -> None:
    from selma.report.study_page import render_figure, render_study

    _write(out, render_study(found) if figure is None else render_figure(found, figure))


def _write(out: Path, text: str) -> None:
    from selma.core.files import write_bytes_atomic

    write_bytes_atomic(out, text.encode())
    print(f"wrote {out}")
