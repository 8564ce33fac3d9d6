"""Probes: what they read, what they miss and say so, and that one that hangs is left behind and found again."""

import asyncio
import errno
import threading
from pathlib import Path

import pytest

from qatdp.core.model.snapshot import PhysicalFunction
from qatdp.host.calls.portable import PortableCalls
from qatdp.host.probe import Prober, ProbeResult, ProbeTimeout
from qatdp.simulator.host.calls import FaultyCalls, PassingCalls, RecordingCalls
from qatdp.simulator.host.node import FakeHost

LONG_S = 30.0


@pytest.fixture
def pf(host: FakeHost) -> PhysicalFunction:
    address = host.add_pf("0000:6b:00.0", vfs=0)
    found = host.scan().pf(address)
    assert found
    return found


async def test_it_reads_the_config_space_and_the_heartbeat(host: FakeHost, pf: PhysicalFunction) -> None:
    host.beat(pf.address, -1, failed=3)
    found = await Prober(host.sysfs, PortableCalls(), deadline_s=LONG_S).probe(pf)
    assert isinstance(found, ProbeResult) and not found.late
    assert found.pulse.config == b"\x86\x80\x40\x49"
    assert (found.pulse.alive, found.pulse.failed, found.pulse.unseen) == (False, (3, 3), {})


async def test_the_heartbeat_is_read_once_and_not_at_all_where_that_is_wished(
    host: FakeHost, pf: PhysicalFunction
) -> None:
    calls = RecordingCalls(PortableCalls())
    await Prober(host.sysfs, calls, deadline_s=LONG_S).probe(pf)
    assert sum(path.name == "status" for _, path in calls.asked) == 1
    calls.asked.clear()
    found = await Prober(host.sysfs, calls, heartbeat=False, deadline_s=LONG_S).probe(pf)
    assert isinstance(found, ProbeResult) and found.pulse.unseen == {"heartbeat": "switched off (--no-heartbeat)"}
    assert not any("heartbeat" in str(path) for _, path in calls.asked)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.ENOENT, "heartbeat/queries_failed: No such file or directory (no debugfs here, or a kernel before 6.6)"),
        (errno.EPERM, "heartbeat/queries_failed: Operation not permitted (the kernel is locked down)"),
        (errno.EIO, "heartbeat/queries_failed: Input/output error"),
    ],
)
async def test_a_heartbeat_that_cannot_be_read_is_told_and_no_evidence(
    host: FakeHost, pf: PhysicalFunction, number: int, why: str
) -> None:
    found = await Prober(host.sysfs, FaultyCalls(PortableCalls(), {"heartbeat/*": number}), deadline_s=LONG_S).probe(pf)
    assert isinstance(found, ProbeResult)
    assert (found.pulse.alive, found.pulse.unseen) == (None, {"heartbeat": why})


async def test_a_pf_that_is_down_has_no_heartbeat_and_that_is_no_loss(host: FakeHost, pf: PhysicalFunction) -> None:
    host.set_state(pf.address, "down")
    found = await Prober(host.sysfs, PortableCalls(), deadline_s=LONG_S).probe(pf)
    assert isinstance(found, ProbeResult)
    assert (found.pulse.state, found.pulse.unseen) == ("down", {})


class _Hanging(PassingCalls):
    """Hangs at one path until released."""

    def __init__(self, at: str) -> None:
        super().__init__(PortableCalls())
        self.at, self.released, self.reads = at, threading.Event(), 0

    def before(self, call: str, path: Path) -> None:
        if path.match(self.at):
            self.reads += 1
            self.released.wait()


async def test_a_read_that_hangs_is_overdue_and_begun_once(host: FakeHost, pf: PhysicalFunction) -> None:
    address = host.add_pf("0000:70:00.0", vfs=0)
    other = host.scan().pf(address)
    assert other
    calls = _Hanging("qat_4xxx_0000:6b:00.0/heartbeat/status")
    prober = Prober(host.sysfs, calls, deadline_s=0.01)
    for _ in range(3):
        found = await prober.probe(pf)
        assert isinstance(found, ProbeTimeout) and found.path and found.path.name == "status"
    assert calls.reads == 1
    while not isinstance(await prober.probe(other), ProbeResult):  # the others are well, if this machine is slow
        pass
    calls.released.set()
    while isinstance(found := await prober.probe(pf), ProbeTimeout):  # noqa: ASYNC110 - the thread tells nobody
        await asyncio.sleep(0)
    assert found.late
    while isinstance(found := await prober.probe(pf), ProbeTimeout):  # noqa: ASYNC110 - the thread tells nobody
        await asyncio.sleep(0)


async def test_a_process_that_was_not_let_run_blames_no_read(host: FakeHost, pf: PhysicalFunction) -> None:
    calls = _Hanging("qat_4xxx_0000:6b:00.0/heartbeat/status")
    probe = asyncio.create_task(Prober(host.sysfs, calls, deadline_s=LONG_S).probe(pf))
    while not calls.reads:  # noqa: ASYNC110 - the thread tells nobody
        await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    now = loop.time
    # The deadline passes at once, as for a container that has used up its quota; the read comes back just after.
    loop.time = lambda: now() + LONG_S  # type: ignore[method-assign]
    loop.call_soon(calls.released.set)
    assert isinstance(await probe, ProbeResult)


async def test_a_probe_that_breaks_is_told_and_fences_nothing(host: FakeHost, pf: PhysicalFunction) -> None:
    def breaks() -> None:
        raise RuntimeError("broken")

    calls = FaultyCalls(PortableCalls(), {"0000:6b:00.0/config": breaks})
    found = await Prober(host.sysfs, calls, deadline_s=LONG_S).probe(pf)
    assert isinstance(found, ProbeResult) and found.pulse.unseen == {"probe": "RuntimeError('broken')"}
