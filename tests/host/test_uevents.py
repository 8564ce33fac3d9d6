"""Uevents are hints: one that matters means a rescan, a storm means one as well, and none is waited for."""

import errno
import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from qatdp.host.uevents import PORTION, drain, listen


@dataclass(frozen=True, slots=True)
class Device:
    subsystem: str | None


class FakeMonitor:
    """Gives events by their subsystems, then none; an OSError is raised in its turn."""

    def __init__(self, events: Iterable[str | OSError | None]) -> None:
        self._events = iter(events)
        self.polls = 0

    def poll(self, timeout: float | None = None) -> Device | None:
        assert timeout == 0, "drain must not wait"
        self.polls += 1
        for event in self._events:
            if isinstance(event, OSError):
                raise event
            return Device(event)
        return None


@pytest.mark.parametrize("subsystem", ["pci", "vfio", "vfio-dev", "drivers", "module"])
def test_events_of_pci_vfio_and_drivers_matter(subsystem: str) -> None:
    assert drain(FakeMonitor([subsystem]))


@pytest.mark.parametrize("events", [[], ["block"], ["net", "usb", None, "iommu"]])
def test_others_and_none_do_not(events: list[str | None]) -> None:
    assert not drain(FakeMonitor(events))


@pytest.mark.parametrize("events", [["pci", "block"], ["block", "pci"], ["block", "pci", "block"]])
def test_one_that_matters_among_others_is_seen(events: list[str]) -> None:
    assert drain(FakeMonitor(events))


def test_all_that_has_come_is_taken() -> None:
    monitor = FakeMonitor(["pci"] * 10)
    assert drain(monitor)
    assert not drain(monitor)


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.EIO])
def test_an_overrun_is_a_hint_as_well(number: int) -> None:
    monitor = FakeMonitor(["block", OSError(number, os.strerror(number)), "block"])
    assert drain(monitor)
    assert not drain(monitor)


def test_a_storm_is_taken_in_portions() -> None:
    monitor = FakeMonitor(itertools.repeat("block"))
    assert not drain(monitor)
    assert monitor.polls == PORTION


def test_the_kernels_own_events_can_be_listened_to() -> None:
    try:
        monitor = listen()
    except OSError as error:
        pytest.skip(f"no uevents here: {error}")
    assert monitor.fileno() >= 0
    assert drain(monitor) in (True, False)
