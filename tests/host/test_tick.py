"""What is looked at every second: just what changes without an event, and nothing that can wait."""

import errno
import itertools

import pytest

from qatdp.host.choose import host_calls
from qatdp.host.tick import Tick, Values
from qatdp.testing.calls import FaultyCalls, RecordingCalls
from qatdp.testing.host import FakeHost

pytestmark = pytest.mark.usefixtures("calls")


def values(host: FakeHost, faults: dict[str, int] | None = None) -> Values:
    """Return what is seen of the PFs that are there now."""
    return Tick(host.sysfs, FaultyCalls(host_calls(), faults or {})).values(host.scan())


def test_equal_while_nothing_changes(host: FakeHost) -> None:
    host.fill(pfs=2, vfs=1)
    assert values(host) == values(host)


def test_differs_when_a_pf_goes_down_or_up_and_when_its_services_change(host: FakeHost) -> None:
    pf = host.add_pf("0000:6b:00.0", vfs=0)
    seen = [values(host)]
    for state, services in (("down", "asym;sym"), ("down", "dc"), ("up", "dc")):
        host.set_state(pf, state)
        if state == "down":
            host.set_services(pf, services)
        seen.append(values(host))
    assert all(before != after for before, after in itertools.pairwise(seen))


def test_differs_when_a_driver_of_vfio_is_loaded(host: FakeHost) -> None:
    before = values(host)
    host.load_driver("qat_vfio_pci")
    assert values(host) != before


def test_what_cannot_be_read_differs_from_what_can_and_by_the_reason(host: FakeHost) -> None:
    host.add_pf("0000:6b:00.0", vfs=0)
    no_data, failed = {"qat/cfg_services": errno.ENODATA}, {"qat/cfg_services": errno.EIO}
    assert values(host, no_data) == values(host, no_data)
    assert values(host) != values(host, no_data) != values(host, failed) != values(host)


def test_a_pf_that_has_gone_differs_and_fails_nothing(host: FakeHost) -> None:
    pf = host.add_pf("0000:6b:00.0", vfs=0)
    snapshot = host.scan()
    tick = Tick(host.sysfs, host_calls())
    before = tick.values(snapshot)
    host.remove(pf)
    assert tick.values(snapshot) != before


def test_a_fifo_is_not_waited_for(host: FakeHost) -> None:
    pf = host.add_pf("0000:6b:00.0", vfs=0)
    host.fifo(pf, "qat/state")
    assert values(host) == values(host)


def test_nothing_else_is_read(host: FakeHost) -> None:
    host.fill(pfs=2, vfs=4)
    host.add_pf("0000:3d:00.0", "c62x", vfs=4, vf_driver=None)
    calls = RecordingCalls(host_calls())
    Tick(host.sysfs, calls).values(host.scan())
    assert sorted(str(path.relative_to(host.sysfs / "bus/pci")) for _, path in calls.asked) == [
        "devices/0000:6b:00.0/qat/cfg_services",
        "devices/0000:6b:00.0/qat/state",
        "devices/0000:e8:00.0/qat/cfg_services",
        "devices/0000:e8:00.0/qat/state",
        "drivers/qat_vfio_pci",
        "drivers/vfio-pci",
    ]
