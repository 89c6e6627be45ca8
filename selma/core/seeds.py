"""Seeds that come from what a thing is, never from when or in which batch it is made."""

import hashlib


def derive_seed(root: int, *names: str | int) -> int:
    """Derive a 63-bit seed from a root seed and the identity of the item.

    The same names give the same seed on every machine, in every order, batch and restart.

    Args:
        root: the run's seed.
        names: what identifies the item, e.g. ``"images", skill, prompt_id, sample``.

    Returns:
        An integer in [0, 2**63), fit for ``torch.Generator`` and ``random.Random``.
    """
    text = "\x1f".join([str(root), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
