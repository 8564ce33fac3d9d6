"""Ranges of addresses: short, and just what was given."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.ranges import AddressRange, as_ranges, cut, ranges

# Close to one another, so that many follow one another, also over the ends of buses and domains.
NUMBERS = st.integers(0, 40) | st.integers(0xFFF0, 0x1000F) | st.integers(0xFFFFFFF0, 0xFFFFFFFF)


def address(number: int) -> PciAddress:
    return PciAddress(number >> 16, number >> 8 & 0xFF, number >> 3 & 0x1F, number & 7)


ADDRESSES = st.lists(NUMBERS.map(address))


def addresses(*texts: str) -> list[PciAddress]:
    return list(map(PciAddress.parse, texts))


def held(one: AddressRange) -> list[PciAddress]:
    return [address(number) for number in range(one.first.number, one.last.number + 1)]


@given(ADDRESSES)
def test_ranges_hold_just_what_was_given_in_order(given_: list[PciAddress]) -> None:
    found = list(ranges(given_))
    assert [at for one in found for at in held(one)] == sorted(set(given_))
    assert all(one.count == len(held(one)) and one.first.domain == one.last.domain for one in found)


@given(ADDRESSES)
def test_ranges_are_as_few_as_can_be(given_: list[PciAddress]) -> None:
    found = list(ranges(given_))
    for one, following in pairwise(found):
        assert one.last.domain != following.first.domain or one.last.number + 1 < following.first.number


@given(ADDRESSES, st.integers(1, 5))
def test_as_ranges_counts_what_it_does_not_show(given_: list[PciAddress], most: int) -> None:
    *texts, last = as_ranges(given_, most).split(",")
    more = re.fullmatch(r"and (\d+) more", last)
    shown = texts if more else [*texts, last]
    counts = [int(found[1]) if (found := re.search(r" \((\d+)\)$", text)) else bool(text) for text in shown]
    assert len(shown) <= most
    assert sum(counts) + (int(more[1]) if more else 0) == len(set(given_))


def test_as_ranges_writes_a_pfs_vfs_and_those_that_stand_alone() -> None:
    pf = [address(0x4000 + number) for number in range(1, 17)]
    alone = addresses("0000:41:00.1", "0001:00:00.0")
    assert as_ranges([*alone, *pf]) == "0000:40:00.1-0000:40:02.0 (16),0000:41:00.1,0001:00:00.0"
    assert as_ranges(addresses("0000:40:00.1", "0000:40:00.3")) == "0000:40:00.1,0000:40:00.3"
    assert as_ranges(pf[:2]) == "0000:40:00.1-0000:40:00.2 (2)"
    assert as_ranges([]) == ""


@given(st.text(max_size=300))
def test_cut_keeps_a_short_text_and_the_head_of_a_long_one(text: str) -> None:
    assert cut(text) == text if len(text) <= 100 else cut(text).startswith(text[:100]) and len(cut(text)) < 130
