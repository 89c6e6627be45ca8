"""What `dvc exp run -S` makes of params.yaml, found out before anything runs."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selma.core.errors import ConfigError, one_line
from selma.runtime.yaml_files import read_yaml

PARAMS = "params.yaml"


def apply_settings(params: bytes, settings: Sequence[str], path: Path) -> None:
    """Write params with settings laid over them to `path`, by DVC's own function.

    Raises:
        ConfigError: a setting is no setting, names a key that is not there (also by ${…}), or is a
            sweep.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    path.write_bytes(params)
    try:
        for setting in settings:
            if len(get_hydra_sweeps({PARAMS: [setting]})) != 1:
                raise ConfigError(f"setting {setting!r}: several values; make them variants")
        apply_overrides(path, list(settings))
    except (DvcException, HydraException, OmegaConfBaseException) as error:
        reason = one_line(error.__cause__ or error)
        raise ConfigError(f"a setting is wrong: {reason}") from error


def params_with(params: bytes, settings: Sequence[str]) -> dict[str, Any]:
    """Return params with settings laid over them; raises as `apply_settings`."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / PARAMS
        apply_settings(params, settings, path)
        return dict(read_yaml(path))
