"""Where a node cannot be quite what the spec says, a line tells what and why, and of PFs that it does not mean none."""

from fractions import Fraction

import pytest
from support.strategies import SLOTS, a_pf

from qatdp.core.config.spec import Partition
from qatdp.core.model.qat import Service
from qatdp.core.provision.apportion import Quota
from qatdp.core.provision.warnings import UNCHOSEN, named_in_vain, none_can, rounded, too_few
from qatdp.core.reasons import Reason, defect

DC, THREE = frozenset({Service.DC}), frozenset({Service.DC, Service.SYM, Service.ASYM})
PFS = [a_pf(str(slot)) for slot in SLOTS[:3]]
ALL = [pf.address for pf in PFS]
OF_NODE_0 = " of NUMA node 0"


@pytest.mark.parametrize(
    ("exact", "told"),
    [
        (Fraction(3, 2), "1.5"),
        (Fraction(4, 3), "1.33"),
        (Fraction(5, 3), "1.67"),
        (Fraction(999, 100), "9.99"),
        (Fraction(2001, 1000), "2"),
    ],
)
def test_a_share_that_was_rounded_is_told_with_what_it_is(exact: Fraction, told: str) -> None:
    quota = [Quota(2, 2), Quota(1, 1, exact)]
    assert list(rounded(quota, [ALL, ALL], "")) == [f"split[1]: its share of 3 PFs is {told}: made 1"]
    assert list(rounded(quota[1:], [ALL[:2]], OF_NODE_0)) == [
        f"split[0]: its share of 2 PFs of NUMA node 0 is {told}: made 1"
    ]


def test_a_part_that_gets_less_than_it_asks_for_is_told() -> None:
    here = Partition(DC, numa_nodes=frozenset({0}))
    assert list(too_few([here], PFS, [Quota(0, 1)], [0], OF_NODE_0)) == [
        "split[0]: 1 PFs of NUMA node 0 are to be dc, but 0 can be"
    ]
    parts, quota = [Partition(DC), Partition(None)], [Quota(2, 3), Quota(1, 1)]
    assert list(too_few(parts, PFS, quota, [2, 1], "")) == ["split[0]: 3 PFs are to be dc, but 2 can be"]
    assert list(too_few(parts, PFS, quota, [3, 0], OF_NODE_0)) == [
        "split[1]: 1 PFs of NUMA node 0 are to be generic, but 0 can be"
    ]
    assert list(too_few(parts, PFS, quota, [3, 1], "")) == []


def test_a_share_of_which_no_pf_can_be_anything_is_told_with_the_reason() -> None:
    three, some = Partition(THREE, percent=50), Partition(DC, percent=50)
    nobody = Partition(DC, percent=50, families=frozenset({"6xxx"}))
    assert list(none_can([some, three], PFS, [ALL, []], "")) == [
        "split[1]: no PF can be asym-sym-dc: 4xxx takes 2 services at most"
    ]
    assert list(none_can([three], PFS[:1], [[]], "")) == [
        "split[0]: no PF can be asym-sym-dc: 4xxx takes 2 services at most"
    ]
    assert list(none_can([some], PFS, [[]], "")) == [f"split[0]: no PF can be dc: {UNCHOSEN}"]
    assert list(none_can([nobody], PFS, [[]], "")) == ["split[0]: no PF can be dc: it selects none"]
    assert (
        list(none_can([Partition(DC), Partition(DC, count=1), Partition(DC, percent=0)], PFS, [[], [], []], "")) == []
    )


def test_a_part_that_means_another_numa_node_is_not_told_of_this_one() -> None:
    elsewhere = Partition(DC, percent=50, numa_nodes=frozenset({5}))
    assert list(none_can([elsewhere], PFS, [[]], OF_NODE_0)) == []
    assert list(too_few([elsewhere], PFS, [Quota(0, 1)], [0], OF_NODE_0)) == []
    assert list(none_can([elsewhere], PFS, [[]], "")) == ["split[0]: no PF can be dc: it selects none"]
    assert list(too_few([elsewhere], PFS, [Quota(0, 1)], [0], "")) == ["split[0]: 1 PFs are to be dc, but 0 can be"]


def test_a_pf_that_is_named_and_cannot_be_what_it_should_is_told_with_the_reason() -> None:
    first, second, third = ALL
    gone = SLOTS[3]
    named = Partition(DC, pfs=frozenset({third, first, second, gone}))
    assert list(
        named_in_vain([Partition(None), named], PFS, {second: defect(Reason.PF_UNREADABLE, problem="no text")})
    ) == [
        f"split[1]: {second} cannot be dc: no text",
        f"split[1]: {gone} cannot be dc: no such PF",
    ]
    many = Partition(THREE, pfs=frozenset({first}))
    assert list(named_in_vain([many], PFS, {})) == [
        f"split[0]: {first} cannot be asym-sym-dc: 4xxx takes 2 services at most"
    ]
