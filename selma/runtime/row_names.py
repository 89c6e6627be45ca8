"""Whether the names in params.yaml stand for rows of it."""

import itertools
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selma.runtime.whole import Params


def unknown_names(params: "Params") -> Iterator[str]:
    """Tell each name that has no row, or rows in two sections whose files would be the same."""

    def missing(key: str, names: Collection[str], section: str) -> Iterator[str]:
        known = getattr(params, section)
        for name in sorted(set(names) - set(known)):
            yield f"{key} names {name!r}, not in {section}; known: {', '.join(known) or 'none'}"

    for name, merge in params.merges.items():
        yield from missing(f"merges.{name}.weights", merge.weights, "skills")
    for name, mixture in params.mixtures.items():
        yield from missing(f"mixtures.{name}.skills", mixture.skills, "skills")
    for name, router in params.routers.items():
        yield from missing(f"routers.{name}.skills", router.skills, "skills")
    for name, fit in params.fits.items():
        key = "weights" if fit.kind == "regmean" else "skills"
        yield from missing(f"fits.{name}.{key}", getattr(fit, key), "skills")
    for name, row in params.distillations.items():
        key = "weights" if row.kind == "composite" else "skills"
        yield from missing(f"distillations.{name}.{key}", row.experts, "skills")
    for name, search in params.searches.items():
        yield from missing(f"searches.{name}.skills", search.skills, "skills")
        yield from missing(f"searches.{name}.judge", [search.judge], "judges")
    yield from missing("images.source", [params.images.source], "sources")
    for name, source in params.sources.items():
        best_of = getattr(source, "best_of", None)
        if best_of is not None:
            yield from missing(f"sources.{name}.best_of", best_of.raters, "raters")
    yield from missing("lora.objective", [params.lora.objective], "objectives")
    for name, objective in params.objectives.items():
        yield from missing(f"objectives.{name}", objective.raters, "raters")
    for name, rater in params.raters.items():
        judges = [rater.judge] if hasattr(rater, "judge") else []
        yield from missing(f"raters.{name}.judge", judges, "judges")
    for name, answers in params.answers.items():
        yield from missing(f"answers.{name}.judge", [answers.judge], "judges")
        yield from missing(f"answers.{name}.benchmark", [answers.benchmark], "benchmarks")
    for name, measure in params.measures.items():
        yield from missing(f"measures.{name}.answers", [measure.answers], "answers")
    for name, preference in params.preferences.items():
        yield from missing(f"preferences.{name}.benchmark", [preference.benchmark], "benchmarks")
    yield from missing("compare.subject", [params.compare.subject], "models")
    yield from missing("compare.reference", [params.compare.reference], "models")
    yield from missing("compare.against", params.compare.against, "models")
    yield from missing("compare.trained_against", params.compare.trained_against, "models")
    for name, measures in params.compare.trained_against.items():
        asked = set(measures) - set(params.preferences)
        yield from missing(f"compare.trained_against.{name}", asked, "measures")
    shown = {params.report.measure} - set(params.preferences)
    yield from missing("report.measure", shown, "measures")
    kinds = ("skills", "mixtures", "routers", "fits", "distillations")
    for one, other in (("measures", "preferences"), *itertools.combinations(kinds, 2)):
        for name in sorted(set(getattr(params, one)) & set(getattr(params, other))):
            yield f"{name!r} is a row of {one} and of {other}; rename one"
