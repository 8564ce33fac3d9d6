"""prefer never fails a pod, and picks what its policy says: as well as trying every choice would."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from itertools import combinations
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import SLOTS

from qatdp.core.config.model import Policy, ResourceOptions
from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.allocation import prefer
from qatdp.core.pools.pools import PoolDevice, ResourcePool
from qatdp.core.reasons import Defect, Reason, defect

Cost: TypeAlias = tuple[int, int]
Request: TypeAlias = tuple[ResourcePool, list[str], list[str], int]
POLICIES = st.sampled_from(Policy)
STRANGERS = ["0000:99:00.1", "0000:99:00.2", "nonsense", "", "0000:6B:00.1"]
GONE = defect(Reason.NOT_PRESENT)


def device(pf: int, function: int, numa_node: int | None = 0, vf_defect: Defect | None = None) -> PoolDevice:
    at = SLOTS[pf]
    address = PciAddress(at.domain, at.bus, 0, function)
    return PoolDevice(address, pf=at, numa_node=numa_node, nodes=("/dev/vfio/1",), vf_defect=vf_defect)


def a_pool(policy: Policy, *devices: PoolDevice) -> ResourcePool:
    return ResourcePool("qat.intel.com/cy", devices, ResourceOptions(policy=policy))


def ids(devices: Collection[PoolDevice]) -> list[str]:
    return [str(one.address) for one in devices]


@st.composite
def pools(draw: st.DrawFn) -> ResourcePool:
    """Up to eight healthy devices of up to four PFs."""
    nodes = draw(st.lists(st.sampled_from((0, 1, None)), min_size=4, max_size=4))
    places = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 7)), max_size=8, unique=True))
    return a_pool(draw(POLICIES), *(device(pf, function, nodes[pf]) for pf, function in sorted(places)))


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A pool and what a kubelet asks of it: available, must_include among it, and a size that can be met."""
    pool = draw(pools())
    available = draw(st.lists(st.sampled_from(ids(pool.devices)), unique=True)) if pool.devices else []
    must = available[: draw(st.integers(0, 2))]
    size = draw(st.integers(len(must), len(available)))
    return pool, available, must, size


class Choice:
    """A choice of devices, and what each policy wants least of."""

    def __init__(self, pool: ResourcePool, available: Collection[str], chosen: Collection[str]) -> None:
        self.chosen = [one for one in pool.devices if str(one.address) in chosen]
        self.left = [one for one in pool.devices if str(one.address) in set(available) - set(chosen)]
        self.used = [one for one in pool.devices if one not in self.left]

    def spread(self) -> Cost:
        """Return how many NUMA nodes, then how many PFs the container touches."""
        return len({one.numa_node for one in self.chosen}), len({one.pf for one in self.chosen})

    def broken(self) -> Cost:
        """Return how many PFs still have something free."""
        return len({one.pf for one in self.left}), 0

    def load(self) -> Cost:
        """Return the sum of squares of how many of each PF are in use."""
        return sum(n * n for n in Counter(one.pf for one in self.used).values()), 0


COSTS: Mapping[Policy, Callable[[Choice], Cost]] = {
    Policy.LOCAL: Choice.spread,
    Policy.PACKED: Choice.broken,
    Policy.BALANCED: Choice.load,
}


@settings(max_examples=5 * settings().max_examples)
@given(requests())
def test_no_choice_is_better_than_the_preferred_one(request_: Request) -> None:
    pool, available, must, size = request_
    cost = COSTS[pool.options.policy]
    rest = [text for text in available if text not in must]
    least = min(cost(Choice(pool, available, {*must, *more})) for more in combinations(rest, size - len(must)))
    assert cost(Choice(pool, available, prefer(pool, available, must, size))) == least


@given(requests(), st.data())
def test_the_order_of_what_is_asked_changes_nothing(request_: Request, data: st.DataObject) -> None:
    pool, available, must, size = request_
    shuffled = data.draw(st.permutations(available)), data.draw(st.permutations(must))
    assert prefer(pool, *shuffled, size) == prefer(pool, available, must, size)


@given(pools(), st.data(), st.integers(-2, 12))
def test_any_question_is_answered_with_as_many_ids_as_there_are(
    pool: ResourcePool, data: st.DataObject, size: int
) -> None:
    some = st.lists(st.sampled_from([*ids(pool.devices), *STRANGERS]), max_size=12)
    available, must = data.draw(some), data.draw(some)
    answer = prefer(pool, available, must, size)
    assert len(answer) == len(set(answer)) == max(len(set(must)), min(size, len({*available, *must})))
    assert set(must) <= set(answer) <= {*available, *must}


@given(pools(), st.lists(st.text(max_size=3)), st.lists(st.text(max_size=3)), st.integers())
def test_no_question_raises(pool: ResourcePool, available: list[str], must: list[str], size: int) -> None:
    prefer(pool, available, must, size)


@pytest.mark.parametrize("policy", Policy)
def test_a_device_that_is_to_leave_is_the_last_of_the_healthy_ones(policy: Policy) -> None:
    sick, leaving, staying = device(0, 1, vf_defect=GONE), device(0, 2), device(1, 1)
    pool = a_pool(policy, sick, replace(leaving, cordoned=True), staying)
    everything = ids(pool.devices)
    assert prefer(pool, everything, [], 1) == (everything[2],)
    assert set(prefer(pool, everything, [], 2)) == set(everything[1:])
    assert len(prefer(pool, everything, [], 3)) == 3


def test_devices_alike_are_preferred_in_the_order_of_addresses() -> None:
    assert prefer(a_pool(Policy.LOCAL), ["10000:01:00.0", "f000:01:00.0", "x"], [], 2) == (
        "f000:01:00.0",
        "10000:01:00.0",
    )


def test_two_texts_of_one_address_are_in_one_order() -> None:
    upper, lower = "0000:6B:00.1", "0000:6b:00.1"
    pool = a_pool(Policy.LOCAL)
    assert prefer(pool, [upper, lower], [], 1) == prefer(pool, [lower, upper], [], 1) == (upper,)
    assert prefer(pool, [], [lower, upper], 1) == (upper, lower)


def test_large_pfs_are_taken_before_small_ones_where_none_has_enough() -> None:
    small, large = [device(0, n) for n in (1, 2)], [device(pf, n) for pf in (1, 2) for n in (1, 2, 3)]
    pool = a_pool(Policy.LOCAL, *small, *large)
    assert prefer(pool, ids(pool.devices), [], 6) == tuple(ids(large))


def test_of_numa_nodes_alike_the_lowest_is_taken_whatever_the_addresses() -> None:
    far, near = device(0, 1, numa_node=1), device(1, 1, numa_node=0)
    pool = a_pool(Policy.LOCAL, far, near)
    assert prefer(pool, ids(pool.devices), [], 1) == tuple(ids([near]))


def test_what_must_be_there_comes_first_in_the_order_of_addresses() -> None:
    must = ["10000:01:00.1", "2000:01:00.1"]
    assert prefer(a_pool(Policy.LOCAL), [], must, 2) == tuple(reversed(must))


@pytest.mark.parametrize("policy", Policy)
def test_what_is_not_known_is_taken_where_nothing_else_is_left(policy: Policy) -> None:
    nowhere = replace(device(2, 1), numa_node=None)
    stray = replace(device(3, 1), numa_node=None, pf=None)
    known, strangers = [device(0, 1, 1), device(1, 1, 0), nowhere, stray], STRANGERS[:3]
    available = [*ids(known), *strangers]
    assert set(prefer(a_pool(policy, *known), available, [], len(available))) == set(available)
    assert len(prefer(a_pool(policy, *known), available, [], 5)) == 5


def test_what_is_not_known_is_of_a_numa_node_of_its_own_below_all_others() -> None:
    pool = a_pool(Policy.LOCAL, device(0, 1, 1), device(1, 1, 0))
    available = [*ids(pool.devices), *STRANGERS[:2]]
    assert set(prefer(pool, available, [], 3)) == {*STRANGERS[:2], str(pool.devices[1].address)}


def test_a_numa_node_that_is_not_known_is_none_of_those_that_are() -> None:
    unknown, near = device(2, 1, None), device(0, 1, 1)
    far = [device(1, 1, 2), device(3, 1, 2)]
    assert prefer(a_pool(Policy.LOCAL, near, unknown, *far), ids([near, unknown, *far]), [], 2) == tuple(ids(far))


def test_no_more_pfs_are_begun_than_are_needed() -> None:
    two_small = [device(pf, function, 0) for pf in (0, 1) for function in (1, 2)]
    pool = a_pool(Policy.LOCAL, *two_small, *(device(2, function, 1) for function in (1, 2, 3)))
    assert prefer(pool, ids(pool.devices), [], 2) == tuple(ids(two_small[:2]))


def test_balance_counts_what_the_request_has_and_what_it_is_given() -> None:
    pool = a_pool(Policy.BALANCED, *(device(pf, function) for pf in (0, 1) for function in range(1, 6)))
    first, second = ids(pool.devices[:5]), ids(pool.devices[5:])
    assert prefer(pool, [*first, *second], first[:1], 2) == (first[0], second[0])
    others_have_two = [*first[:3], *second]
    assert prefer(pool, others_have_two, [], 3) == (second[0], second[1], first[0])


@pytest.mark.parametrize("policy", Policy)
def test_healthy_devices_go_before_others(policy: Policy) -> None:
    pool = a_pool(
        policy,
        device(0, 1, vf_defect=GONE),
        device(0, 2, vf_defect=GONE),
        device(1, 1),
    )
    everything = ids(pool.devices)
    assert prefer(pool, everything, [], 1) == (everything[2],)
    assert prefer(pool, everything, everything[:1], 2) == (everything[0], everything[2])
    assert len(prefer(pool, everything, [], 2)) == 2


A = [device(0, n, numa_node=0) for n in (1, 2, 3)]
B = [device(1, 1, numa_node=0)]
C = [device(2, n, numa_node=1) for n in (1, 2)]
D = [device(3, n, numa_node=0) for n in (1, 2)]
A1, A2, A3, B1, C1, C2, D1, D2 = ids([*A, *B, *C, *D])


@pytest.mark.parametrize(
    ("policy", "available", "must", "size", "answer"),
    [
        # One PF that has enough; of several on a NUMA node the one that leaves least over.
        (Policy.LOCAL, [A1, A2, B1, C1], [], 2, (A1, A2)),
        (Policy.LOCAL, [A1, A2, A3, B1], [], 1, (B1,)),
        (Policy.LOCAL, [A1, B1, C1, C2], [], 2, (C1, C2)),
        (Policy.LOCAL, [A1, A2, A3, B1, C1], [], 4, (A1, A2, A3, B1)),
        (Policy.LOCAL, [A1, A2, A3, B1, D1, D2], [], 4, (A1, A2, A3, B1)),
        (Policy.LOCAL, [A1, A2, A3, B1, D1, D2], [], 5, (A1, A2, A3, D1, D2)),
        # What must be included decides where the rest is.
        (Policy.LOCAL, [A1, A2, B1, C1, C2], [B1], 2, (B1, A1)),
        (Policy.LOCAL, [A1, A2, B1, C1, C2], [C2], 2, (C2, C1)),
        (Policy.PACKED, [A1, A2, A3, B1, C1, C2], [], 1, (B1,)),
        (Policy.PACKED, [A1, A2, A3, C1, C2], [], 3, (C1, C2, A1)),
        # A3 is in use by others, so each other PF comes first.
        (Policy.BALANCED, [A1, A2, B1, C1, C2], [], 3, (B1, C1, A1)),
        (Policy.BALANCED, [A1, A2, A3, B1, C1, C2], [B1], 3, (B1, A1, C1)),
    ],
)
def test_policies_by_example(
    policy: Policy, available: list[str], must: list[str], size: int, answer: tuple[str, ...]
) -> None:
    pool = a_pool(policy, *A, *B, *C, *(D if D1 in available else []))
    assert prefer(pool, available, must, size) == answer
