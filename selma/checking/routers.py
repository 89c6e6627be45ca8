"""What a router's file holds: its experts, the size of their factors and how far its gates are."""

import math
from pathlib import Path
from typing import Any


def describe_router(path: Path) -> dict[str, Any]:
    """Read a router and count what is in it.

    Returns:
        experts, top_k, layers, numbers (of all factors and gates), size (bytes), gate_norm
        (Frobenius, of all gates; 0: the uniform mean) and provenance.

    Raises:
        AdapterMismatchError, MissingDataError, RecordError: as `read_router`.
    """
    from selma.adapters.routers import read_router

    router = read_router(path)
    pairs = [pair for experts in router.layers.values() for pair in experts.values()]
    gates = list(router.gates.values())
    factors = sum(one.numel() for pair in pairs for one in pair)
    return {
        "experts": list(router.experts),
        "top_k": router.top_k,
        "layers": len(gates),
        "numbers": factors + sum(gate.numel() for gate in gates),
        "size": path.stat().st_size,
        "gate_norm": math.sqrt(math.fsum(float(gate.square().sum()) for gate in gates)),
        "provenance": dict(router.provenance),
    }
