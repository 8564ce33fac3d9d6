"""The calls for tests: FakeKernelCalls does as the kernel does, FaultyCalls and RecordingCalls as they are told."""

import errno
from collections.abc import Callable

import pytest

from qatdp.core.model.pci import PciAddress
from qatdp.host.calls.portable import PortableCalls
from qatdp.simulator.host.calls import FakeKernelCalls, FaultyCalls, RecordingCalls
from qatdp.simulator.host.node import FakeHost

GEN2_PF = "0000:3d:00.0"


def raises(call: Callable[[], object]) -> str:
    """Return the name of the error that a call raises."""
    with pytest.raises(OSError, match=r".") as caught:
        call()
    return errno.errorcode[caught.value.errno or 0]


# FakeKernelCalls


@pytest.fixture
def kernel(host: FakeHost) -> FakeKernelCalls:
    return FakeKernelCalls(host)


@pytest.fixture
def vf(host: FakeHost) -> PciAddress:
    return host.vfs(host.add_pf(GEN2_PF, "c62x", vfs=1, vf_driver=None))[0]


def test_driver_override_is_kept_and_binds_nothing(host: FakeHost, kernel: FakeKernelCalls, vf: PciAddress) -> None:
    override = host.path(vf, "driver_override")
    kernel.write(override, b"vfio-pci\n")
    assert (kernel.read(override), host.driver(vf)) == (b"vfio-pci\n", None)
    kernel.write(override, b"\n")
    assert kernel.read(override) == b"(null)\n"


def test_drivers_probe_succeeds_also_where_no_driver_takes_the_device(
    host: FakeHost, kernel: FakeKernelCalls, vf: PciAddress
) -> None:
    probe = host.sysfs / "bus/pci/drivers_probe"
    kernel.write(probe, str(vf).encode())  # none matches
    kernel.write(host.path(vf, "driver_override"), b"vfio-pci")
    kernel.write(probe, str(vf).encode())  # it is on the denylist
    assert host.driver(vf) is None


def test_drivers_probe_without_an_override_finds_the_devices_own_driver(
    host: FakeHost, kernel: FakeKernelCalls, vf: PciAddress
) -> None:
    host.load_driver("c6xxvf")
    kernel.write(host.sysfs / "bus/pci/drivers_probe", f"{vf}\n".encode())
    assert host.driver(vf) == "c6xxvf"


def test_drivers_probe_leaves_what_has_a_driver(host: FakeHost, kernel: FakeKernelCalls, vf: PciAddress) -> None:
    host.load_driver("c6xxvf")
    host.bind(vf, "c6xxvf")
    kernel.write(host.path(vf, "driver_override"), b"vfio-pci")
    kernel.write(host.sysfs / "bus/pci/drivers_probe", str(vf).encode())
    assert host.driver(vf) == "c6xxvf"


def test_drivers_probe_knows_no_device_that_is_not_there(host: FakeHost, kernel: FakeKernelCalls) -> None:
    assert raises(lambda: kernel.write(host.sysfs / "bus/pci/drivers_probe", b"0000:6b:07.7")) == "ENODEV"


def test_a_drivers_own_files_bind_and_unbind_and_say_why_not(
    host: FakeHost, kernel: FakeKernelCalls, vf: PciAddress
) -> None:
    host.load_driver("c6xxvf")
    kernel.write(host.drivers / "c6xxvf/bind", str(vf).encode())
    assert host.driver(vf) == "c6xxvf"
    assert raises(lambda: kernel.write(host.drivers / "vfio-pci/unbind", str(vf).encode())) == "ENODEV"
    kernel.write(host.path(vf, "driver/unbind"), str(vf).encode())
    assert host.driver(vf) is None
    assert raises(lambda: kernel.write(host.drivers / "vfio-pci/bind", str(vf).encode())) == "EINVAL"


def test_other_writes_are_refused(host: FakeHost, kernel: FakeKernelCalls, vf: PciAddress) -> None:
    assert raises(lambda: kernel.write(host.path(vf, "numa_node"), b"1")) == "EACCES"
    assert raises(lambda: kernel.write(host.path(vf, "absent"), b"1")) == "ENOENT"
    assert raises(lambda: kernel.write(host.path(vf, "driver/unbind"), b"1")) == "ENOENT"


# FaultyCalls and RecordingCalls


def test_an_errno_is_raised_each_time_and_for_nothing_else(host: FakeHost, vf: PciAddress) -> None:
    calls = FaultyCalls(PortableCalls(), {f"{vf}/device": errno.EIO, f"{vf}/driver_override": errno.EROFS})
    device = host.path(vf, "device")
    assert [raises(lambda: calls.read(device)) for _ in range(2)] == ["EIO", "EIO"]
    assert (calls.exists(device), calls.exists(host.path(vf, "vendor"))) == (False, True)
    assert calls.read(host.path(vf, "vendor")) == b"0x8086\n"
    assert raises(lambda: calls.write(host.path(vf, "driver_override"), b"")) == "EROFS"


def test_a_function_is_called_once_before_the_first_call(host: FakeHost, vf: PciAddress) -> None:
    numbers = iter(("0", "1"))
    fault = {f"{vf}/*": lambda: host.attribute(vf, "numa_node", next(numbers))}
    calls = FaultyCalls(PortableCalls(), fault)
    assert [calls.read(host.path(vf, "numa_node")) for _ in range(2)] == [b"0\n", b"0\n"]


def test_what_is_asked_is_recorded(host: FakeHost, vf: PciAddress) -> None:
    calls = RecordingCalls(FaultyCalls(PortableCalls(), {"vendor": errno.EIO}))
    calls.listdir(host.devices)
    calls.readlink_name(host.path(vf, "physfn"))
    assert raises(lambda: calls.read(host.path(vf, "vendor"))) == "EIO"
    assert calls.asked == [
        ("listdir", host.devices),
        ("readlink_name", host.path(vf, "physfn")),
        ("read", host.path(vf, "vendor")),
    ]
