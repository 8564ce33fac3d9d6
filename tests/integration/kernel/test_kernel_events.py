"""The kernel's own events: what tells of VFs, whoever listens where, and what becomes of more than a socket holds."""

import asyncio
import os
import select
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from ground import pfs

from qatdp.daemon.debounce import QUIET_PERIOD_S, RescanSchedule
from qatdp.daemon.events import follow
from qatdp.host.calls.choose import host_calls
from qatdp.host.scanner import SysfsScanner
from qatdp.host.uevents import RECEIVE_BUFFER_BYTES, Monitor, drain, listen

OTHERS = Path("/sys/class/mem/null/uevent")  # of no interest to qatdp
# The first is more than the socket holds, which a test checks.
STORM, LESSER_STORM, SOURCES = 14_000, 4_000, 2
MEMORY_BYTES = 256 << 10

# Prints its network namespace, then whether there was a hint.
LISTENER = """
import os, select
from qatdp.host.uevents import drain, listen
monitor, hint = listen(), False
print(os.readlink("/proc/self/ns/net"), flush=True)
while not hint and select.select([monitor], [], [], 20)[0]:
    hint = drain(monitor)
print(hint)
"""

# One process's part of a storm.
SOURCE = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_WRONLY)
for _ in range(int(sys.argv[2])):
    os.pwrite(descriptor, b"change", 0)
"""


@pytest.fixture
def monitor() -> Monitor:
    return listen()


def readable(monitor: Monitor) -> bool:
    return bool(select.select([monitor], [], [], 0)[0])


def hinted(monitor: Monitor) -> bool:
    """Take all that has come; tell whether any of it was a hint. The kernel has sent it by the time a write is done."""
    hints = []
    while readable(monitor):
        hints.append(drain(monitor))
    return any(hints)


def test_whatever_becomes_of_vfs_is_a_hint(bare: list[str], monitor: Monitor) -> None:
    pf = bare[0]
    hinted(monitor)
    pfs.bring_up(pf)
    assert hinted(monitor)
    vf = pfs.vf_addresses(pf)[0]
    pfs.give(vf, "vfio-pci")
    assert hinted(monitor)
    pfs.unbind(vf)
    assert hinted(monitor)
    pfs.bring_down(pf)
    assert hinted(monitor)
    pfs.remove(pf)
    assert hinted(monitor)
    pfs.rescan()
    assert hinted(monitor)


def test_what_becomes_of_others_is_none(monitor: Monitor) -> None:
    hinted(monitor)
    OTHERS.write_text("change")
    assert readable(monitor)
    assert not hinted(monitor)


def test_a_listener_in_a_network_of_its_own_is_told_as_well(bare: list[str]) -> None:
    """As a pod is that does not share the host's."""
    command = ("unshare", "--net", sys.executable, "-P", "-c", LISTENER)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout
        assert listener.stdout.readline().strip() not in ("", os.readlink("/proc/self/ns/net"))
        pfs.bring_up(bare[0])
        assert listener.stdout.read().strip() == "True"


@dataclass(frozen=True, slots=True)
class Held:
    """What a socket's buffer holds, and what it did not take, by /proc/net/netlink."""

    bytes: int
    drops: int


def held(monitor: Monitor) -> Held:
    inode = str(os.fstat(monitor.fileno()).st_ino)
    lines = (line.split() for line in Path("/proc/net/netlink").read_text().splitlines())
    (ours,) = (words for words in lines if words[-1] == inode)
    return Held(bytes=int(ours[4]), drops=int(ours[8]))


def start_storm(of: Path, events: int) -> Sequence[subprocess.Popen[bytes]]:
    command = (sys.executable, "-P", "-c", SOURCE, of, str(events // SOURCES))
    return [subprocess.Popen(command) for _ in range(SOURCES)]


@contextmanager
def bounded_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY_BYTES


async def follow_while(monitor: Monitor, goes_on: Callable[[], bool]) -> tuple[Sequence[float], int]:
    """Follow events as the daemon does, to their end; return when hints came, and how many turns others had."""
    hints: list[float] = []
    follows, turns = asyncio.create_task(follow(monitor, lambda: hints.append(time.monotonic()))), 0
    while goes_on() or readable(monitor):
        turns += 1
        assert len(hints) <= STORM, "more hints than events: it is readable for ever"
        await asyncio.sleep(0)
    follows.cancel()
    await asyncio.gather(follows, return_exceptions=True)
    return hints, turns


async def test_a_storm_that_nobody_takes_is_one_hint_by_which_all_is_found_that_was_lost(
    services: dict[str, str], monitor: Monitor
) -> None:
    vf = pfs.vf_addresses(min(services))[0]
    for source in start_storm(OTHERS, STORM):
        assert source.wait() == 0
    before = held(monitor)
    pfs.give(vf, "vfio-pci")
    after = held(monitor)
    assert after.drops > before.drops > 0 and after.bytes == before.bytes, "the VF's own events were lost"
    assert after.bytes < 2.5 * RECEIVE_BUFFER_BYTES  # the kernel doubles what is asked for
    with bounded_memory():
        hints, _ = await follow_while(monitor, lambda: False)
    assert len(hints) == 1
    scanned = {
        str(one.address): one.driver for one in SysfsScanner(Path("/sys"), Path("/dev"), host_calls()).scan().vfs
    }
    assert scanned[vf] == "vfio-pci"


async def test_a_storm_of_our_own_events_is_a_rescan_now_and_then_and_one_at_its_end(
    services: dict[str, str], monitor: Monitor
) -> None:
    pf, begin = min(services), time.monotonic()
    sources = start_storm(pfs.DEVICES / pf / "uevent", LESSER_STORM)
    with bounded_memory():
        hints, turns = await follow_while(monitor, lambda: any(source.poll() is None for source in sources))
    assert [source.returncode for source in sources] == [0] * SOURCES
    assert turns > len(hints) > 1
    assert scans(hints) <= (hints[-1] - begin) / QUIET_PERIOD_S + 1
    pfs.bring_down(pf)
    last, _ = await follow_while(monitor, lambda: False)
    pfs.configure({pf: services[pf]})
    assert last, "what came last is scanned for"


def scans(hints: Sequence[float]) -> int:
    """Return how many rescans come of hints at these times."""
    schedule, done = RescanSchedule(), 0
    for now_s in hints:
        if schedule.due_s is not None and schedule.due_s <= now_s:
            schedule, done = schedule.scanned(), done + 1
        schedule = schedule.event(now_s)
    return done + 1
