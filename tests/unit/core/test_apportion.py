"""Shares become whole numbers of PFs that add up to what was asked for; counts are met as far as there are PFs."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qatdp.core.config.spec import Partition
from qatdp.core.model.pci import PciAddress
from qatdp.core.provision.apportion import Quota, largest_remainder, quotas

ALL = tuple(PciAddress(0, bus, 0, 0) for bus in range(5))
SOME = ALL[:3]

numbers = st.lists(st.fractions(0, 8, max_denominator=100), max_size=5)


def part(*, percent: int | None = None, count: int | None = None) -> Partition:
    return Partition(None, percent=percent, count=count)


@given(numbers)
def test_what_is_rounded_adds_up_to_the_rounded_sum_and_none_by_more_than_one(exact: list[Fraction]) -> None:
    whole = largest_remainder(exact)
    assert len(whole) == len(exact)
    assert sum(whole) == int(sum(exact) + Fraction(1, 2))
    assert all(abs(number - one) < 1 for number, one in zip(whole, exact, strict=True))


@given(numbers)
def test_none_is_rounded_up_before_one_that_has_more_to_be_rounded(exact: list[Fraction]) -> None:
    whole = largest_remainder(exact)
    up = [one - int(one) for number, one in zip(whole, exact, strict=True) if number > int(one)]
    down = [one - int(one) for number, one in zip(whole, exact, strict=True) if number == int(one)]
    assert min(up, default=Fraction(1)) >= max(down, default=Fraction(0))


@pytest.mark.parametrize(
    ("exact", "whole"),
    [
        ([Fraction(1, 2), Fraction(1, 2)], (1, 0)),  # the earlier one
        ([Fraction(1, 2)], (1,)),
        ([Fraction(5, 4), Fraction(7, 4)], (1, 2)),
        ([Fraction(1, 3)] * 3, (1, 0, 0)),
        ([], ()),
    ],
)
def test_the_greatest_remainder_is_rounded_up(exact: list[Fraction], whole: tuple[int, ...]) -> None:
    assert largest_remainder(exact) == whole


def test_a_share_is_of_the_pfs_that_the_part_selects() -> None:
    assert quotas([part(percent=40)], [ALL]) == (Quota(2, 2),)
    assert quotas([part(percent=50)], [ALL]) == (Quota(3, 3, Fraction(5, 2)),)
    assert quotas([part(percent=0)], [ALL]) == quotas([part(percent=0)], [ALL * 20]) == (Quota(0, 0),)
    assert quotas([part(percent=30)], [()]) == (Quota(0, 0),)


def test_parts_that_share_the_same_pfs_are_rounded_together_and_others_alone() -> None:
    half = part(percent=50)
    assert [one.pfs for one in quotas([half, half], [ALL, ALL])] == [3, 2]
    assert [one.pfs for one in quotas([half, half], [ALL, SOME])] == [3, 2]
    assert [one.pfs for one in quotas([half, half], [SOME, ALL[1:4]])] == [2, 2]
    assert [one.pfs for one in quotas([half, part(), half], [SOME, ALL, SOME])] == [2, 5, 1]


def test_a_count_is_met_as_far_as_there_are_pfs() -> None:
    assert quotas([part(count=2)], [ALL]) == (Quota(2, 2),)
    assert quotas([part(count=9)], [ALL]) == (Quota(5, 9),)
    assert quotas([part(count=0)], [ALL]) == (Quota(0, 0),)


def test_a_part_that_says_neither_takes_all_that_is_left_and_asks_for_nothing() -> None:
    assert quotas([part()], [ALL]) == (Quota(5, 0),)
