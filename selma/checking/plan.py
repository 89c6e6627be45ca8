"""What a run will draw, train, ask, keep and pay for, before anything runs.

Disk is by formula, tokens are characters; only operations are counted on the model itself.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from selma.checking.distillations import plan_distillation
from selma.checking.flops import Costs, count_costs, count_router
from selma.checking.trainings import FLOAT32, plan_fit, plan_pairs, plan_training
from selma.diffusion.stable_diffusion import StableDiffusion
from selma.llm.generators import FREE
from selma.llm.prices import CHARACTERS_PER_TOKEN, Price, find_price, tokens_of
from selma.runtime.model_params import CompositeParams
from selma.runtime.params import (
    laid_over,
    load_expert,
    load_mixture,
    load_router,
    load_skill_section,
)
from selma.runtime.search_params import SearchParams
from selma.runtime.sections import (
    AnswersParams,
    ImagesParams,
    LlmParams,
    LoraParams,
    PromptsParams,
    SamplesParams,
    TrainingImagesParams,
)
from selma.runtime.whole import Params

SHARE = 0.4  # of the makers' figures that well-fed training reaches
BYTES_PER_PIXEL = 1.5  # of a PNG of a photograph, about half of its 3
CHARACTERS_OF_A_REPLY = 400  # a few words of reasoning and a list of boxes
BYTES_PER_ROW = 100  # of a table without pictures, compressed
FLOAT16 = 2  # bytes


@dataclass(frozen=True)
class Paid:
    """What a hosted model is asked, at least: a retry or an unreadable reply comes on top."""

    model: str
    requests: int
    tokens_in: int  # of texts; pictures are counted apart
    tokens_out: int
    pictures: int = 0
    price: Price | None = None  # None: not known


@dataclass(frozen=True)
class Work:
    """One stage's work; None: not known, because the model or the benchmark is not there yet."""

    stage: str
    what: str  # plural of what is counted
    number: int | None
    operations: float | None = None
    disk: float = 0.0  # bytes of what it writes
    scratch: float = 0.0  # bytes that it holds on the disk besides, while it works
    paid: Paid | None = None


class Counter:
    """Counts what a backbone computes, from its configs; `pixels` are of one of its pictures."""

    def __init__(self, folder: Path) -> None:
        """Read the configs; without them, or for a family without a U-Net, nothing is counted."""
        self._parts: list[dict[str, Any]] | None = None
        self.pixels = 0
        self.latent = 0  # numbers of one picture's latent
        with contextlib.suppress(OSError, ValueError):
            self._parts = [
                json.loads((folder / part / "config.json").read_text(encoding="utf-8"))
                for part in ("unet", "vae")
            ]
        if self._parts is not None:
            unet, vae = self._parts
            self.pixels = (unet["sample_size"] * 2 ** (len(vae["block_out_channels"]) - 1)) ** 2
            self.latent = unet["in_channels"] * unet["sample_size"] ** 2
        self._known: dict[object, Costs] = {}

    def costs(self, lora: LoraParams) -> Costs | None:
        """Count with an adapter as the params say."""
        if self._parts is None:
            return None
        targets = tuple(lora.targets or StableDiffusion.targets)
        key = (lora.rank, targets)
        if key not in self._known:
            unet, vae = self._parts
            self._known[key] = count_costs(unet, vae, lora.rank, targets)
        return self._known[key]

    def routed(self, experts: Sequence[LoraParams], top_k: int) -> Costs | None:
        """Count with a router of experts as the params say, whose gates are trained."""
        if self._parts is None:
            return None
        own = [(lora.rank, tuple(lora.targets or StableDiffusion.targets)) for lora in experts]
        key = (*own, top_k)
        if key not in self._known:
            unet, vae = self._parts
            self._known[key] = count_router(unet, vae, own, top_k)
        return self._known[key]

    def drawing(
        self, stage: str, number: int | None, settings: ImagesParams, costs: Costs | None,
        predictions: float = 1,
    ) -> Work:  # fmt: skip
        """Plan a stage that draws pictures, with so many guided predictions in each step.

        Adapters are not counted, for they are added to the weights.
        """
        operations = None
        if costs is not None and number is not None:
            guided = 2 if settings.guidance_scale > 1 else 1
            each = predictions * guided * settings.inference_steps * costs.predict + costs.decode
            operations = float(number * each)
        disk = (number or 0) * self.pixels * BYTES_PER_PIXEL
        return Work(stage, "pictures", number, operations, disk)

    def training(
        self, stage: str, settings: LoraParams, pictures: int, costs: Costs | None
    ) -> Work:
        """Plan a training; its file is in float16, what it holds meanwhile in float32.

        That is mean and deviation of each picture's latent, also of the mirrored one, and the
        checkpoint: what is trained, Adam's two moments of it, its average and the best so far.
        """
        samples = settings.train_steps * settings.batch_size
        if costs is None:
            return Work(stage, "training samples", samples)
        moments = pictures * self.latent * 2 * (2 if settings.flip else 1)
        copies = 3 + (settings.average_decay is not None) + (settings.select is not None)
        return Work(
            stage,
            "training samples",
            samples,
            operations=float(samples * costs.train + pictures * costs.encode),
            disk=float(FLOAT16 * costs.parameters),
            scratch=float(FLOAT32 * (moments + copies * costs.parameters)),
        )

    def routing(
        self, stage: str, settings: LoraParams, pictures: int, experts: Sequence[LoraParams],
        top_k: int,
    ) -> Work:  # fmt: skip
        """Plan a router's training; its file holds the experts and, in float32, the gates."""
        costs = self.routed(experts, top_k)
        work = self.training(stage, settings, pictures, costs)
        held = [one.parameters for lora in experts if (one := self.costs(lora)) is not None]
        gates = 0 if costs is None else costs.parameters
        return replace(work, disk=float(FLOAT16 * sum(held) + FLOAT32 * gates))

    def merging(self, stage: str, experts: Sequence[LoraParams]) -> Work:
        """Plan a merge, whose rank is at most the sum of its experts' ranks."""
        found = [costs.parameters for lora in experts if (costs := self.costs(lora)) is not None]
        return Work(stage, "experts", len(experts), disk=float(FLOAT32 * sum(found)))


def plan_work(root: Path, params_path: Path, params: Params) -> Iterator[Work]:
    """List every stage that draws, trains, merges, asks or scores, in the graph's order."""
    counter = Counter(root / params.backbone.path)
    pictures, loras = {}, {}
    for skill, row in params.skills.items():
        prompts = load_skill_section("prompts", PromptsParams, skill, params_path)
        yield _writing(f"prompts@{skill}", params.llm, prompts, root / row.instructions)
        settings = load_skill_section("images", TrainingImagesParams, skill, params_path)
        drawn, pictures[skill] = _pictures(params, prompts, settings)
        costs = counter.costs(params.lora)
        yield counter.drawing(f"images@{skill}", drawn, settings, costs)
        yield _correcting(f"correct@{skill}", params, pictures[skill], counter)
        yield plan_pairs(f"pairs@{skill}", params, prompts.per_skill, settings, counter)
    for skill in params.skills:
        loras[skill] = load_expert(skill, params_path)
        yield plan_training(f"lora@{skill}", params, loras[skill], pictures[skill], counter)
    for name, mixture in params.mixtures.items():
        known, lora = sum(pictures[s] for s in mixture.skills), load_mixture(name, params_path)
        yield plan_training(f"mixture@{name}", params, lora, known, counter)
    for name, router in params.routers.items():
        known, lora = sum(pictures[s] for s in router.skills), load_router(name, params_path)
        experts = [loras[skill] for skill in router.skills]
        yield counter.routing(f"router@{name}", lora, known, experts, router.top_k)
    for name, merge in params.merges.items():
        yield counter.merging(f"merge@{name}", [loras[skill] for skill in merge.weights])
    for name, fit in params.fits.items():
        own = {skill: loras[skill] for skill in fit.experts}
        known = sum(pictures[skill] for skill in own)
        yield plan_fit(f"fit@{name}", fit, own, known, counter, params_path)
    for name, row in params.distillations.items():
        experts = [loras[skill] for skill in row.experts]
        yield plan_distillation(f"distil@{name}", row, experts, counter, params_path)
    for name, search in params.searches.items():
        yield _searching(f"search@{name}", search, root, params, params_path, counter)
    yield from _evaluating(root, params, counter, loras)


def _searching(
    stage: str, search: SearchParams, root: Path, params: Params, params_path: Path,
    counter: Counter,
) -> Work:  # fmt: skip
    """Plan a search: each of its evaluations draws the dev split's prompts and has them judged."""
    samples = laid_over("samples", SamplesParams, search.samples, params_path)
    rows, number = _rows(root, search.benchmark, "data/dev"), None
    if rows is not None:
        number = search.evaluations * samples.per_prompt * len(rows)
    drawing = counter.drawing(stage, number, samples, counter.costs(params.lora))
    disk = counter.merging(stage, [params.lora] * len(search.skills)).disk
    scratch = drawing.disk / search.evaluations  # of one evaluation, which is then removed
    asked = AnswersParams(judge=search.judge, benchmark=search.benchmark, template=search.template)
    each = search.evaluations * samples.per_prompt
    paid = _asking(stage, params, asked, rows, each).paid
    return replace(drawing, disk=disk, scratch=scratch, paid=paid)


def _evaluating(
    root: Path, params: Params, counter: Counter, loras: Mapping[str, LoraParams]
) -> Iterator[Work]:
    benchmarks = {name: _rows(root, name) for name in params.benchmarks}
    each = params.samples.per_prompt

    def drawn(benchmark: str) -> int | None:
        rows = benchmarks[benchmark]
        return None if rows is None else each * len(rows)

    for model, row in params.models.items():
        costs, times = counter.costs(params.lora), 1.0
        router = params.routers.get(Path(row.weights).stem)
        if isinstance(row, CompositeParams):
            times = len(row.experts)
        elif router and Path(row.weights).parent.as_posix() == "models/routers":
            costs = counter.routed([loras[skill] for skill in router.skills], router.top_k)
        # forward and back by the prompts alone; how often latents are refined is not foreseen
        extra = 1 if params.samples.guidance_scale > 1 else 2
        times += extra * getattr(getattr(row, "sampler", None), "steps_share", 0.0)
        for name in benchmarks:
            stage = f"samples@{model}-{name}"
            yield counter.drawing(stage, drawn(name), params.samples, costs, times)
        for name, answers in params.answers.items():
            rows = benchmarks[answers.benchmark]
            yield _asking(f"answers@{name}-{model}", params, answers, rows, each)
        for name, preference in params.preferences.items():
            number = drawn(preference.benchmark)
            disk = float(BYTES_PER_ROW * (number or 0))
            yield Work(f"preferences@{name}-{model}", "pictures scored", number, disk=disk)


def _writing(stage: str, llm: LlmParams, prompts: PromptsParams, instructions: Path) -> Work:
    """Plan the writing of prompts."""
    requests, paid = -(-prompts.per_skill // prompts.per_request), None
    requests = 0 if llm.backend == "replay" else requests
    if llm.backend not in FREE:
        from selma.prompts.asking import foreseen_tokens
        from selma.prompts.skills import read_skill

        sizes = prompts.model_dump(include={"per_skill", "per_request", "examples_per_request"})
        as_json = llm.reply_format == "json_schema"
        tokens = foreseen_tokens(read_skill(instructions), **sizes, json=as_json)
        price = find_price(llm.model, llm.base_url, llm.price)
        paid = Paid(llm.model, requests, *tokens, price=price)
    disk = float(BYTES_PER_ROW * prompts.per_skill)
    return Work(stage, "LLM requests", requests, disk=disk, paid=paid)


def _pictures(params: Params, prompts: PromptsParams, images: ImagesParams) -> tuple[int, int]:
    """How many pictures are drawn and, at most, trained on; a user's pairs count as the prompts."""
    source = params.sources[params.images.source]
    captions = getattr(source, "per_skill", prompts.per_skill)
    if getattr(source, "pictures", None) == "truth":
        return 0, captions
    if best_of := getattr(source, "best_of", None):
        return captions * best_of.candidates, captions
    return (captions * images.per_prompt,) * 2


def _correcting(stage: str, params: Params, pictures: int, counter: Counter) -> Work:
    """Plan corrections: each prompt is read, and for each picture one layout asked for.

    What the editor computes is not counted. Without rounds nothing is asked, and the pictures stay.
    """
    llm, paid = params.llm, None
    if params.correct.rounds == 0:
        return Work(stage, "pictures", pictures, operations=0.0)
    if llm.backend not in FREE:
        from selma.correction.requests import instructions

        asked = sum(len(instructions(step)) for step in ("parse", "correct"))
        tokens = tokens_of(pictures * asked), tokens_of(pictures * 2 * CHARACTERS_OF_A_REPLY)
        price = find_price(llm.model, llm.base_url, llm.price)
        paid = Paid(llm.model, 2 * pictures, *tokens, price=price)
    return Work(stage, "pictures", pictures, disk=pictures * counter.pixels * BYTES_PER_PIXEL,
                paid=paid)  # fmt: skip


def _asking(
    stage: str, params: Params, answers: AnswersParams, rows: Sequence[dict[str, Any]] | None,
    each: int,
) -> Work:  # fmt: skip
    """Plan a judge's answers, `each` to a question; a hosted one gets one request for each."""
    if rows is None:
        return Work(stage, "questions", None)
    judge = params.judges[answers.judge]
    questions = [question for row in rows for question in row["questions"]]
    number = each * len(questions)
    paid = None
    if judge.kind == "endpoint":
        from selma.core.choices import choose
        from selma.judges.protocol import Question
        from selma.judges.templates import TEMPLATES

        write = choose("judge template", answers.template, TEMPLATES)
        asked = sum(len(write(Question(q["question"], tuple(q["choices"])))) for q in questions)
        said = sum(max(CHARACTERS_PER_TOKEN, len(q["answer"])) for q in questions)
        tokens, model = (tokens_of(each * asked), tokens_of(each * said)), judge.model or ""
        paid = Paid(model, number, *tokens, pictures=number, price=find_price(model, None, None))
    return Work(stage, "questions", number, disk=float(BYTES_PER_ROW * number), paid=paid)


def _rows(
    root: Path, benchmark: str, folder: str = "data/benchmarks"
) -> list[dict[str, Any]] | None:
    """A benchmark's prompts with their questions; None if it is not there yet."""
    from selma.core.tables import read_table

    path = root / folder / f"{benchmark}.parquet"
    return read_table(path, "benchmark") if path.exists() else None


def stages_to_run(root: Path) -> set[str]:
    """Ask DVC which stages have changed, and add all that follow from them."""
    import networkx
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        changed = set(repo.status())
        graph = repo.index.graph  # from a stage to what it needs
        after: set[Any] = set()
        for stage in graph:
            if stage.addressing in changed:
                after |= {stage, *networkx.ancestors(graph, stage)}
    return {stage.addressing for stage in after}
