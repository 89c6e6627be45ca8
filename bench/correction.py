"""Compares ways to spend U-Net evaluations on a picture that fits its prompt, in the pocket world.

One picture; the best of K by the detector; rounds of self-correction by the same detector; both.
Each way stops at the first picture that the detector passes, on the 400 prompts of the LMD
benchmark in the pocket world's words. The pixels judge, by rules that know no model, so neither
way is judged by what it chose with. Ways are compared prompt by prompt; settings are params.yaml's.

python bench/correction.py [--every 4] [--samples 8] [--rounds 2] [--out lmd.json] [--figure a.svg]
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from selma.comparing.statistics import Bootstrap
from selma.core.devices import prepare_device
from selma.core.seeds import derive_seed
from selma.correction.correcting import Corrected, Task, Tools, correct_batch
from selma.correction.detecting import look_for
from selma.correction.detectors.loading import load_detector
from selma.correction.lmd import CATEGORIES, LmdPrompt, lmd_prompts, read_vocabulary
from selma.correction.loop import best_round
from selma.correction.models import load_detector_by, load_editor_by
from selma.correction.settings import thresholds_of, way_of
from selma.diffusion.loading import load_backbone
from selma.diffusion.requests import to_uint8
from selma.diffusion.sampling import draw_batch
from selma.llm.generators import LlmOptions, RecordedLlm, make_answer
from selma.llm.transcript import Transcript
from selma.measuring.lmd import (
    Judged,
    PassEstimate,
    PassEstimates,
    estimate_passes,
    judge_pictures,
)
from selma.report.curves import Point, render_curves
from selma.runtime.arguments import prepare_machine
from selma.runtime.params import PARAMS_PATH, load_params

VOCABULARY = Path("data/lmd/pocket.yaml")
RESAMPLES = Bootstrap(10000, 0.95, 0)
ONE, SAMPLING, ROUNDS, BOTH = "one sample", "best of K", "rounds", "best of K, then 1 round"


@dataclass
class Spent:
    """U-Net evaluations: rows that went through a U-Net, so classifier-free guidance takes two."""

    rows: int = 0


@dataclass(frozen=True)
class Way:
    """A way to come to a picture: of each prompt, what it cost and whether the pixels pass."""

    kind: str  # ONE, SAMPLING, ROUNDS or BOTH
    name: str
    cost: np.ndarray[Any, np.dtype[np.float64]]  # (prompts,)
    passed: np.ndarray[Any, np.dtype[np.float64]]  # (prompts,)


@contextmanager
def counted() -> Iterator[Spent]:
    """Count what goes through any U-Net meanwhile."""
    import torch
    from diffusers import UNet2DConditionModel

    spent = Spent()

    def count(module: Any, inputs: Any, _: Any) -> None:
        if isinstance(module, UNet2DConditionModel):
            spent.rows += len(inputs[0])

    hook = torch.nn.modules.module.register_module_forward_hook(count)
    try:
        yield spent
    finally:
        hook.remove()


class CountedEditor:
    """An editor, and what each of its edits cost."""

    def __init__(self, editor: Any, spent: Spent) -> None:
        self._editor, self._spent, self.costs = editor, spent, list[int]()

    def edit(self, picture: Any, job: Any) -> Any:
        """Edit as the editor does."""
        before = self._spent.rows
        edited = self._editor.edit(picture, job)
        self.costs.append(self._spent.rows - before)
        return edited


def draw(prompts: Sequence[LmdPrompt], samples: int, params: Any) -> list[list[Any]]:
    """Draw each prompt's pictures with the backbone; PIL, (prompts, samples)."""
    from PIL import Image

    backbone = load_backbone(params.backbone.path, params.backbone.dtype, prepare_device())
    way = params.images
    pairs = [(one, n) for one in prompts for n in range(samples)]
    drawn: list[Any] = []
    for start in range(0, len(pairs), way.batch_size):
        batch = pairs[start : start + way.batch_size]
        texts = [one.text for one, _ in batch]
        pixels = draw_batch(
            texts,
            [derive_seed(params.seed, "lmd", one.number, n) for one, n in batch],
            backbone, guidance_scale=way.guidance_scale, inference_steps=way.inference_steps,
        )  # fmt: skip
        drawn += [Image.fromarray(one) for one in to_uint8(pixels, texts)]
    return [drawn[n * samples : (n + 1) * samples] for n in range(len(prompts))]


def seen_to_pass(prompts: Sequence[LmdPrompt], pictures: Sequence[Any], tools: Any) -> list[bool]:
    """Whether the corrector's own detector passes each prompt's picture."""
    detector, thresholds = tools
    scenes = [one.predicate.scene("A picture") for one in prompts]
    found = look_for(detector, pictures, scenes, thresholds)
    return [one.predicate.passes(seen) for one, seen in zip(prompts, found, strict=True)]


def judged(prompts: Sequence[LmdPrompt], pictures: Sequence[Any]) -> Any:
    """Whether the pixels of each prompt's picture pass, (prompts,) of 0 and 1."""
    judge = load_detector(
        "pocket", Path("selma/correction"), dtype="float32", device="cpu", batch_size=1
    )
    asked = [
        Judged(str(one.number), one.text, one.predicate, lambda picture=picture: picture)
        for one, picture in zip(prompts, pictures, strict=True)
    ]
    passed = judge_pictures(
        asked, judge, attribution=0.0, others=0.0, nms_iou=0.5, batch_size=100,
        advance=lambda _: None,
    )  # fmt: skip
    return np.array(passed, dtype=float)


def best_of(drawn: Sequence[Sequence[Any]], passes: Any, samples: int, each: int) -> Any:
    """Choose the first picture that passes, else the first; pictures, cost, whether none passed."""
    chosen, cost, lost = [], [], []
    for pictures, own in zip(drawn, passes, strict=True):
        first = next((n for n in range(samples) if own[n]), None)
        chosen.append(pictures[first or 0])
        cost.append(each * (samples if first is None else first + 1))
        lost.append(first is None)
    return chosen, np.array(cost, float), lost


def corrections(
    prompts: Sequence[LmdPrompt], pictures: Sequence[Any], params: Any, rounds: int, folder: Path
) -> tuple[list[Corrected], list[list[int]]]:
    """Correct pictures as the stage does; the results, and what each picture's edits cost."""
    section = {**params.correct.model_dump(), "rounds": rounds, "stop_on_pass": True}
    llm = LlmOptions(**params.llm.model_dump())
    answer, said = make_answer(llm, folder / "ledger"), Transcript(folder / "said", list)
    device = prepare_device()
    editor = load_editor_by(section["segmenter"], section["editor"], device=device)
    detector = load_detector_by(section["detector"], device=device)
    done, costs = [], []
    with counted() as spent:
        for one, picture in zip(prompts, pictures, strict=True):
            counting = CountedEditor(editor, spent)
            tools = Tools(detector, counting, lambda: RecordedLlm(llm, answer, said))
            seed = derive_seed(params.seed, "lmd", one.number, "correction")
            thresholds = thresholds_of(section["detector"])
            task = Task(picture, one.text, seed, thresholds, None, None, one.predicate)
            done += correct_batch([task], tools, way_of(section, "correct", 1))
            costs.append(counting.costs)
            print(f"\r{len(done)} of {len(prompts)}", end="", flush=True)
    print()
    return done, costs


def after(one: Corrected, original: Any, rounds: int) -> Any:
    """The picture that so many rounds give."""
    return [original, *one.edited][best_round(one.trace.looks[: rounds + 1])]


def ways(prompts: Sequence[LmdPrompt], params: Any, args: Any) -> tuple[list[Way], list[Corrected]]:
    """Go all ways."""
    each = params.images.inference_steps * (2 if params.images.guidance_scale > 1 else 1)
    drawn = draw(prompts, args.samples, params)
    section = params.correct.model_dump()
    detector = load_detector_by(section["detector"], device=prepare_device())
    tools = detector, thresholds_of(section["detector"])
    columns = [seen_to_pass(prompts, [own[n] for own in drawn], tools) for n in range(args.samples)]
    passes = list(zip(*columns, strict=True))
    found = []
    for k in [n for n in (1, 2, 3, 4, 6, 8, 12, 16) if n <= args.samples]:
        chosen, cost, _ = best_of(drawn, passes, k, each)
        kind, name = (SAMPLING, f"best of {k}") if k > 1 else (ONE, ONE)
        found.append(Way(kind, name, cost, judged(prompts, chosen)))
    first = [own[0] for own in drawn]
    with TemporaryDirectory() as folder:
        done, costs = corrections(prompts, first, params, args.rounds, Path(folder))
    for r in range(1, args.rounds + 1):
        results = [after(one, own, r) for one, own in zip(done, first, strict=True)]
        cost = np.array([each + sum(own[:r]) for own in costs], float)
        found.append(Way(ROUNDS, f"{r} round{'s' * (r > 1)}", cost, judged(prompts, results)))
    for k in [n for n in (2, 4) if n <= args.samples]:
        chosen, cost, lost = best_of(drawn, passes, k, each)
        pictures = [
            after(one, own, 1) if none else best
            for one, own, best, none in zip(done, first, chosen, lost, strict=True)
        ]
        more = [sum(own[:1]) if none else 0 for own, none in zip(costs, lost, strict=True)]
        name = f"best of {k}, then 1 round"
        found.append(Way(BOTH, name, cost + more, judged(prompts, pictures)))
    if args.pictures:
        grid(prompts, first, done, args.rounds, args.pictures)
    return found, done


def grid(prompts: Any, first: Any, done: Any, rounds: int, path: Path) -> None:
    """Draw pictures that were edited, before above and after below, each category a row of them."""
    from PIL import Image

    zoom, columns = 3, 12
    size = first[0].size[0] * zoom
    sheet = Image.new("RGB", (columns * (size + 4), len(CATEGORIES) * (2 * size + 12)), "white")
    for row, category in enumerate(CATEGORIES):
        own = [
            n for n, one in enumerate(prompts)
            if one.predicate.category == category and done[n].edited
        ]  # fmt: skip
        for column, n in enumerate(own[:: max(1, len(own) // columns)][:columns]):
            for below, picture in enumerate((first[n], after(done[n], first[n], rounds))):
                large = picture.resize((size, size), Image.Resampling.NEAREST)
                place = (column * (size + 4), row * (2 * size + 12) + below * (size + 2))
                sheet.paste(large, place)
    sheet.save(path)


def estimated(prompts: Sequence[LmdPrompt], values: Any) -> PassEstimates:
    """Estimate passes, or differences of passes, with intervals over distinct prompts."""
    asked = [(one.predicate.category, one.text) for one in prompts]
    return estimate_passes(asked, values, RESAMPLES)


def told(found: PassEstimate, form: str = "{:.1f}") -> str:
    """Write an estimate in percent."""
    if found.low is None or found.high is None:
        return form.format(100 * found.mean)
    mean, low, high = (form.format(100 * one) for one in (found.mean, found.low, found.high))
    return f"{mean} [{low}, {high}]"


def tables(prompts: Sequence[LmdPrompt], found: Sequence[Way]) -> Iterator[str]:
    """Write the ways, then corrections against sampling that costs no less."""
    yield f"| way | evaluations | passes, % | {' | '.join(CATEGORIES)} |"
    yield "|---" * (3 + len(CATEGORIES)) + "|"
    for way in found:
        passes = estimated(prompts, way.passed)
        cells = [told(one) for one in (passes.whole, *passes.categories.values())]
        yield f"| {way.name} | {way.cost.mean():.0f} | {' | '.join(cells)} |"
    sampling = [way for way in found if way.kind in (ONE, SAMPLING)]
    for way in [way for way in found if way not in sampling]:
        dear = [other for other in sampling if other.cost.mean() >= way.cost.mean()]
        rival = dear[0] if dear else sampling[-1]
        gain = estimated(prompts, way.passed - rival.passed)
        costs = f"{way.cost.mean():.0f} and {rival.cost.mean():.0f}"
        yield f"{way.name} − {rival.name}: {told(gain.whole, '{:+.1f}')} (evaluations {costs})"
        for category, cell in gain.categories.items():
            own = np.array([one.predicate.category == category for one in prompts])
            costs = f"{way.cost[own].mean():.0f} and {rival.cost[own].mean():.0f}"
            yield f"  {category}: {told(cell, '{:+.1f}')} ({costs})"


def figure(prompts: Sequence[LmdPrompt], found: Sequence[Way]) -> str:
    """Draw what each way reaches at what cost: all prompts, then each category, as an SVG."""
    category_of = np.array([one.predicate.category for one in prompts])
    panels: dict[str, dict[str, list[Point]]] = {"all prompts": {}}
    panels |= {category: {} for category in CATEGORIES if category in category_of}
    for way in found:
        passes = estimated(prompts, way.passed)
        for head, curves in panels.items():
            one = passes.categories.get(head, passes.whole)
            cost = way.cost[category_of == head] if head in passes.categories else way.cost
            ends = [one.mean if end is None else end for end in (one.low, one.high)]
            values = (100 * value for value in (one.mean, *ends))
            curves.setdefault(way.kind, []).append(Point(way.name, cost.mean(), *values))
    for curves in panels.values():  # the start of sampling and of correcting, drawn last
        start = curves.pop(ONE)
        for kind in (SAMPLING, ROUNDS):
            curves[kind] = start + curves.get(kind, [])
        curves[ONE] = start
    return render_curves(
        panels, title="passes over U-Net evaluations", cost="U-Net evaluations", value="passes, %"
    )


def kinds(done: Sequence[Corrected]) -> Iterator[str]:
    """Say what was edited, and how often it was then seen to be there."""
    planned: dict[str, int] = {}
    right: dict[str, int] = {}
    for one in done:
        for turn in one.trace.rounds:
            for kind, cell in turn.edit.items():
                planned[kind] = planned.get(kind, 0) + cell.asked
                right[kind] = right.get(kind, 0) + cell.done
    for kind, number in planned.items():
        yield f"{kind}: {number} planned, {right[kind]} seen done"
    verdicts = [one.trace.verdict for one in done]
    counts = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
    yield "verdicts: " + ", ".join(f"{number} {name}" for name, number in counts.items())


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="take each so many-th prompt")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, help="JSON of all ways, prompt by prompt")
    parser.add_argument("--figure", type=Path, help="SVG of passes over evaluations")
    parser.add_argument("--pictures", type=Path, help="PNG of pictures before and after")
    args = parser.parse_args()
    prepare_machine(PARAMS_PATH)
    params = load_params()
    prompts = lmd_prompts(read_vocabulary(VOCABULARY))[:: args.every]
    found, done = ways(prompts, params, args)
    print("\n".join([*tables(prompts, found), *kinds(done)]))
    if args.figure:
        args.figure.write_text(figure(prompts, found), encoding="utf-8")
    if args.out:
        rows = [
            {"way": w.name, "cost": w.cost.tolist(), "passed": w.passed.tolist()} for w in found
        ]
        args.out.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
