import pytest
from lora_factors import random_factors


@pytest.fixture
def factors():
    return random_factors
