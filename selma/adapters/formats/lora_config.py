"""peft's `LoraConfig` of one component: ranks and alphas of its layers, read and written."""

import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from selma.adapters.factors import Adapter
from selma.adapters.formats.refused import check_options
from selma.core.errors import AdapterMismatchError

TEXT_MODEL = "text_model."  # transformers 4 has it in front of a text encoder's layers, 5 does not


@dataclass(frozen=True)
class LoraConfig:
    """The options as stored; empty where a file says nothing."""

    options: Mapping[str, Any] = field(default_factory=dict)

    def check(self, where: str) -> None:
        """Refuse, with `where` in front, options that ask for more than ΔW = scale · B A."""
        check_options(self.options, where)

    @property
    def says_alpha(self) -> bool:
        """Whether there is an alpha, so that none is assumed."""
        return "lora_alpha" in self.options

    def scale(self, module: str, rank: int, stored: "float | None") -> float:
        """Compute a layer's alpha ÷ rank, or alpha ÷ √rank with rsLoRA.

        Alpha is the stored one, the first pattern's that fits the name, the file's own, or, if it
        says nothing, the rank. AdapterMismatchError if what stands there is no number.
        """
        alpha = self._alpha(module, rank) if stored is None else stored
        return alpha / (math.sqrt(rank) if self.options.get("use_rslora") else rank)

    def _alpha(self, module: str, rank: int) -> float:
        patterns = self.options.get("alpha_pattern") or {}
        if not isinstance(patterns, dict):
            raise AdapterMismatchError(
                f"metadata alpha_pattern is {patterns!r}; expected an object"
            )
        alpha = self.options.get("lora_alpha", rank)
        names = {module, module.removeprefix(TEXT_MODEL)}
        for pattern, own in patterns.items():
            try:  # as peft looks a pattern up
                fits = any(re.match(rf"(.*\.)?({pattern})$", name) for name in names)
            except re.error as error:
                raise AdapterMismatchError(
                    f"metadata alpha_pattern: {pattern!r} is no pattern"
                ) from error
            if fits:
                alpha = own
                break
        number = isinstance(alpha, int | float) and not isinstance(alpha, bool)
        if not number or not abs(alpha) <= sys.float_info.max:  # nor is NaN
            raise AdapterMismatchError(f"metadata alpha is {alpha!r}; expected a finite number")
        return float(alpha)


def usual_rank(ranks: Iterable[int]) -> int:
    """Find the rank of most layers, the larger of two that are equally frequent."""
    counted = Counter(ranks)
    return max(counted, key=lambda rank: (counted[rank], rank))


def config_of(adapter: Adapter) -> dict[str, Any]:
    """Make the options of one component's layers, named without it; alpha = rank in each.

    A text encoder's layers are named so that they fit with `TEXT_MODEL` in front and without.
    """
    ranks = {name.removeprefix(TEXT_MODEL): one.rank for name, one in sorted(adapter.items())}
    usual = usual_rank(ranks.values())
    others = {f"^{name}": rank for name, rank in ranks.items() if rank != usual}
    if any(name.startswith(TEXT_MODEL) for name in adapter):
        others = {pattern.removeprefix("^"): rank for pattern, rank in others.items()}
    return {
        "r": usual,
        "lora_alpha": usual,
        "rank_pattern": others,
        "alpha_pattern": others,
        "target_modules": list(ranks),
    }
