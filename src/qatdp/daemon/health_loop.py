"""PfHealth: gathers evidence of each PF, from the tick and from probes, and tells the node the verdict."""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from qatdp.core.health.evidence import CounterSample, ProbeSample, of_pulse, of_reading, warnings
from qatdp.core.health.verdict import HOLD_S, Condition, Evidence, Health, Signal, judge, verdict
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import PhysicalFunction
from qatdp.core.reasons import Defect, Reason, defect
from qatdp.daemon.state import DeviceState
from qatdp.host.calls.abc import HostCalls
from qatdp.host.calls.watchdog import WatchdogCalls
from qatdp.host.probe import DEADLINE_S, Prober, ProbeTimeout, wait_awake

log = logging.getLogger(__name__)

BACK = Evidence(Signal.ANSWERED, "a read that was overdue has come back")
PROBED = Evidence(Signal.PROBED, "a probe has come back")


@dataclass(frozen=True, slots=True)
class HealthTiming:
    """Seconds. `probe_s`: between two probes of a PF, at least; the heartbeat must not be read more than once a second.

    `deadline_s`: what a probe may take. `first_s`: how long a list waits for the first probes of PFs that are new
    here. `hold_s`: how long a PF that was sick has to be quiet.

    A heartbeat that blocks is seen after probe_s + deadline_s at the latest.
    """

    probe_s: float = 1.0
    deadline_s: float = DEADLINE_S
    first_s: float = 0.25
    hold_s: float = HOLD_S


class PfHealth:
    """Of each PF: the verdict, and what it was read to be last."""

    def __init__(
        self,
        sysfs: Path,
        calls: HostCalls,
        bulk: WatchdogCalls,
        node: DeviceState,
        pace: HealthTiming = HealthTiming(),
        *,
        heartbeat: bool = True,
    ) -> None:
        self.health: dict[PciAddress, Health] = {}
        self.readings: Mapping[PciAddress, CounterSample] = {}
        self.pulses: dict[PciAddress, ProbeSample] = {}
        self._node, self._pace, self._bulk = node, pace, bulk
        self._prober = Prober(sysfs, calls, heartbeat=heartbeat, deadline_s=pace.deadline_s)
        self._under_way: dict[PciAddress, asyncio.Task[None]] = {}
        self._expected: set[PciAddress] = set()  # whose first probe has not come back
        self._hung_probes: dict[PciAddress, Evidence] = {}  # to a probe
        self._hung_reads: Mapping[PciAddress, Evidence] = {}  # to a scan or a tick
        self._unseen: dict[PciAddress, Mapping[str, str]] = {}  # as it was told

    # From the tick

    def read(self, readings: Mapping[PciAddress, CounterSample]) -> None:
        """Take what the tick has read, of all PFs at once."""
        before, self.readings = self.readings, readings
        left, self._hung_reads = self._hung_reads, self._left_behind()
        back = left.keys() - self._hung_reads.keys()
        for pf, reading in readings.items():
            for text in warnings(before.get(pf), reading):
                log.warning("PF counted errors pf=%s counter=%r", pf, text)
                self._node.history.add("ErrorsCounted", devices=(pf,), message=text)
            self._take(pf, [*([BACK] if pf in back else []), *of_reading(before.get(pf), reading)])
            self._tell_unseen(pf)
        # Not of all that were judged: one that is new here is probed before it is read.
        for pf in (self.health.keys() & before.keys()) - readings.keys():
            self._take(pf, [Evidence(Signal.DOWN, "is not there")])
            if self.health[pf].condition is Condition.DOWN:
                del self.health[pf]
        self._conclude()

    def _left_behind(self) -> Mapping[PciAddress, Evidence]:
        """Return which PFs a scan or a tick goes on without, and why."""
        return {pf: _hung(path, self._bulk.patience.single_s) for pf, path in self._bulk.overdue.items()}

    # From probes

    async def run(self) -> None:
        """Probe each PF over and over, none for longer than its deadline."""
        try:
            while True:
                self.expect(self._node.snapshot.pfs)
                await asyncio.sleep(self._pace.probe_s)
        finally:
            self.close()

    def close(self) -> None:
        for task in self._under_way.values():
            task.cancel()
        self._under_way.clear()

    def expect(self, pfs: Iterable[PhysicalFunction]) -> Collection[asyncio.Task[None]]:
        """Begin to probe PFs that are not probed yet, and trust none of them before it has answered. Return the probes.

        One on another driver is its user's: its configuration space is not read either, which would wake it up.
        """
        new = [pf for pf in pfs if pf.on_own_driver and not self._is_probed(pf.address)]
        first = {pf.address: asyncio.create_task(self._probe(pf), name=f"first probe {pf.address}") for pf in new}
        for at, probe in first.items():
            self._expected.add(at)
            self._under_way[at] = asyncio.create_task(self._probe_on(at, probe), name=f"probe {at}")
        if first:
            self._conclude()
        return first.values()

    async def first_answers(self, pfs: Iterable[PhysicalFunction]) -> None:
        """Wait a moment for the first answers of PFs that are not probed yet, which are probed side by side."""
        await wait_awake(self.expect(pfs), self._pace.first_s)

    def _is_probed(self, pf: PciAddress) -> bool:
        task = self._under_way.get(pf)
        return task is not None and not task.done()

    async def _probe_on(self, at: PciAddress, first: asyncio.Task[None]) -> None:
        """Probe a PF for as long as it is there: what hangs is seen after a pause and a deadline at the latest."""
        await wait_awake((first,), self._pace.first_s)
        if not first.done():
            why = f"its first probe has not come back within {self._pace.first_s:g} s"
            self._take(at, [Evidence(Signal.UNPROBED, why)])
            self._conclude()
            await first
        await asyncio.sleep(self._pace.probe_s)
        while (pf := self._node.snapshot.pf(at)) and pf.on_own_driver:
            await self._probe(pf)
            await asyncio.sleep(self._pace.probe_s)
        self.pulses.pop(at, None)

    async def _probe(self, pf: PhysicalFunction) -> None:
        found = await self._prober.probe(pf)
        at = pf.address
        self._expected.discard(at)
        if isinstance(found, ProbeTimeout):
            self._hung_probes.setdefault(at, _hung(found.path, self._pace.deadline_s))
            self._take(at, ())
        else:
            self._hung_probes.pop(at, None)
            before, self.pulses[at] = self.pulses.get(at), found.pulse
            self._take(at, [PROBED, *([BACK] if found.late else []), *of_pulse(before, found.pulse)])
            self._tell_unseen(at)
        self._conclude()

    # What comes of it

    def _take(self, pf: PciAddress, evidence: Iterable[Evidence]) -> None:
        hung = [overdue[pf] for overdue in (self._hung_probes, self._hung_reads) if pf in overdue]
        before = self.health.get(pf, Health())
        after = judge(before, [*evidence, *hung], time.monotonic(), self._pace.hold_s)
        self.health[pf] = after
        if after.condition is not before.condition:
            level = logging.INFO if after.condition is Condition.HEALTHY else logging.WARNING
            log.log(
                level,
                "PF condition pf=%s is=%s was=%s evidence=%r",
                pf,
                after.condition,
                before.condition,
                after.reason,
            )
            self._node.history.add(str(after.condition), devices=(pf,), message=after.reason)

    def _conclude(self) -> None:
        sick = {pf: _why(pf, health) for pf, health in self.health.items() if not health.trusted}
        expected = {
            pf: defect(Reason.PF_UNPROBED, evidence="has yet to answer its first probe").of_pf(pf)
            for pf in self._expected
        }
        self._node.judged({**expected, **sick})

    def unseen(self, pf: PciAddress) -> Mapping[str, str]:
        """Return which signals of a PF's health cannot be seen, and why."""
        pulse, reading = self.pulses.get(pf), self.readings.get(pf)
        return {**((pulse.unseen if pulse else None) or {}), **(reading.unseen if reading else {})}

    def counters(self, pf: PciAddress) -> Mapping[str, int]:
        pulse, reading = self.pulses.get(pf), self.readings.get(pf)
        beats = {"heartbeat_failed": pulse.failed[1]} if pulse and pulse.failed else {}
        return {**(reading.counters if reading else {}), **beats}

    def _tell_unseen(self, pf: PciAddress) -> None:
        now, before = self.unseen(pf), self._unseen.get(pf, {})
        for signal, reason in now.items():
            if before.get(signal) != reason:
                log.warning("PF health signal unavailable pf=%s signal=%s reason=%r", pf, signal, reason)
        self._unseen[pf] = now


def _hung(path: Path | None, deadline_s: float) -> Evidence:
    return Evidence(Signal.HUNG, f"{path or 'a read'} has not come back within {deadline_s:g} s")


def _why(pf: PciAddress, health: Health) -> Defect:
    return verdict(health).of_pf(pf)
