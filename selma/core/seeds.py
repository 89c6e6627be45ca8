"""Seeds that come from what a thing is, never from when or in which batch it is made."""

import hashlib


def derive_seed(root: int, *names: str | int) -> int:
    """Derive a seed in [0, 2**63) from a run's seed and what identifies the item.

    The same names, e.g. ``"images", skill, prompt_id, sample``, give the same seed on every
    machine, in every order, batch and restart.
    """
    text = "\x1f".join([str(root), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
