"""How the pocket LLMs answer: seeded by the request, in the styles and words of real ones."""

import hashlib
import random
from collections.abc import Sequence

from selma.core.choices import choose
from selma.core.errors import ConfigError
from selma.core.seeds import derive_seed


def check_version(model: str, revision: str, known_model: str, known: str, option: str) -> None:
    """Refuse another pocket LLM than the one that is here.

    Raises:
        ConfigError: another model or revision is asked for; `option` names what asked.
    """
    choose("pocket LLM", model, {known_model: None})
    if revision != known:
        raise ConfigError(f"{option}: the pocket LLM here is revision {known!r}, got {revision!r}")


def rng_of(request: str, seed: int) -> random.Random:
    return random.Random(derive_seed(seed, hashlib.sha256(request.encode()).hexdigest()))


def draw_style(styles: Sequence[str], rng: random.Random) -> str:
    """Draw how the items of a list are written, a format of number and text; the first is usual."""
    return rng.choices(styles, weights=(12, 3, 2, 1, 1))[0]


def add_talk(
    lines: list[str], openings: Sequence[str], closings: Sequence[str], rng: random.Random
) -> str:
    """Join the lines of a reply, now and then with words before and after them."""
    before = [rng.choice(openings) + "\n"] if rng.random() < 0.3 else []
    after = ["\n" + rng.choice(closings)] if rng.random() < 0.2 else []
    return "\n".join(before + lines + after)
