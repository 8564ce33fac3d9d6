"""Uevents are hints: one that matters means a rescan, a storm means one as well, and none is waited for."""

import contextlib
import itertools
import os
import select
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from qatdp.host.uevents import PORTION, drain, listen


@dataclass(frozen=True, slots=True)
class Device:
    subsystem: str | None


class FakeMonitor:
    """Gives events by their subsystems, then none; an OSError is raised in its turn, and the socket is asked for it."""

    def __init__(self, events: Iterable[str | OSError | None], of: socket.socket | None = None) -> None:
        self._events = iter(events)
        self._socket = of
        self.polls = 0

    def fileno(self) -> int:
        assert self._socket is not None
        return self._socket.fileno()

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


@contextlib.contextmanager
def with_error() -> Iterator[socket.socket]:
    """Yield a socket that has an error on it: nobody listens where it has sent something."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as refused, socket.socket(socket.AF_INET) as nobody:
        nobody.bind(("127.0.0.1", 0))
        refused.connect(nobody.getsockname())
        refused.send(b"?")
        yield refused


def test_an_overrun_is_a_hint_as_well() -> None:
    with socket.socket() as fine:
        monitor = FakeMonitor(["block", OSError("error while polling"), "block"], fine)
        assert drain(monitor)
        assert not drain(monitor)


def test_a_monitor_that_is_of_no_use_any_more_raises() -> None:
    with with_error() as broken, pytest.raises(OSError, match="refused"):
        drain(FakeMonitor([OSError("error while polling")], broken))


def test_after_a_real_overrun_the_socket_is_silent_again_and_tells_of_the_next_event() -> None:
    trigger = Path("/sys/class/mem/null/uevent")
    try:
        monitor = listen()
        trigger.write_text("change")
    except OSError as error:
        pytest.skip(f"no uevents can be made here: {error}")
    with socket.socket(fileno=os.dup(monitor.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        for _ in range(100):
            trigger.write_text("change")
        assert drain(monitor)
        while select.select([same], [], [], 0)[0]:
            drain(monitor)
        trigger.write_text("change")
        assert select.select([same], [], [], 1)[0]


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
