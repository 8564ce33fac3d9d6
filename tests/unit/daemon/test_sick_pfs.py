"""Health: sick PFs' VFs are given to nobody, healthy ones are never doubted, and why can be read."""

import asyncio
import errno
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.stage import CY, DC, Stage

from qatdp.core.health.verdict import Condition
from qatdp.core.model.pci import PciAddress
from qatdp.daemon.settings import Settings
from qatdp.host.calls.portable import PortableCalls
from qatdp.host.calls.watchdog import WatchdogTiming
from qatdp.simulator.host.bus import kernel_error
from qatdp.simulator.host.calls import PassingCalls
from qatdp.simulator.kubelet import Pod

CY_PF, DC_PF = PciAddress.parse("0000:6b:00.0"), PciAddress.parse("0000:70:00.0")
VFs: TypeAlias = tuple[tuple[PciAddress, ...], tuple[PciAddress, ...]]


@pytest.fixture
async def both(stage: Stage) -> VFs:
    return await begun(stage)


async def begun(stage: Stage) -> VFs:
    """Let the daemon offer a PF for each of two resources."""
    stage.host.add_pf(CY_PF, vfs=3)
    stage.host.add_pf(DC_PF, services="dc", vfs=3)
    await stage.start_daemon()
    cy, dc = stage.host.vfs(CY_PF), stage.host.vfs(DC_PF)
    await stage.offers(CY, cy)
    await stage.offers(DC, dc)
    return cy, dc


def reason(stage: Stage) -> str:
    return str(stage.node.pools.pools[CY].devices[0].defect or "")


Spoil: TypeAlias = Callable[[Stage], None]
SPOILT: dict[str, tuple[Spoil, Spoil, str]] = {
    "fatal": (
        lambda stage: stage.host.count_errors(CY_PF, "fatal", 1),
        lambda stage: stage.host.count_errors(CY_PF, "fatal", 0),
        "its PF 0000:6b:00.0 is fatal: errors_fatal is 1",
    ),
    "all ones": (
        lambda stage: stage.host.attribute(CY_PF, "config", b"\xff" * 4),
        lambda stage: stage.host.attribute(CY_PF, "config", b"\x86\x80\x40\x49"),
        "its PF 0000:6b:00.0 is gone: its configuration space reads all ones",
    ),
}


@pytest.mark.parametrize("what", SPOILT)
async def test_a_sick_pf_costs_its_own_vfs_and_they_come_back(stage: Stage, both: VFs, what: str) -> None:
    cy, _ = both
    spoil, mend, why = SPOILT[what]
    spoil(stage)
    await stage.lists(CY, (), cy)
    assert reason(stage) == why
    assert len(stage.kubelet.lists(DC)) == 1
    mend(stage)
    await stage.until(lambda: "has yet to be quiet" in reason(stage))
    await stage.lists(CY, cy)
    said = [one.what for one in stage.node.history.so_far() if one.devices == (str(CY_PF),)]
    assert said == ["Fatal" if what == "fatal" else "Gone", "Recovering", "Healthy"]


async def test_a_heartbeat_that_fails_twice_is_sickness_with_its_figures(stage: Stage, both: VFs) -> None:
    cy, _ = both
    stage.host.beat(CY_PF, -1)  # a collision of two readers: nothing was counted
    before = stage.daemon.health.pulses[CY_PF]
    await stage.until(lambda: stage.daemon.health.pulses[CY_PF] is not before)
    assert stage.daemon.health.health[CY_PF].trusted

    calls = _Failing(stage)
    stage.calls = calls
    stage.host.beat(CY_PF)
    await stage.restart_daemon()
    await stage.offers(CY, cy)
    calls.fails = True  # not before: what is sick at the start gets into no list
    await stage.lists(CY, (), cy)
    assert "is unresponsive: heartbeat failed twice, queries_failed 0 -> 2" in reason(stage)
    calls.fails = False
    stage.host.beat(CY_PF, 0, failed=2)
    await stage.lists(CY, cy)


class _Failing(PassingCalls):
    """The firmware of one PF answers no heartbeat: each read of its status is counted as failed."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(PortableCalls())
        self._host, self.fails, self.failed = stage.host, False, 0

    def before(self, call: str, path: Path) -> None:
        if self.fails and path.name == "status" and str(CY_PF) in path.parent.parent.name:
            self.failed += 1
            self._host.beat(CY_PF, -1, failed=self.failed)


async def test_a_reader_just_before_us_hides_no_dead_firmware(stage: Stage, both: VFs) -> None:
    cy, _ = both
    stage.calls = reader = _AnotherReader(stage)
    await stage.restart_daemon()
    await stage.offers(CY, cy)
    reader.alive = False
    await stage.lists(CY, (), cy)
    assert "is unresponsive: heartbeat failed twice, queries_failed " in reason(stage)
    reader.alive = True
    await stage.lists(CY, cy)


class _AnotherReader(PassingCalls):
    """Reads a PF's heartbeat just before each probe of ours, so that the driver refuses ours and answers -1."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(PortableCalls())
        self._host, self.alive, self._answered, self._failed = stage.host, True, 0, 0

    def before(self, call: str, path: Path) -> None:
        if path.name == "config" and path.parent.name == str(CY_PF):  # what a probe reads first
            self._answered += self.alive
            self._failed += not self.alive
            self._host.beat(CY_PF, -1, failed=self._failed, answered=self._answered)


async def test_errors_that_are_not_fatal_cost_nothing_and_are_told(
    stage: Stage, both: VFs, caplog: pytest.LogCaptureFixture
) -> None:
    stage.host.count_errors(CY_PF, "nonfatal", 2)
    stage.host.count_errors(CY_PF, "correctable", 9, aer=True)
    await stage.until(lambda: stage.daemon.health.counters(CY_PF).get("aer_correctable") == 9)
    assert "errors_nonfatal 0 -> 2" in caplog.text
    assert len(stage.kubelet.lists(CY)) == 1


async def test_without_debugfs_devices_are_offered_and_what_is_unseen_is_told(stage: Stage) -> None:
    stage.host.add_pf(CY_PF, vfs=1)
    stage.host.heartbeat(CY_PF).rename(stage.folder / "hidden")
    await stage.start_daemon()
    await stage.offers(CY, stage.host.vfs(CY_PF))
    await stage.until(lambda: bool(stage.daemon.health.unseen(CY_PF)))
    (pf,) = stage.daemon.status.report().pfs
    assert pf.healthy and pf.unavailable_signals and "no debugfs here" in pf.unavailable_signals["heartbeat"]


async def test_a_pf_that_was_sick_before_the_daemon_came_is_never_offered(stage: Stage) -> None:
    stage.host.add_pf(CY_PF, vfs=2)
    stage.host.count_errors(CY_PF, "fatal", 1)
    await stage.start_daemon()
    await stage.until(lambda: len(stage.node.pools.excluded) == 2)
    assert CY not in stage.node.pools.pools
    assert {str(why) for why in stage.node.pools.excluded.values()} == {
        "its PF 0000:6b:00.0 is fatal: errors_fatal is 1"
    }


# Faults of any read at any moment


@dataclass(frozen=True, slots=True)
class Fault:
    """Reads of what matches fail with an errno, 0 for never to return, all but the first `after` of them."""

    pattern: str
    number: int
    after: int


class Faulty(PassingCalls):
    """Calls with faults, until released."""

    def __init__(self) -> None:
        super().__init__(PortableCalls())
        self.faults: dict[str, Fault] = {}
        self.released = threading.Event()
        self._reads: Counter[str] = Counter()

    def before(self, call: str, path: Path) -> None:
        for fault in self.faults.values():
            if path.match(fault.pattern):
                self._reads[fault.pattern] += 1
                if self._reads[fault.pattern] <= fault.after or self.released.is_set():
                    continue
                if fault.number:
                    raise kernel_error(fault.number, path)
                self.released.wait()


ERRNOS = (errno.EIO, errno.ENODEV, errno.EINTR, errno.EAGAIN, errno.ENOMEM)
OF_PF = ("qat/state", "qat/cfg_services", "qat_ras/errors_fatal", "aer_dev_fatal", "aer_dev_correctable", "config")
ATTRIBUTES = (
    *(f"{CY_PF}/{name}" for name in (*OF_PF, "numa_node", "driver", "vendor")),
    *(f"0000:6b:00.1/{name}" for name in ("numa_node", "driver", "iommu_group", "vendor")),
    *(f"qat_4xxx_{CY_PF}/heartbeat/{name}" for name in ("status", "queries_failed")),
)
READ_EACH_SECOND = {*(f"{CY_PF}/{name}" for name in OF_PF), *(one for one in ATTRIBUTES if "heartbeat" in one)}


FAULTS = st.builds(Fault, st.sampled_from(ATTRIBUTES), st.sampled_from((0, *ERRNOS)), st.integers(0, 20))


@given(st.lists(FAULTS, min_size=1, max_size=3, unique_by=lambda fault: fault.pattern), st.integers(0, 3))
@settings(max_examples=settings().max_examples // 2, suppress_health_check=list(HealthCheck))
def test_faults_of_any_reads_at_any_moment_cost_no_other_device(faults: list[Fault], scans: int) -> None:
    run(lambda stage, calls: _under_faults(stage, calls, faults, scans))


async def _under_faults(stage: Stage, calls: Faulty, faults: list[Fault], scans: int) -> None:
    cy, dc = await begun(stage)
    await stage.scanned(scans)
    calls.faults = {fault.pattern: fault for fault in faults}
    (only, *more) = faults
    if not only.number and not more and only.pattern in READ_EACH_SECOND:
        await stage.lists(CY, (), cy)
        await stage.until(lambda: "has not come back within" in reason(stage))
        stage.host.count_errors(CY_PF, "correctable", 1)
    stage.host.unbind(dc[0])
    await stage.lists(DC, dc[1:], dc[:1])
    assert (await stage.kubelet.admit(Pod.of(dc=2))).admitted
    assert stage.kubelet.offered(DC) == {str(vf) for vf in dc[1:]}
    stage.host.bind(dc[0], "vfio-pci")
    await stage.lists(DC, dc)  # while the faults last
    calls.released.set()
    await stage.lists(CY, cy)
    assert stage.daemon.health.health[DC_PF].condition is Condition.HEALTHY


def run(test: Callable[[Stage, Faulty], Coroutine[object, object, None]]) -> None:
    async def on_a_stage(folder: Path) -> None:
        stage, calls = Stage(folder), Faulty()
        stage.settings = replace(
            stage.settings,
            health=replace(stage.settings.health, deadline_s=0.2),
            patience=WatchdogTiming(bulk_s=0.1, single_s=0.2),
        )
        stage.calls = calls
        await stage.kubelet.start()
        try:
            await test(stage, calls)
        finally:
            calls.released.set()
            await stage.close()

    with TemporaryDirectory(prefix="q", dir="/dev/shm") as folder:
        asyncio.run(on_a_stage(Path(folder)))


# The first answer


HANGS = Fault(f"qat_4xxx_{CY_PF}/heartbeat/status", 0, 0)


@pytest.fixture
def hanging(stage: Stage) -> Iterator[Faulty]:
    """Let reads of one PF's heartbeat hang from the beginning, and give a hung read much time to be called that."""
    pace = replace(stage.settings.health, deadline_s=60.0, first_s=0.05, hold_s=60.0)
    stage.settings = replace(stage.settings, health=pace)
    stage.calls = calls = Faulty()
    calls.faults["hangs"] = HANGS
    yield calls
    calls.released.set()


def ever_healthy(stage: Stage, resource: str) -> bool:
    return any(device.health == "Healthy" for one in stage.kubelet.lists(resource) for device in one.devices)


async def test_start_beside_a_hanging_pf_lists_its_vfs_as_unhealthy(stage: Stage, hanging: Faulty) -> None:
    hanging.faults.clear()
    cy, dc = await begun(stage)
    _, (held, *_) = await stage.give(CY)
    await stage.end_daemon()
    before, hanging.faults["hangs"] = len(stage.kubelet.lists(CY)), HANGS
    await stage.start_daemon()
    await stage.offers(DC, dc)
    await stage.lists(CY, (), [held])
    assert reason(stage) == f"its PF {CY_PF} is unprobed: its first probe has not come back within 0.05 s"
    assert not any(device.health == "Healthy" for one in stage.kubelet.lists(CY)[before:] for device in one.devices)
    hanging.released.set()
    await stage.lists(CY, cy)  # at once: nothing was wrong


async def test_pf_that_comes_later_and_hangs_is_never_healthy(stage: Stage, hanging: Faulty) -> None:
    stage.host.add_pf(DC_PF, services="dc", vfs=1)
    await stage.start_daemon()
    await stage.offers(DC, stage.host.vfs(DC_PF))
    stage.host.add_pf(CY_PF, vfs=2)
    await stage.until(lambda: len(stage.node.pools.excluded) == 2)
    await stage.scanned()
    assert not ever_healthy(stage, CY)
    hanging.released.set()
    await stage.offers(CY, stage.host.vfs(CY_PF))


async def test_scan_counts_before_a_new_pf_has_answered(stage: Stage, hanging: Faulty) -> None:
    stage.host.add_pf(DC_PF, services="dc", vfs=2)
    stage.settings = replace(stage.settings, health=replace(stage.settings.health, first_s=60.0, deadline_s=60.0))
    await stage.start_daemon()
    dc = stage.host.vfs(DC_PF)
    await stage.offers(DC, dc)
    stage.host.add_pf(CY_PF, vfs=2)
    stage.host.unbind(dc[0])
    await stage.lists(DC, dc[1:], dc[:1])
    assert not ever_healthy(stage, CY)
    hanging.released.set()
    await stage.offers(CY, stage.host.vfs(CY_PF))


async def test_restart_on_a_well_node_lists_no_vf_as_unhealthy(stage: Stage, both: VFs) -> None:
    await stage.give(CY)
    for _ in range(20):
        await stage.restart_daemon()
        for resource, vfs in zip((CY, DC), both, strict=True):
            await stage.offers(resource, vfs)
    for resource in (CY, DC):
        lists = stage.kubelet.lists(resource)
        assert len(lists) > 20
        assert {device.health for one in lists for device in one.devices} == {"Healthy"}


async def test_pf_that_restarts_keeps_its_cause_once_a_scan_saw_it_down(stage: Stage, both: VFs) -> None:
    cy, _ = both
    stage.host.count_errors(CY_PF, "fatal", 1)
    await stage.lists(CY, (), cy)
    stage.host.attribute(CY_PF, "qat/state", "down")  # a reset that keeps the VFs
    await stage.until(lambda: all(pf.is_down == (pf.address == CY_PF) for pf in stage.node.snapshot.pfs))
    await stage.until(lambda: stage.daemon.health.health[CY_PF].condition is Condition.RESTARTING)
    await stage.scanned()
    assert reason(stage) == f"its PF {CY_PF} is restarting: is down (errors_fatal is 1)"


# How soon


def test_a_read_that_blocks_is_seen_well_within_three_seconds() -> None:
    settings = Settings()
    of_a_probe = settings.health.probe_s + settings.health.deadline_s
    patience = settings.patience
    of_a_tick = settings.tick_s + patience.bulk_s + patience.single_s + patience.last_s
    assert max(of_a_probe, of_a_tick) <= 2.2
