"""What can be known to be wrong with a study's variants before anything runs."""

import tempfile
from pathlib import Path

from selma.core.errors import ConfigError, SelmaError
from selma.runtime.params import load_params
from selma.runtime.whole import Params
from selma.studies.experiments import Plan
from selma.studies.git import read_file
from selma.studies.settings import PARAMS, apply_settings
from selma.studies.study_file import Study

READ_ALL_SCORES = ("compare", "report")  # stages, as targets, that need all measures


def check_variants(study: Study, plan: Plan, root: Path) -> None:
    """Check each variant's params, and that its rows are models and the measures are there.

    Raises:
        ConfigError: lists what is wrong with every variant.
    """
    params = read_file(root, plan.commit, PARAMS)
    problems = []
    for variant in study.variants:
        try:
            check_variant(study, params, variant)
        except SelmaError as error:
            problems.append(f"variant {variant}: {error}")
    if problems:
        raise ConfigError(f"study {study.name}: {'; '.join(problems)}")


def check_variant(study: Study, params: bytes, variant: str) -> None:
    """Check one variant as `check_variants`; `params` is the params.yaml that it changes."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / PARAMS
        apply_settings(params, study.settings_of(variant, study.seeds[0]), path)
        try:
            found = load_params(path)
        except SelmaError as error:
            raise ConfigError(str(error).replace(str(path), PARAMS)) from error
    models = {row.model for row in study.rows() if row.variant == variant}
    measures = {*found.measures, *found.preferences}
    _check_targets(study, found)
    for what, names, known in (("models", models, set(found.models)),
                               ("measures", set(study.measures), measures)):  # fmt: skip
        if lacking := sorted(names - known):
            raise ConfigError(
                f"{what} {', '.join(lacking)} are named, not in {PARAMS}; known: "
                f"{', '.join(sorted(known)) or 'none'}"
            )


def _check_targets(study: Study, params: Params) -> None:
    """Refuse targets that leave a measure's tables as they are committed, of other pictures."""
    run = set(study.targets)  # STAGE@ITEM makes a part of its tables
    for stage, section in (("scores", params.measures), ("preferences", params.preferences)):
        left = sorted({*study.measures} & {*section})
        if left and run and not run & {stage, *READ_ALL_SCORES}:
            raise ConfigError(
                f"targets {', '.join(study.targets)} do not make all tables of "
                f"{', '.join(left)}: add {stage}"
            )
