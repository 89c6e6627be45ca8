import pytest
from lora_factors import random_factors

from selma.merging.merge import Settings


def settings_of(weights, **changes):
    plain = {
        "method": "delta_mean", "scale": 1.0, "rank": None, "error_max": None, "match_norm": False,
        "parameters": {}, "dtype": "float32", "seed": 0,
    }  # fmt: skip
    return Settings(weights=weights, **{**plain, **changes})


@pytest.fixture
def factors():
    return random_factors


@pytest.fixture
def settings():
    return settings_of
