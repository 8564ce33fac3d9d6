"""Patient calls: what hangs is passed, named and found again; all else is seen meanwhile, in C and in Python alike."""

import errno
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from qatdp.core.model.pci import PciAddress
from qatdp.host.calls.abc import BusDump, HostCalls, Watch
from qatdp.host.calls.portable import PortableCalls
from qatdp.host.calls.watchdog import WatchdogCalls, WatchdogTiming, function_of
from qatdp.simulator.host.calls import PassingCalls
from qatdp.simulator.host.node import FakeHost

PF, OTHER = PciAddress.parse("0000:6b:00.0"), PciAddress.parse("0000:70:00.0")
SHORT, LONG_S = WatchdogTiming(bulk_s=0.05, single_s=0.1), 30.0


class Hanging(PassingCalls):
    """Whatever asks at what matches hangs until released, the bulk calls as well."""

    def __init__(self, pattern: str) -> None:
        super().__init__(PortableCalls())
        self.pattern, self.released, self.asked = pattern, threading.Event(), 0

    def before(self, call: str, path: Path) -> None:
        if path.match(self.pattern) and not self.released.is_set():
            self.asked += 1
            self.released.wait(LONG_S)


@pytest.fixture
def pfs(host: FakeHost) -> None:
    host.add_pf(PF, vfs=2)
    host.add_pf(OTHER, vfs=2)


@pytest.fixture(params=["qat/state", "qat/cfg_services", "numa_node"])
def hanging(pfs: None, request: pytest.FixtureRequest) -> Iterator[Hanging]:
    calls = Hanging(f"{PF}/{request.param}")
    yield calls
    calls.released.set()


def let_them_end() -> None:
    """Wait for the threads that were left behind."""
    for thread in threading.enumerate():
        if thread.name == "bulk":
            thread.join(LONG_S)


def patient(calls: HostCalls, patience: WatchdogTiming = SHORT) -> WatchdogCalls:
    return WatchdogCalls(calls, calls, patience)


@pytest.mark.usefixtures("pfs")
def test_where_nothing_hangs_they_are_the_calls_behind_them(host: FakeHost, calls: HostCalls) -> None:
    slow = WatchdogCalls(calls, Hanging("*"), WatchdogTiming(bulk_s=LONG_S))
    assert slow.read_bus(host.sysfs, host.dev) == calls.read_bus(host.sysfs, host.dev)
    path = host.sysfs / "bus/pci/devices" / str(PF) / "qat/state"
    watch = slow.watch((path,), (path,))
    assert watch.read() == (b"up\n", True)
    watch.close()
    assert slow.overdue == {}


def test_a_scan_goes_on_without_what_hangs_and_says_which(host: FakeHost, hanging: Hanging) -> None:
    calls = patient(hanging)
    attribute = str(host.sysfs / "bus/pci/devices" / hanging.pattern)
    seen, true = calls.read_bus(host.sysfs, host.dev), PortableCalls().read_bus(host.sysfs, host.dev)
    assert seen.contents[attribute] == errno.EAGAIN
    assert calls.overdue == {PF: Path(attribute)}
    others = {path for path in true.contents if str(Path(attribute).parent) not in path}
    assert {path: seen.contents[path] for path in others} == {path: true.contents[path] for path in others}
    assert (seen.links, seen.names, seen.present) == (true.links, true.names, true.present)


def test_what_hangs_is_asked_no_more_and_all_is_asked_again_once_it_is_back(host: FakeHost, hanging: Hanging) -> None:
    calls = patient(hanging)
    for _ in range(3):
        calls.read_bus(host.sysfs, host.dev)
    assert hanging.asked == 2  # by the bulk call, and by the one that found out
    hanging.released.set()
    let_them_end()
    assert calls.overdue == {}
    assert calls.read_bus(host.sysfs, host.dev) == PortableCalls().read_bus(host.sysfs, host.dev)


def test_a_watch_goes_on_without_what_a_scan_has_found_to_hang(host: FakeHost, hanging: Hanging) -> None:
    calls = patient(hanging)
    calls.read_bus(host.sysfs, host.dev)
    attributes = [host.sysfs / "bus/pci/devices" / str(pf) / hanging.pattern.partition("/")[2] for pf in (PF, OTHER)]
    watch = calls.watch(attributes, ())
    asked = hanging.asked
    assert watch.read() == (errno.EAGAIN, attributes[1].read_bytes())
    assert hanging.asked == asked
    watch.close()


def test_a_watch_is_closed_once_nobody_reads_from_it(host: FakeHost, hanging: Hanging) -> None:
    inner = _Watching(hanging)
    calls = WatchdogCalls(inner, hanging, SHORT)
    watch = calls.watch([host.sysfs / "bus/pci/devices" / hanging.pattern], ())
    assert watch.read() == (errno.EAGAIN,)
    watch.close()
    assert not inner.closed
    hanging.released.set()
    let_them_end()
    assert inner.closed


def test_a_bulk_call_that_is_slow_and_no_more_costs_nobody_anything(host: FakeHost, pfs: None) -> None:
    slow = _Slow(PortableCalls())
    calls = WatchdogCalls(slow, Hanging(f"{PF}/qat/state"), WatchdogTiming(bulk_s=0.05, single_s=LONG_S))
    assert calls.read_bus(host.sysfs, host.dev) == PortableCalls().read_bus(host.sysfs, host.dev)
    assert calls.overdue == {}


def test_it_is_told_whose_a_path_is() -> None:
    devices = Path("/sys/bus/pci/devices")
    assert function_of(devices) is None
    assert function_of(devices / str(PF)) == function_of(devices / str(PF) / "qat/state") == PF
    assert function_of(Path(f"/sys/kernel/debug/qat_4xxx_{PF}/dev_cfg")) == PF
    assert function_of(devices / str(PF) / str(OTHER) / "driver") == OTHER


class _Slow(PassingCalls):
    """Takes three times as long as anybody waits for it."""

    def read_bus(self, sysfs: Path, dev: Path) -> BusDump:
        threading.Event().wait(3 * SHORT.bulk_s)
        return self._inner.read_bus(sysfs, dev)


class _Watching(PassingCalls):
    """Tells when its watch was closed."""

    closed = False

    def watch(self, contents: Sequence[Path], present: Sequence[Path]) -> Watch:
        return _Closing(self, super().watch(contents, present))


class _Closing:
    def __init__(self, of: _Watching, inner: Watch) -> None:
        self._of, self.read = of, inner.read

    def close(self) -> None:
        self._of.closed = True
