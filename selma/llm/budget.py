"""A limit of money that no number of processes, threads and failures passes."""

import math
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selma.core.errors import BudgetError
from selma.core.shared_lines import SharedLines

LEDGER = Path(".selma/llm/spent.jsonl")  # of a working copy


@dataclass(frozen=True)
class Reservation:
    """What a request under way may cost at most."""

    name: str
    usd: float


class Budget:
    """What all requests of a working copy may cost in all, over all runs.

    A file that processes share holds each request's highest cost before it is sent and what it did
    cost once that is known. A request whose process died counts in full.
    """

    def __init__(self, path: Path, limit_usd: float) -> None:
        """Name the file, which the first use begins."""
        self._path, self._limit = path, limit_usd
        self._lines = SharedLines(path)
        self._costs: dict[str, float] = {}
        self._under_way: set[str] = set()  # of this process
        self._settled = threading.Condition()

    @property
    def spent_usd(self) -> float:
        """What was spent, with what is under way at its highest cost, as far as is known here."""
        return math.fsum(self._costs.values())

    def look(self) -> float:
        """Read what was spent until now, by other processes too."""
        self._lines.update(self._take, lambda: None)
        return self.spent_usd

    def reserve(self, usd: float) -> Reservation:
        """Set money aside, waiting while other requests of this process may give some back.

        Raises:
            BudgetError: there is not enough left.
        """
        one = Reservation(uuid.uuid4().hex, usd)
        entry = {"request": one.name, "usd": usd}
        with self._settled:
            while not self._lines.update(
                self._take, lambda: entry if self.spent_usd + usd <= self._limit else None
            ):
                if not self._under_way:
                    raise BudgetError(
                        f"llm.budget_usd: ${self.spent_usd:.4f} of ${self._limit:g} are spent in "
                        f"this working copy ({self._path}), and the next request may cost "
                        f"${usd:.4f}; raise llm.budget_usd to go on from what was answered"
                    )
                self._settled.wait()
            self._under_way.add(one.name)
        return one

    def settle(self, reservation: Reservation, usd: float) -> None:
        """Put what a request did cost in the place of what was set aside."""
        entry = {"request": reservation.name, "usd": usd}
        with self._settled:
            self._lines.update(self._take, lambda: entry)
            self._under_way.discard(reservation.name)
            self._settled.notify_all()

    def _take(self, entry: dict[str, Any]) -> None:
        self._costs[entry["request"]] = entry["usd"]
