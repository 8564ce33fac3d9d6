"""What is looked at every second: just what changes without an event, and nothing that can wait."""

import contextlib
import errno
import itertools

import pytest

from qatdp.core.model.qat import VFIO_DRIVERS
from qatdp.host.calls.choose import host_calls
from qatdp.host.poller import SELDOM_EACH, AttributePoller, Values
from qatdp.simulator.host.calls import FaultyCalls, RecordingCalls
from qatdp.simulator.host.node import FakeHost

pytestmark = pytest.mark.usefixtures("calls")


def values(host: FakeHost, faults: dict[str, int] | None = None) -> Values:
    """Return what is seen of the PFs that are there now."""
    with contextlib.closing(AttributePoller(host.sysfs, FaultyCalls(host_calls(), faults or {}))) as tick:
        return tick.values(host.scan())


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
    tick = AttributePoller(host.sysfs, host_calls())
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
    AttributePoller(host.sysfs, calls).values(host.scan())
    errors = ["correctable", "fatal", "nonfatal"]
    aer = [f"aer_dev_{severity}" for severity in errors]
    gen4 = [*aer, "qat/cfg_services", "qat/state", *(f"qat_ras/errors_{severity}" for severity in errors)]
    watched = {"0000:3d:00.0": aer, "0000:6b:00.0": gen4, "0000:e8:00.0": gen4}
    assert sorted(str(path.relative_to(host.sysfs / "bus/pci")) for _, path in calls.asked) == [
        *(f"devices/{pf}/{name}" for pf, names in watched.items() for name in names),
        "drivers/qat_vfio_pci",
        "drivers/vfio-pci",
    ]


def test_errors_that_are_counted_call_for_no_rescan(host: FakeHost) -> None:
    pf = host.add_pf("0000:6b:00.0", vfs=0)
    tick, snapshot = AttributePoller(host.sysfs, host_calls()), host.scan()
    before = tick.hints(tick.values(snapshot))
    host.count_errors(pf, "fatal", 3)
    host.count_errors(pf, "correctable", 2, aer=True)
    values = tick.values(snapshot)
    assert tick.hints(values) == before
    reading = tick.readings(values, snapshot)[pf]
    assert (reading.state, reading.unseen) == ("up", {})
    assert {key: count for key, count in reading.counters.items() if count} == {"ras_fatal": 3, "aer_correctable": 2}
    host.set_state(pf, "down")
    assert tick.readings(tick.values(snapshot), snapshot)[pf].state == "down"


def test_counters_that_are_not_there_are_told(host: FakeHost) -> None:
    pf = host.add_pf("0000:6b:00.0", vfs=0)
    host.attribute(pf, "qat_ras", None)
    host.attribute(pf, "aer_dev_fatal", b"no number")
    tick, snapshot = AttributePoller(host.sysfs, host_calls()), host.scan()
    assert tick.readings(tick.values(snapshot), snapshot)[pf].unseen == {
        "ras": "qat_ras/errors_correctable: No such file or directory",
        "aer": "aer_dev_fatal: no number",
    }


def test_counters_that_decide_nothing_are_looked_at_seldom_and_after_each_change(host: FakeHost) -> None:
    pf = host.add_pf("0000:6b:00.0", vfs=0)
    calls = RecordingCalls(host_calls())
    tick, snapshot = AttributePoller(host.sysfs, calls), host.scan()

    def asked() -> set[str]:
        calls.asked.clear()
        tick.values(snapshot)
        return {path.name for _, path in calls.asked}

    often = {"state", "cfg_services", "errors_fatal", "aer_dev_fatal", *VFIO_DRIVERS}
    seldom = {f"{name}_{severity}" for name in ("errors", "aer_dev") for severity in ("correctable", "nonfatal")}
    looks = [asked() for _ in range(2 * SELDOM_EACH)]
    assert looks == [often | seldom, *[often] * (SELDOM_EACH - 1)] * 2
    asked()
    host.set_state(pf, "down")
    assert asked() == often | seldom
    host.set_state(pf, "up")
    assert tick.readings(tick.values(snapshot), snapshot)[pf].unseen == {}


def test_a_pf_without_a_state_is_up_with_its_driver(host: FakeHost) -> None:
    old = host.add_pf("0000:3d:00.0", "c62x", vfs=0)
    gone = host.add_pf("0000:6b:00.0", vfs=0)
    tick, snapshot = AttributePoller(host.sysfs, host_calls()), host.scan()
    host.unbind(gone)
    found = tick.readings(tick.values(snapshot), snapshot)
    assert (found[old].state, found[gone].state) == ("up", "without its driver")
    found = tick.readings(tick.values(host.scan()), host.scan())
    assert found[gone].state == "without a driver"
    for pf in (old, gone):
        host.load_driver("uio_pci_generic")
        host.unbind(pf) if host.driver(pf) else None
        host.bind(pf, "uio_pci_generic")
        found = tick.readings(tick.values(host.scan()), host.scan())
        assert found[pf].state == "on driver uio_pci_generic"
