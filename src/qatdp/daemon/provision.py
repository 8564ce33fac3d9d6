"""Provision: makes the node what the configuration says, once. Composes the scan, the kubelet's state, the plan, the
writers, and a second scan that tells whether it is so.
"""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from qatdp.core.config.model import Config
from qatdp.core.config.spec import spec_for_node
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import Snapshot
from qatdp.core.provision.in_use import Evidence, in_use, named
from qatdp.core.provision.outcome import PfResult, Status, verified
from qatdp.core.provision.planner import PfPlan, Plan, plan
from qatdp.core.reasons import Defect, Reason, defect
from qatdp.daemon.kubelet_state import KubeletState
from qatdp.errors import KubeletStateError, QatdpError
from qatdp.host.calls.abc import HostCalls
from qatdp.host.enabled import enable_of, is_open
from qatdp.host.pf.apply import configure
from qatdp.host.pf.context import PfContext
from qatdp.host.pf.locks import NODE_LOCK, Lock, LockedError
from qatdp.host.scanner import SysfsScanner, check_listed
from qatdp.host.thread import Worker

SCAN_S = 60.0


@dataclass(frozen=True, slots=True)
class Report:
    """What was planned, on which node, and what became of each PF; the latter in the plan's order."""

    snapshot: Snapshot  # as it was before
    plan: Plan
    outcomes: tuple[PfResult, ...]

    @property
    def as_wished(self) -> bool:
        bad = {Status.BUSY, Status.FAILED}
        return not self.plan.unmet and not any(outcome.status in bad for outcome in self.outcomes)


@dataclass(frozen=True, slots=True)
class Kubelet:
    """Where its state is: the device-plugins folder (where there is none, no kubelet ever ran), and PodResources."""

    plugins: Path
    pod_resources: Path


class Provision:
    """One run. `node` is this node's name, None where it is not known; raises ConfigError where it has to be."""

    def __init__(self, config: Config, node: str | None, calls: HostCalls, site: PfContext, kubelet: Kubelet) -> None:
        self._config, self._calls, self._site = config, calls, site
        self._spec = spec_for_node(config.provision, node)
        self._kubelet = KubeletState(kubelet.plugins, kubelet.pod_resources)
        self._worker = Worker("scan")

    async def look(self) -> Report:
        """Return what would be done; nothing is changed."""
        snapshot, found = await self._plan()
        return Report(snapshot, found, tuple(map(_unchanged, found.pfs)))

    async def run(self) -> Report:
        """Do it, unless somebody else configures this node: then each PF that is not as desired says who does."""
        before = await self.look()
        if not any(one.steps or one.later for one in before.plan.pfs):
            return before
        try:
            lock = Lock(self._site.locks, NODE_LOCK, self._site.who)
        except LockedError as error:
            held = tuple(_locked(outcome, defect(Reason.PF_LOCKED, problem=error)) for outcome in before.outcomes)
            return replace(before, outcomes=held)
        try:
            return await self._write()
        finally:
            lock.close()

    async def _write(self) -> Report:
        """Plan once more, now that nobody else writes, and carry it out."""
        before = await self.look()
        written = await configure([one for one in before.plan.pfs if one.steps], self._site)
        _, after = await self._plan()
        found = {outcome.pf: outcome for outcome in verified(written, after)}
        return replace(before, outcomes=tuple(found.get(outcome.pf, outcome) for outcome in before.outcomes))

    async def _plan(self) -> tuple[Snapshot, Plan]:
        snapshot, enabled = await self._scan()
        evidence = await self._evidence(enabled)
        return snapshot, plan(snapshot, self._config, self._spec, in_use(snapshot, evidence))

    async def _scan(self) -> tuple[Snapshot, frozenset[PciAddress]]:
        scanner = SysfsScanner(self._site.sysfs, self._site.dev, self._calls)

        def scan() -> tuple[Snapshot, frozenset[PciAddress]]:
            snapshot = scanner.scan()
            return snapshot, frozenset(vf.address for vf in snapshot.vfs if self._is_enabled(vf.address))

        try:
            snapshot, enabled = await asyncio.wait_for(self._worker.do(scan), SCAN_S)
        except TimeoutError as error:
            raise QatdpError(f"{self._site.sysfs} gave no answer within {SCAN_S:g} s") from error
        check_listed(snapshot, self._site.sysfs)  # else all would seem to be as desired
        return snapshot, enabled

    def _is_enabled(self, vf: PciAddress) -> bool:
        try:
            return is_open(self._calls.read(enable_of(self._site.sysfs / "bus/pci/devices", vf)))
        except OSError:
            return True  # not known to be free

    # The kubelet's state

    async def _evidence(self, enabled: frozenset[PciAddress]) -> Evidence:
        try:
            claims = await self._kubelet.claims()
        except KubeletStateError as error:
            return Evidence({}, enabled, str(error))
        return Evidence(named(*claims) if claims else {}, enabled)


def _unchanged(one: PfPlan) -> PfResult:
    if one.steps:
        return PfResult(one.address, Status.PLANNED, steps=one.steps)
    if one.later:
        return PfResult(one.address, Status.BUSY, one.why)
    return PfResult(one.address, Status.UNCHANGED if one.goal else Status.SKIPPED, one.why)


def _locked(outcome: PfResult, who: Defect) -> PfResult:
    if outcome.status is Status.PLANNED:
        return PfResult(outcome.pf, Status.BUSY, who)
    return replace(outcome, also=who) if outcome.status is Status.BUSY else outcome
