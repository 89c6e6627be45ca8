"""What corrections came to, as numbers: verdicts, operations, pass rates, what an LLM took."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from selma.correction.loop import VERDICTS
from selma.correction.plan import KINDS


def summarise(corrections: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Count a corrections table.

    `pass_before` and `pass_after` are shares of the `judged` pictures, those whose prompts have a
    rule, by the corrector's own detector; they are missing where there are none. `operations` are
    those that made the results; of `edits`, all that were tried, `done` were seen carried out.
    """
    verdicts = Counter(row["verdict"] for row in corrections)
    ruled = [row for row in corrections if row["passes_before"] is not None]
    shares = {
        f"pass_{when}": sum(row[f"passes_{when}"] or 0 for row in ruled) / len(ruled)
        for when in ("before", "after")
        if ruled
    }
    return {
        "pictures": len(corrections),
        "kept": sum(row["kept"] is not None for row in corrections),
        "changed": sum(row["sha256_after"] not in ("", row["sha256_before"])
                       for row in corrections),
        "verdicts": {verdict: verdicts[verdict] for verdict in VERDICTS},
        "failures": verdicts["failed"],
        "operations": {kind: sum(row[kind] for row in corrections) for kind in KINDS},
        "edits": _edits(corrections),
        "judged": len(ruled),
        **shares,
        "llm_calls": sum(row["llm_requests"] for row in corrections),
        "llm_refused": sum(row["llm_refused"] for row in corrections),
    }  # fmt: skip


def _edits(corrections: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Sum over all rounds how many operations of a kind were asked for, and seen done."""
    sums = {kind: {"asked": 0, "done": 0} for kind in ("preserve", *KINDS)}
    for row in corrections:
        rounds = json.loads(row["trace"])["rounds"] if row["trace"] else []
        for kind, found in ((k, f) for one in rounds for k, f in one["edit"].items()):
            for name in sums[kind]:
                sums[kind][name] += found[name]
    return sums
