"""What can block: reads that make the driver ask its firmware, or the PCI core wake a device, of one PF at a time.

Each probe opens and closes what it reads (a debugfs file that is kept open pins the driver's module) in a daemon thread
that has nothing else to do meanwhile. Past its deadline the PF is overdue and the thread is left behind: nothing waits
for it, no other probe of that PF is begun, and what it brings when it comes back is dropped, but that it has come back.

Reading the heartbeat makes the driver check the firmware, and with auto_reset on reset a PF whose firmware does not
answer (adf_heartbeat.c): the one thing in here that is more than looking. It can be switched off. debugfs may be closed
to us, locked down or not there: that is told, and is no error.
"""

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from qatdp.core.health.evidence import ProbeSample
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import PhysicalFunction
from qatdp.host.calls.abc import HostCalls
from qatdp.host.thread import Worker

T = TypeVar("T")

# Ten times what the longest wait takes that is none of a sick PF's: the PCI core keeps readers of the configuration
# space out while it resets a function, for 100 ms (pcie_flr). The heartbeat and qat/state are in memory and wait for
# nothing.
DEADLINE_S = 1.0
# A process that was not let run has not waited: its deadline is over once it was awake for that long, more or less.
SLICES = 10
VENDOR_AND_DEVICE_BYTES = 4
BLANKS = b"\0 \n\t"  # debugfs reads have a NUL behind (adf_heartbeat_dbgfs.c)


async def wait_awake(waited_for: Collection[asyncio.Future[Any]], limit_s: float) -> None:
    """Wait until all are done, or until this process was let run for about as long as the limit."""
    for _ in range(SLICES):
        if pending := [future for future in waited_for if not future.done()]:
            await asyncio.wait(pending, timeout=limit_s / SLICES)


@dataclass(frozen=True, slots=True)
class ProbeTimeout:
    """A probe that has not come back, and what it waits for."""

    path: Path | None


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe has brought; `late` tells that the one before was overdue."""

    pulse: ProbeSample
    late: bool


@dataclass(slots=True)
class _Reader:
    """The reads of one probe; `at` is the one it is on."""

    sysfs: Path
    calls: HostCalls
    heartbeat: bool
    at: Path | None = None

    def pulse(self, pf: PhysicalFunction) -> ProbeSample:
        folder = self.sysfs / "bus/pci/devices" / str(pf.address)
        unseen: dict[str, str] = {}
        config = self._try(unseen, "config", lambda: self._head(folder / "config"))
        state = self._try({}, "state", lambda: self._read(folder / "qat/state")) if pf.family.selectable else b"up"
        if pf.is_down or state != b"up":  # then it has no heartbeat
            return ProbeSample(config, state.decode("ascii", "replace") if state else None, unseen=unseen)
        if not self.heartbeat:
            return ProbeSample(config, unseen={**unseen, "heartbeat": "switched off (--no-heartbeat)"})
        debug = self.sysfs / f"kernel/debug/qat_{pf.family.pf_driver}_{pf.address}/heartbeat"
        alive, failed, sent = self._try(unseen, "heartbeat", lambda: self._beat(debug)) or (None, None, None)
        return ProbeSample(config, "up", alive, failed, unseen, sent)

    def _beat(self, folder: Path) -> tuple[bool, tuple[int, int], int | None]:
        before = int(self._read(folder / "queries_failed"))
        status = int(self._read(folder / "status"))
        # In this order, for another reader can come in between: core/health/evidence.py.
        sent = self._try({}, "sent", lambda: int(self._read(folder / "queries_sent")))
        return status == 0, (before, int(self._read(folder / "queries_failed"))), sent

    def _try(self, unseen: dict[str, str], signal: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except OSError as error:
            unseen[signal] = _why(self.at, error)
        except ValueError:
            unseen[signal] = f"{self.at.name if self.at else signal} is not a number"
        return None

    def _read(self, path: Path) -> bytes:
        self.at = path
        return self.calls.read(path).strip(BLANKS)

    def _head(self, path: Path) -> bytes:
        self.at = path
        return self.calls.read_prefix(path, VENDOR_AND_DEVICE_BYTES)


def _why(path: Path | None, error: OSError) -> str:
    name = f"{path.parent.name}/{path.name}" if path else "it"
    if path and path.parent.name == "heartbeat":
        hint = {
            errno.ENOENT: "no debugfs here, or a kernel before 6.6",
            errno.EACCES: "debugfs belongs to root",
            errno.EPERM: "the kernel is locked down",
        }.get(error.errno or 0)
        return f"{name}: {os.strerror(error.errno or 0)}{f' ({hint})' if hint else ''}"
    return f"{path.name if path else name}: {os.strerror(error.errno or 0)}"


class Prober:
    """Probes PFs, each at most once at a time. Used by one event loop."""

    def __init__(
        self, sysfs: Path, calls: HostCalls, *, heartbeat: bool = True, deadline_s: float = DEADLINE_S
    ) -> None:
        self._sysfs, self._calls, self._heartbeat, self._deadline_s = sysfs, calls, heartbeat, deadline_s
        self._generation = 0
        self._idle: list[Worker] = []  # as many as were ever needed at once: to start a thread costs more than a probe
        self._overdue: dict[PciAddress, tuple[int, _Reader]] = {}  # those that are overdue
        self._late: set[PciAddress] = set()  # whose probe was, and has come back

    async def probe(self, pf: PhysicalFunction) -> ProbeTimeout | ProbeResult:
        """Return what is found within the deadline."""
        at = pf.address
        if at in self._overdue:
            return ProbeTimeout(self._overdue[at][1].at)
        self._generation += 1
        generation, reader = self._generation, _Reader(self._sysfs, self._calls, self._heartbeat)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ProbeSample] = loop.create_future()
        worker = self._idle.pop() if self._idle else Worker("probe")

        def returned(pulse: ProbeSample) -> None:
            self._idle.append(worker)
            if self._overdue.get(at, (0, reader))[0] == generation:
                del self._overdue[at]
                self._late.add(at)
            if not future.done():
                future.set_result(pulse)

        def work() -> None:
            try:
                pulse = reader.pulse(pf)
            except Exception as error:  # noqa: BLE001 - a thread that ends without a word would fence the PF for ever
                pulse = ProbeSample(unseen={"probe": repr(error)})
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(returned, pulse)

        worker.submit(work)
        await wait_awake((future,), self._deadline_s)
        if not future.done():
            self._overdue[at] = (generation, reader)
            return ProbeTimeout(reader.at)
        late = at in self._late
        self._late.discard(at)
        return ProbeResult(future.result(), late)
