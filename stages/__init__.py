"""The pipeline's stages: one thin script each, run as `python -m stages.NAME`.

The instruction set is pinned here, since a stage's own imports load numpy.
"""

import sys
from pathlib import Path

from selma.core.processor import pin_unless_off

_given = dict(zip(sys.argv, sys.argv[1:], strict=False))
pin_unless_off(Path(_given.get("--params", "params.yaml")))
