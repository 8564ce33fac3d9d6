"""A storm of kernel events: a few rescans, the last one after its end, nothing piled up, and nobody kept waiting."""

import asyncio
import socket
import tracemalloc
from dataclasses import dataclass

from qatdp.daemon.debounce import LONGEST_DELAY_S, RescanSchedule
from qatdp.daemon.events import follow
from qatdp.host.uevents import PORTION

EVENTS, EACH_S = 100_000, 1e-4
OVERRUNS = frozenset(range(PORTION, EVENTS, 701))
MEMORY_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Device:
    subsystem: str


class Storm:
    """A monitor that is readable until all has been taken; between the events the socket has been overrun."""

    def __init__(self, last: str) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._theirs.send(b"!")
        self._last = last
        self.polls = 0

    def fileno(self) -> int:
        return self._ours.fileno()

    def poll(self, timeout: float | None = None) -> Device | None:
        assert timeout == 0
        if self.polls == EVENTS:
            self._ours.setblocking(False)
            self._ours.recv(1)
            return None
        self.polls += 1
        if self.polls in OVERRUNS:
            raise OSError("no buffer space available")
        return Device(self._last if self.polls == EVENTS else "block")

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


@dataclass(slots=True)
class Scans:
    """What a scan does with hints, on the storm's own clock: an event takes 0.1 ms."""

    storm: Storm
    schedule: RescanSchedule = RescanSchedule()
    done: int = 0

    def hint(self) -> None:
        self.schedule = self.schedule.event(self.now_s)
        if self.schedule.due_s is not None and self.schedule.due_s <= self.now_s:
            self.schedule, self.done = self.schedule.scanned(), self.done + 1

    @property
    def now_s(self) -> float:
        return self.storm.polls * EACH_S


async def test_a_storm_of_100000_events_is_a_few_rescans_and_keeps_nobody_waiting() -> None:
    storm = Storm(last="pci")
    scans = Scans(storm)
    follows = asyncio.create_task(follow(storm, scans.hint))
    turns = 0
    tracemalloc.start()
    while storm.polls < EVENTS:
        turns += 1
        await asyncio.sleep(0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await asyncio.sleep(0)
    follows.cancel()
    await asyncio.gather(follows, return_exceptions=True)
    storm.close()
    assert scans.schedule.due_s is not None, "what came last is scanned for"
    assert 0 < scans.done <= EVENTS * EACH_S / LONGEST_DELAY_S
    assert turns >= EVENTS // PORTION, "others had their turn between any two portions"
    assert peak < MEMORY_BYTES
