"""Work in shards that are kept when done: it resumes there, and several processes share it."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from selma.core import team

Item = TypeVar("Item")
Result = TypeVar("Result")


def work_off(
    items: Sequence[Item],
    shard_size: int,
    *,
    kept: Callable[[int, Sequence[Item]], Result | None],
    make: Callable[[int, Sequence[Item]], Result],
    advance: Callable[[int], None],
) -> list[Result]:
    """Make each shard of items that is not kept, and return the results of all, in order.

    A shard always holds the same items, whoever makes it. With a team each process makes its own;
    the helpers then leave, and the leader looks up theirs.

    Args:
        items: in an order that does not change.
        shard_size: items of a shard.
        kept: looks up an earlier result of a shard by its number; None if there is none.
        make: makes a shard's result and keeps it.
        advance: called with the number of items of each shard.
    """
    shards = [items[start : start + shard_size] for start in range(0, len(items), shard_size)]
    results: dict[int, Result] = {}

    def settle(number: int) -> None:
        found = kept(number, shards[number])
        results[number] = make(number, shards[number]) if found is None else found
        advance(len(shards[number]))

    for number in filter(team.owns, range(len(shards))):
        settle(number)
    team.join()
    for number in range(len(shards)):
        if number not in results:
            settle(number)
    return [results[number] for number in range(len(shards))]
