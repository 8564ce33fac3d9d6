"""Bounds on what one call may ask: what a kubelet sends lies within them, whatever the pool."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.bounds import MOST_CONTAINERS, SPARE_IDS, check_bounds, first_of, most_ids
from qatdp.core.pools.pools import PoolDevice, ResourcePool
from qatdp.core.reasons import Reason
from qatdp.errors import RequestError


def a_pool(count: int) -> ResourcePool:
    return ResourcePool("qat.intel.com/cy", tuple(PoolDevice(PciAddress(0, n, 0, 1)) for n in range(count)))


@given(st.integers(0, 200), st.integers(0, SPARE_IDS))
def test_check_bounds_passes_what_a_kubelet_sends(count: int, older: int) -> None:
    pool = a_pool(count)
    check_bounds(pool, 1, (count + older // 2 + count + older // 2,))  # its list can be older than the pool
    check_bounds(pool, 0, ())


def test_check_bounds_refuses_too_much_by_its_code() -> None:
    with pytest.raises(RequestError) as many:
        check_bounds(a_pool(1), MOST_CONTAINERS + 1, ())
    with pytest.raises(RequestError) as large:
        check_bounds(a_pool(1), 2, (most_ids(a_pool(1)), 1))
    for refused in (many.value, large.value):
        assert (refused.grpc_code, refused.reason) == ("INVALID_ARGUMENT", Reason.TOO_LARGE)


NAMES = st.lists(st.sampled_from("abcdefgh"), max_size=20)


@given(NAMES, NAMES, st.integers(-3, 30), st.integers(0, 30))
def test_first_of_is_legal_and_bounded(must: list[str], available: list[str], size: int, most: int) -> None:
    answer = first_of(must, available, size, most)
    assert len(set(answer)) == len(answer) <= max(0, min(size, most))
    assert set(answer) <= {*must, *available}
    if len(must) <= min(size, most):
        assert set(must) <= set(answer)
