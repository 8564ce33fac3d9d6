"""Of all ways to put PFs into parts, the cheapest is found: each is tried, as there are few of a small node."""

from collections.abc import Sequence
from itertools import product

from hypothesis import example, given
from hypothesis import strategies as st

from qatdp.core.provision.assign_min_cost import NOWHERE, Costs, assign


def problems() -> st.SearchStrategy[tuple[list[Costs], list[int]]]:
    """Make the costs of up to five PFs in up to three parts, by any of which it may gain something, and their room."""

    def of(parts: int) -> st.SearchStrategy[tuple[list[Costs], list[int]]]:
        cost = st.none() | st.integers(-9, 9)
        costs = st.lists(st.lists(cost, min_size=parts, max_size=parts), max_size=5)
        return st.tuples(costs, st.lists(st.integers(0, 3), min_size=parts, max_size=parts))

    return st.integers(0, 3).flatmap(of)


def cost(costs: Sequence[Costs], room: Sequence[int], where: Sequence[int]) -> int | None:
    """Return what it costs that each PF is where it is; None where it cannot be."""
    if any(where.count(part) > room[part] for part in range(len(room))):
        return None
    each = [0 if part == NOWHERE else costs[pf][part] for pf, part in enumerate(where)]
    known = [one for one in each if one is not None]
    return sum(known) if len(known) == len(each) else None


@given(problems())
@example(([[-5, -4], [-5, -1]], [1, 1]))  # the first has to go where it is worse, for the second
@example(([[-5, 3], [-9, None]], [1, 1]))  # and here, to go nowhere
@example(([[-3], [None], [-4]], [1]))
def test_no_other_way_costs_less(problem: tuple[list[Costs], list[int]]) -> None:
    costs, room = problem
    found = cost(costs, room, assign(costs, room))
    each = (cost(costs, room, where) for where in product((NOWHERE, *range(len(room))), repeat=len(costs)))
    assert found == min(one for one in each if one is not None)


def test_of_two_ways_that_cost_the_same_the_earlier_part_is_taken() -> None:
    assert assign([[-1, -1]], [1, 1]) == (0,)
    assert assign([[0, 0]], [1, 1]) == (NOWHERE,)


def test_a_part_without_room_takes_none() -> None:
    assert assign([[-1, -2], [-3, -1]], [1, 0]) == (NOWHERE, 0)
