"""The history is bounded, however many VFs come and go, and tells of all that it keeps."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from qatdp.core.model.pci import PciAddress
from qatdp.daemon.history import MOST, MOST_RANGES, History


def vfs(count: int, step: int = 1) -> Sequence[PciAddress]:
    return [PciAddress(0, n * step >> 8, n * step >> 3 & 0x1F, n * step & 7) for n in range(count)]


def kept(history: History) -> int:
    """Count the addresses that are kept as texts; a range has two."""
    return sum(text.count(":") // 2 for one in history.so_far() for text in one.devices)


def test_history_of_many_flaps_keeps_few_addresses() -> None:
    history = History()
    for _ in range(60):
        for what in ("removed", "added"):
            history.add(what, resource="qat.intel.com/cy", devices=vfs(1024))
    assert len(history.so_far()) == 120
    assert kept(history) <= 240
    for _ in range(60):
        history.add("removed", devices=vfs(1024, step=2))  # nothing that could be a range
    assert kept(history) <= 2 * MOST_RANGES
    assert [one.count for one in history.so_far()] == [1024] * (MOST_RANGES // 1024)


def test_history_cuts_one_entry_of_too_many_and_counts_all() -> None:
    history = History()
    history.add("added", devices=vfs(8192, step=2))
    (one,) = history.so_far()
    assert (len(one.devices), one.count) == (MOST_RANGES, 8192)


@given(st.lists(st.integers(0, 1500), max_size=20))
def test_history_keeps_the_newest_within_its_bounds(counts: list[int]) -> None:
    history = History(iter(range(100)).__next__)
    for count in counts:
        history.add("added", devices=vfs(count, step=2))
    found = history.so_far()
    assert [one.count for one in found] == counts[len(counts) - len(found) :]
    assert sum(len(one.devices) for one in found) <= MOST_RANGES
    assert bool(found) == bool(counts)


def test_history_bounds_entries_without_addresses_too() -> None:
    history = History()
    for number in range(MOST + 5):
        history.add(str(number))
    assert [one.what for one in history.so_far()] == [str(number) for number in range(5, MOST + 5)]
