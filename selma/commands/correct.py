"""`selma correct` and `selma edit`: pictures in, repaired pictures and a trace of each out."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.commands.correct_options import LLM, OWN, add_options, laid_over
from selma.commands.correct_words import trace_lines, verdict_line
from selma.core.errors import BackendError, ConfigError, RecordError

if TYPE_CHECKING:
    from selma.correction.correcting import Task, Tools
    from selma.correction.folders import Item
    from selma.correction.json_files import Refused
    from selma.llm.generators import LlmOptions

Values = dict[str, Any]


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("correct", help="repair pictures until they show their prompts")
    add_options(command)
    command.set_defaults(run=run, mode="correct")
    command = commands.add_parser("edit", help="change pictures as an instruction says")
    add_options(command)
    command.set_defaults(run=run, mode="edit")


@dataclass(frozen=True)
class _Settings:
    """What the params file and the options come to, checked."""

    section: Values
    llm: "LlmOptions"
    seed: int
    words: Any  # Vocabulary
    mark: str  # of all that decides what becomes of a picture, but the picture


def run(args: argparse.Namespace) -> int:
    """Correct what is not yet done; exit code 2 if an input was refused, 4 if a picture failed."""
    from selma.correction.json_files import Refused
    from selma.runtime.arguments import prepare_machine

    _check_inputs(args)
    settings = _settings(args)
    prepare_machine(args.params)
    given = _given(args, settings)
    refused = [one for one in given if isinstance(one, Refused)]
    items = [one for one in given if not isinstance(one, Refused)]
    for one in refused:
        print(f"selma: error: {' '.join(one.reason.split())}", file=sys.stderr)
    _correct(args, settings, items)
    traces = _tell(args, items, refused)
    if refused:
        return RecordError.exit_code
    return BackendError.exit_code if any(t["verdict"] == "failed" for t in traces) else 0


def _check_inputs(args: argparse.Namespace) -> None:
    """Check that one of the three kinds of input is given, whole."""
    draw = args.draw or None
    kinds = {
        "--json-file and --input-dir": (args.json_file, args.input_dir),
        "--picture and --prompt": (args.picture, args.prompt),
        "--draw and --prompt": (draw, args.prompt),
    }
    whole = [name for name, values in kinds.items() if None not in values]
    given = [args.json_file, args.input_dir, args.picture, draw, args.prompt]
    if len(whole) != 1 or sum(value is not None for value in given) != 2:
        raise ConfigError(f"expected just one of: {'; '.join(kinds)}")
    if args.prompt is not None and not args.prompt.strip():
        raise ConfigError("--prompt: expected a text, got none")
    if args.generator is not None and args.picture is None:
        raise ConfigError("--generator: is for --picture; entries of --json-file say their own")


def _settings(args: argparse.Namespace) -> _Settings:
    from selma.correction.lmd import read_vocabulary
    from selma.correction.models import weights_of
    from selma.correction.settings import words_of
    from selma.llm.generators import LlmOptions
    from selma.runtime.correct_params import CorrectParams
    from selma.runtime.params import load_section
    from selma.runtime.sections import LlmParams, Seed
    from selma.runtime.workspace import fingerprint
    from selma.runtime.yaml_files import validate

    read, where = load_section("correct", Values, args.params), f"{args.params} and options"
    given = {name: getattr(args, name) for name in OWN}
    given["rounds"] = args.rounds or read.get("rounds") or 1
    values = laid_over(read, given, args.set)
    section = validate(CorrectParams, values, where, "correct").model_dump()
    chosen = {name: getattr(args, name) for name in LLM}
    asked = laid_over(load_section("llm", Values, args.params), chosen, [])
    llm = LlmOptions(**validate(LlmParams, asked, where, "llm").model_dump())
    seed = load_section("seed", Seed, args.params) if args.seed is None else args.seed
    words = words_of(section) if args.vocabulary is None else read_vocabulary(args.vocabulary)
    models = {name: section[name] for name in ("detector", "segmenter", "editor")}
    weights = [Path(section["detector"]["path"])] if args.plan_only else weights_of(**models)
    how = {"mode": args.mode, "seed": seed, "words": words, "plan_only": args.plan_only}
    how |= {"llm": llm.deciding(), "ignore_generators": args.ignore_generators}
    mark = fingerprint("correct", weights, {**section, **how})
    return _Settings(section, llm, seed, words, mark)


def _given(args: argparse.Namespace, settings: _Settings) -> "Sequence[Item | Refused]":
    from selma.correction.folders import make_item, read_items, read_picture
    from selma.correction.json_files import Entry

    if args.json_file is not None:
        limit = settings.section["objects_max"]
        return read_items(args.json_file, args.input_dir, args.out, limit)
    stem = "drawn" if args.draw else args.picture.stem
    entry = Entry(1, stem, ".", args.prompt, args.generator, None, None)
    load = partial(read_picture, args.picture)
    if args.draw:
        drawn = _drawn(args, settings.seed)
        load = drawn.copy
    return [make_item(entry, args.out, load)]


def _drawn(args: argparse.Namespace, seed: int) -> Any:
    """Draw a prompt's picture as the stage `images` draws one."""
    from PIL import Image

    from selma.core.devices import prepare_device
    from selma.core.seeds import derive_seed
    from selma.diffusion.drawing import batch_drawer
    from selma.diffusion.loading import load_backbone
    from selma.diffusion.requests import Request
    from selma.runtime.params import load_section
    from selma.runtime.sections import BackboneParams, TrainingImagesParams

    model = load_section("backbone", BackboneParams, args.params)
    how = load_section("images", TrainingImagesParams, args.params)
    backbone = load_backbone(model.path, model.dtype, prepare_device())
    draw = batch_drawer(
        backbone, guidance_scale=how.guidance_scale, inference_steps=how.inference_steps
    )
    own = derive_seed(seed, "correct", "draw", args.prompt)
    return Image.fromarray(draw([Request("drawn", 0, args.prompt, own)])[0])


def _correct(args: argparse.Namespace, settings: _Settings, items: "Sequence[Item]") -> None:
    """Correct what no earlier run has done, some pictures at a time."""
    from selma.correction.correcting import LlmWatch, correct_batch
    from selma.correction.folders import is_done, write_item
    from selma.correction.settings import way_of
    from selma.runtime.progress import progress

    marks = [item.mark(settings.mark) for item in items]
    todo = [
        pair for pair in zip(items, marks, strict=True) if not is_done(*pair)
    ]  # fmt: skip
    if not todo:
        return
    tools, watch = _tools(args, settings), LlmWatch()
    way = way_of(settings.section, args.mode, settings.llm.concurrency)
    size = settings.section["detector"]["batch_size"]
    keep = settings.section["keep"]
    task = _task_maker(args, settings)
    with progress(len(todo), "pictures") as advance:
        for start in range(0, len(todo), size):
            batch = todo[start : start + size]
            tasks = [task(item) for item, _ in batch]
            done = correct_batch(tasks, tools, way)
            # those first that an LLM which is out of order has nothing to do with
            for place in sorted(range(len(batch)), key=lambda place: done[place].unanswered):
                (item, mark), one = batch[place], done[place]
                watch.look(one.trace.failure if one.unanswered else "", len(one.recorded))
                write_item(
                    item, tasks[place].picture, one,
                    keep=keep, plan_only=args.plan_only, mark=mark,
                )  # fmt: skip
            advance(len(batch))


def _tools(args: argparse.Namespace, settings: _Settings) -> "Tools":
    from selma.core.devices import prepare_device
    from selma.correction.correcting import Tools
    from selma.correction.models import load_detector_by, load_editor_by
    from selma.llm.budget import LEDGER
    from selma.llm.generators import RecordedLlm, make_answer
    from selma.llm.transcript import Transcript

    section, device = settings.section, prepare_device()
    transcript = Transcript(args.replies or args.out / "replies.jsonl")
    answer: Callable[..., Any] | None = None

    def answered(request: Any, schema: Any) -> Any:
        """Make the LLM ready when it is first asked: entries may give its replies."""
        nonlocal answer
        if answer is None:
            answer = make_answer(settings.llm, LEDGER)
        return answer(request, schema)

    editor = None
    if not args.plan_only:
        editor = load_editor_by(section["segmenter"], section["editor"], device=device)
    detector = load_detector_by(section["detector"], device=device)
    return Tools(detector, editor, lambda: RecordedLlm(settings.llm, answered, transcript))


def _task_maker(args: argparse.Namespace, settings: _Settings) -> "Callable[[Item], Task]":
    from selma.core.seeds import derive_seed
    from selma.correction.correcting import Task, known_rule
    from selma.correction.generators import thresholds_for
    from selma.correction.settings import thresholds_of

    detector = settings.section["detector"]
    own = thresholds_of(detector)

    def task(item: "Item") -> Task:
        entry = item.entry
        generator = None if args.ignore_generators else entry.generator
        name = entry.output_dir if args.json_file is not None else item.stem
        rule = known_rule(entry.prompt, settings.words) if args.mode == "correct" else None
        return Task(
            item.load(), entry.prompt, derive_seed(settings.seed, "correct", name),
            thresholds_for(generator, detector["kind"], own), entry.scene, entry.suggestion, rule,
        )  # fmt: skip

    return task


def _tell(
    args: argparse.Namespace, items: "Sequence[Item]", refused: "Sequence[Refused]"
) -> list[Mapping[str, Any]]:
    """Write the contact sheet and a line for each picture; returns their traces."""
    from selma.core.files import write_bytes_atomic
    from selma.correction.folders import FIGURE, INITIAL, read_trace
    from selma.correction.loop import VERDICTS
    from selma.report.contact_sheet import Card, render_sheet

    traces, cards = [], []
    for item in items:
        trace = read_trace(item)
        place = item.folder.relative_to(args.out)
        places = {"before": INITIAL, "boxes": FIGURE, "after": f"final_{item.stem}.png"}
        files = {
            what: (place / name).as_posix() for what, name in places.items()
            if name in trace["files"]
        }  # fmt: skip
        name = item.stem if place == Path() else place.as_posix()
        lines, width = list(trace_lines(trace)), item.width
        print("\n  ".join([verdict_line(name, trace), *(lines if args.plan_only else [])]))
        cards.append(Card(name, trace["prompt"], trace["verdict"], lines, files, width))
        traces.append(trace)
    for one in refused:
        name = one.output_dir or f"entry {one.number}"
        cards.append(Card(name, "", "refused", [one.reason], {}, 0))
    means = {**VERDICTS, "refused": "could not be used as it was given"}
    page = render_sheet("corrections" if args.mode == "correct" else "edits", cards, means)
    write_bytes_atomic(args.out / "index.html", page.encode())
    print(f"{args.out / 'index.html'}: {len(cards)} pictures")
    return traces
