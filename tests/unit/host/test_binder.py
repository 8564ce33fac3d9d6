"""Binder: what it writes, and what it says where the kernel does not do what was asked."""

import errno

import pytest

from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.binding import Binding
from qatdp.core.provision.refusals import Refused
from qatdp.host.pf.binder import Binder
from qatdp.simulator.host.calls import FakeKernelCalls, FaultyCalls
from qatdp.simulator.host.node import FakeHost

GEN4 = "0000:6b:00.0"
GEN2 = "0000:3d:00.0"


@pytest.fixture
def calls(host: FakeHost) -> FakeKernelCalls:
    return FakeKernelCalls(host)


@pytest.fixture
def binder(host: FakeHost, calls: FakeKernelCalls) -> Binder:
    return Binder(host.sysfs, calls)


@pytest.fixture
def vf(host: FakeHost) -> PciAddress:
    """A VF without a driver; there is another one beside it."""
    return host.vfs(host.add_pf(GEN4, vfs=2, vf_driver=None))[0]


@pytest.fixture
def gen2_vf(host: FakeHost) -> PciAddress:
    """A VF that the kernel's own driver has."""
    return host.vfs(host.add_pf(GEN2, "c62x", vfs=2, vf_driver="c6xxvf"))[0]


def test_binds_a_vf_without_a_driver(host: FakeHost, binder: Binder, vf: PciAddress) -> None:
    assert binder.bind(Binding(vf, "vfio-pci")) is None
    assert host.driver(vf) == "vfio-pci"
    assert host.node(vf).exists()


def test_binds_to_the_driver_that_is_wished(host: FakeHost, binder: Binder, vf: PciAddress) -> None:
    host.load_driver("qat_vfio_pci")
    assert binder.bind(Binding(vf, "qat_vfio_pci")) is None
    assert host.driver(vf) == "qat_vfio_pci"


def test_binding_writes_two_files_and_no_other(calls: FakeKernelCalls, binder: Binder, vf: PciAddress) -> None:
    binder.bind(Binding(vf, "vfio-pci"))
    assert calls.written == [
        ("devices/pci0000:6b/0000:6b:00.1/driver_override", b"vfio-pci\n"),
        ("bus/pci/drivers_probe", b"0000:6b:00.1"),
    ]


def test_binding_leaves_all_others_alone(host: FakeHost, binder: Binder, vf: PciAddress) -> None:
    binder.bind(Binding(vf, "vfio-pci"))
    assert [(found.address == vf, found.driver) for found in host.scan().vfs] == [(True, "vfio-pci"), (False, None)]


def test_takes_a_vf_from_its_driver(host: FakeHost, binder: Binder, gen2_vf: PciAddress) -> None:
    host.load_driver("vfio-pci", disable_denylist=True)
    assert binder.bind(Binding(gen2_vf, "vfio-pci", "c6xxvf")) is None
    assert [vf.driver for vf in host.scan().vfs] == ["vfio-pci", "c6xxvf"]


def test_taking_writes_three_files_and_no_other(
    host: FakeHost, calls: FakeKernelCalls, binder: Binder, gen2_vf: PciAddress
) -> None:
    host.load_driver("vfio-pci", disable_denylist=True)
    binder.bind(Binding(gen2_vf, "vfio-pci", "c6xxvf"))
    assert calls.written == [
        ("devices/pci0000:3d/0000:3d:01.0/driver_override", b"vfio-pci\n"),
        ("bus/pci/drivers/c6xxvf/unbind", b"0000:3d:01.0"),
        ("bus/pci/drivers_probe", b"0000:3d:01.0"),
    ]


def test_binding_again_what_is_bound_does_no_harm(host: FakeHost, binder: Binder, vf: PciAddress) -> None:
    node = host.add_vf(GEN4, 5)
    assert binder.bind(Binding(node, "vfio-pci")) is None
    assert host.driver(node) == "vfio-pci"


def test_driver_that_is_not_loaded_is_told_before_anything_is_written(
    host: FakeHost, calls: FakeKernelCalls, binder: Binder, gen2_vf: PciAddress
) -> None:
    host.unload_driver("vfio-pci")
    assert binder.bind(Binding(gen2_vf, "vfio-pci", "c6xxvf")) == Refused("no such driver")
    assert calls.written == []
    assert host.driver(gen2_vf) == "c6xxvf"


def test_driver_that_refuses_in_silence_is_told(host: FakeHost, binder: Binder, gen2_vf: PciAddress) -> None:
    # The kernel answers drivers_probe with success also where vfio-pci's denylist has the VF.
    host.unbind(gen2_vf)
    assert binder.bind(Binding(gen2_vf, "vfio-pci")) == Refused("Invalid argument", errno.EINVAL)


def test_refusal_is_told_as_the_kernel_puts_it(host: FakeHost, calls: FakeKernelCalls, vf: PciAddress) -> None:
    binder = Binder(host.sysfs, FaultyCalls(calls, {"drivers_probe": errno.EINVAL}))
    assert binder.bind(Binding(vf, "vfio-pci")) == Refused("Invalid argument", errno.EINVAL)


def test_vf_that_is_not_there_is_told(host: FakeHost, binder: Binder, vf: PciAddress) -> None:
    host.remove(vf)
    assert binder.bind(Binding(vf, "vfio-pci")) == Refused("No such file or directory", errno.ENOENT)


def test_vf_that_goes_in_between_is_told(host: FakeHost, calls: FakeKernelCalls, vf: PciAddress) -> None:
    binder = Binder(host.sysfs, FaultyCalls(calls, {"drivers_probe": lambda: host.remove(vf)}))
    assert binder.bind(Binding(vf, "vfio-pci")) == Refused("No such device", errno.ENODEV)


def test_vf_that_goes_at_the_end_is_told(host: FakeHost, calls: FakeKernelCalls, vf: PciAddress) -> None:
    binder = Binder(host.sysfs, FaultyCalls(calls, {f"{vf}/driver": lambda: host.remove(vf)}))
    assert binder.bind(Binding(vf, "vfio-pci")) == Refused("No such device", errno.ENODEV)


def test_vf_that_another_driver_got_first_is_told(host: FakeHost, calls: FakeKernelCalls, gen2_vf: PciAddress) -> None:
    host.unbind(gen2_vf)
    binder = Binder(host.sysfs, FaultyCalls(calls, {"drivers_probe": lambda: host.bind(gen2_vf, "c6xxvf")}))
    assert binder.bind(Binding(gen2_vf, "vfio-pci")) == Refused("it is on c6xxvf afterwards")


def test_vf_that_its_driver_has_let_go_by_itself_is_told(host: FakeHost, binder: Binder, gen2_vf: PciAddress) -> None:
    host.unbind(gen2_vf)
    assert binder.bind(Binding(gen2_vf, "vfio-pci", "c6xxvf")) == Refused("No such file or directory", errno.ENOENT)


def test_sysfs_that_is_read_only_is_told(host: FakeHost, calls: FakeKernelCalls, vf: PciAddress) -> None:
    binder = Binder(host.sysfs, FaultyCalls(calls, {"driver_override": errno.EROFS}))
    assert binder.bind(Binding(vf, "vfio-pci")) == Refused("Read-only file system", errno.EROFS)
    assert host.driver(vf) is None


def test_a_vf_that_vfio_does_not_take_goes_back_to_its_driver(
    host: FakeHost, binder: Binder, gen2_vf: PciAddress
) -> None:
    assert binder.bind(Binding(gen2_vf, "vfio-pci", "c6xxvf")) == Refused("Invalid argument", errno.EINVAL)
    assert host.driver(gen2_vf) == "c6xxvf"
    assert host.path(gen2_vf, "driver_override").read_text() == "(null)\n"
