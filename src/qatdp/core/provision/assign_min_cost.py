"""Which PF goes to which part: the cheapest way to meet all quotas, parts in the order of their importance.

A flow of least cost, one PF after the other by the shortest augmenting path. Parts are few and PFs many, so the search
goes over parts: a PF comes into a part, and puts one of its PFs into another, until there is room.
"""

from collections.abc import Sequence
from typing import TypeAlias

Costs: TypeAlias = Sequence[int | None]  # of one PF in each part; None where it cannot be

NOWHERE = -1


def assign(costs: Sequence[Costs], room: Sequence[int]) -> tuple[int, ...]:
    """Return the part of each PF, NOWHERE for none, by the least sum of costs; being nowhere costs nothing."""
    parts = len(room)
    where: list[int] = []
    for pf in range(len(costs)):
        where.append(NOWHERE)
        path = _cheapest(costs, where, room, pf)
        for moved, part in path:
            where[moved] = part
    assert all(where.count(part) <= room[part] for part in range(parts))
    return tuple(where)


def _cheapest(costs: Sequence[Costs], where: Sequence[int], room: Sequence[int], new: int) -> list[tuple[int, int]]:
    """Return the moves, as pairs of a PF and its new part, by which a new PF is added at the least cost."""
    best: dict[int, tuple[int, list[tuple[int, int]]]] = {NOWHERE: (0, [])}
    for part, cost in enumerate(costs[new]):
        if cost is not None and room[part]:
            best[part] = (cost, [(new, part)])
    for _ in room:  # Bellman-Ford: no path is longer than there are parts
        for pf, part in enumerate(where):
            if part == NOWHERE or part not in best:
                continue
            cost, path = best[part]
            stays = costs[pf][part] or 0
            for other, price in [*enumerate(costs[pf]), (NOWHERE, 0)]:
                if price is None or other == part or (other != NOWHERE and not room[other]):
                    continue
                if other not in best or cost - stays + price < best[other][0]:
                    best[other] = (cost - stays + price, [*path, (pf, other)])
    ends = [part for part in best if part == NOWHERE or where.count(part) < room[part]]
    return best[min(ends, key=lambda part: (best[part][0], part))][1]
