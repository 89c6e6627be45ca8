"""What can be known to be wrong with a search of merge settings before its first trial."""

import itertools
from collections.abc import Callable, Mapping, Sequence

from selma.core.choices import choose
from selma.core.errors import ConfigError
from selma.measuring.searching import SAMPLERS, Range, Settings
from selma.merging.merge import Settings as MergeSettings
from selma.merging.merge import check_settings

RANGES_NEEDED = {"cmaes": 2}  # it adapts a covariance; others take one


def check_search(
    where: str,
    ranges: Mapping[str, Range],
    first: Settings,
    settings_of: Callable[[Settings], MergeSettings],
    sampler: str,
) -> None:
    """See that a search has something to search, and every end of its ranges is a valid merge.

    Args:
        where: the search's key in params.yaml, for messages.
        ranges: what is searched, by name: ``weights.SKILL``, ``scale``, ``parameters.NAME``.
        first: the settings of the first trial; each end is tried in them.
        settings_of: the merge that settings stand for.
        sampler: a key of SAMPLERS.

    Raises:
        ConfigError: there is no such sampler, or it needs more ranges; one skill's weight alone is
            searched, which changes no merge, for weights are relative; a merge at an end is none.
    """
    try:
        choose("search sampler", sampler, SAMPLERS)
        _check_scale(ranges)
        check_settings(settings_of(first))
        for name, end in itertools.product(sorted(ranges), ("low", "high")):
            _check_end(name, end, settings_of({**first, name: ranges[name][end]}))
        _check_number(sorted(ranges), sampler)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _check_scale(ranges: Mapping[str, Range]) -> None:
    scale = ranges.get("scale")
    if scale is not None and scale["low"] <= 0 <= scale["high"]:
        raise ConfigError(
            f"scale: {scale['low']:g} to {scale['high']:g} contains 0, where nothing is left to "
            "merge; let it begin above 0"
        )


def _check_end(name: str, end: str, settings: MergeSettings) -> None:
    try:
        check_settings(settings)
    except ConfigError as error:
        raise ConfigError(f"{name}.{end}: {error}") from error


def _check_number(names: Sequence[str], sampler: str) -> None:
    if len(names) == 1 and names[0].startswith("weights."):
        raise ConfigError(
            f"skills: {names[0]} alone is searched, and weights are relative: every trial would be "
            "the same merge; name another skill, or search the scale"
        )
    needed = RANGES_NEEDED.get(sampler, 1)
    if len(names) < needed:
        raise ConfigError(
            f"sampler: {sampler} needs {needed} ranges, got {len(names)} ({', '.join(names)}); "
            "choose another sampler, or search more"
        )
