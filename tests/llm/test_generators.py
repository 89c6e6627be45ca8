"""Backends by name."""

import subprocess
import sys

import pytest

from selma.core.errors import ConfigError
from selma.llm.generators import make_generator


def test_an_unknown_backend_lists_those_there_are():
    with pytest.raises(ConfigError, match="openai, pocket"):
        make_generator("opnai", model="m", revision="1", temperature=1.0)


def test_choosing_the_pocket_llm_loads_no_heavy_package():
    code = (
        "import sys; from selma.llm.generators import make_generator; import selma.prompts.writing;"
        "make_generator('pocket', model='pocket-grammar', revision='1', temperature=1.0);"
        "print(sorted({'torch', 'openai', 'diffusers', 'pandas'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
