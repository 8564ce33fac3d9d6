"""A step is what the kernel makes of it: what was written is read back, and nobody's VF is taken away."""

import errno
import os
from pathlib import Path

import pytest

from qatdp.core.model.pci import PciAddress
from qatdp.core.provision.steps import Step, What
from qatdp.host.pf.configurator import HeldError, PfConfigurator, RefusedError
from qatdp.simulator.host.calls import FakeKernelCalls, FaultyCalls
from qatdp.simulator.host.node import FakeHost

PF = "0000:6b:00.0"
RENEWAL = (
    Step(What.DOWN),
    Step(What.SERVICES, "dc"),
    Step(What.UP),
    Step(What.AUTO_RESET, "on"),
    Step(What.NO_PROBE),
    Step(What.VFS),
    Step(What.BIND, "vfio-pci"),
)


@pytest.fixture
def pf(host: FakeHost) -> PciAddress:
    return host.add_pf(PF, vfs=2)


@pytest.fixture
def kernel(host: FakeHost) -> FakeKernelCalls:
    return FakeKernelCalls(host)


def opened(node: Path) -> int:
    return os.open(node, os.O_RDWR)


def refused(_node: Path) -> int:
    raise OSError(errno.EBUSY, "busy")


def not_for_us(_node: Path) -> int:
    raise OSError(errno.EPERM, "no device is")


@pytest.fixture
def hand(host: FakeHost, kernel: FakeKernelCalls, pf: PciAddress) -> PfConfigurator:
    return PfConfigurator(host.sysfs, host.dev, pf, kernel, opened)


def test_all_steps_make_a_pf_of_other_services_with_all_vfs_bound(hand: PfConfigurator, host: FakeHost) -> None:
    for step in RENEWAL:
        hand.take(step)
    snapshot = host.scan()
    pf = snapshot.pfs[0]
    assert (pf.services_text, pf.state, pf.auto_reset) == ("dc", "up", True)
    assert len(snapshot.vfs) == 16
    assert {vf.driver for vf in snapshot.vfs} == {"vfio-pci"}


def test_services_are_compared_as_sets(hand: PfConfigurator) -> None:
    for step in (Step(What.DOWN), Step(What.SERVICES, "sym;asym")):  # this kernel makes asym;sym of it
        hand.take(step)


def test_a_write_out_of_order_comes_back_as_the_kernel_gave_it(hand: PfConfigurator) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        hand.take(Step(What.SERVICES, "dc"))


def test_a_write_that_changes_nothing_is_refused_by_what_is_read_back(host: FakeHost, pf: PciAddress) -> None:
    class Deaf(FakeKernelCalls):
        def write(self, path: Path, content: bytes) -> None:
            pass

    hand = PfConfigurator(host.sysfs, host.dev, pf, Deaf(host), opened)
    for step in RENEWAL[:2]:
        with pytest.raises(RefusedError):
            hand.take(step)


def test_a_vf_that_is_open_is_not_taken_away(hand: PfConfigurator, host: FakeHost, pf: PciAddress) -> None:
    host.open_vf(host.vfs(pf)[1])
    with pytest.raises(HeldError, match=r"0000:6b:00\.2 is open"):
        hand.take(Step(What.DOWN))
    assert len(host.vfs(pf)) == 2


def test_a_group_that_is_open_is_somebodys(host: FakeHost, kernel: FakeKernelCalls, pf: PciAddress) -> None:
    with pytest.raises(HeldError, match="is open"):
        PfConfigurator(host.sysfs, host.dev, pf, kernel, refused).take(Step(What.DOWN))
    assert kernel.written == []


def test_where_nodes_are_not_for_us_the_vfs_own_file_decides(
    host: FakeHost, kernel: FakeKernelCalls, pf: PciAddress
) -> None:
    PfConfigurator(host.sysfs, host.dev, pf, kernel, not_for_us).take(Step(What.DOWN))
    assert host.vfs(pf) == ()


def test_an_unreadable_enable_takes_nothing_away(host: FakeHost, kernel: FakeKernelCalls, pf: PciAddress) -> None:
    hand = PfConfigurator(host.sysfs, host.dev, pf, FaultyCalls(kernel, {"enable": errno.EIO}), opened)
    with pytest.raises(OSError, match="Input/output"):
        hand.take(Step(What.DOWN))
    assert len(host.vfs(pf)) == 2


def test_kept_vfs_and_those_of_other_drivers_are_not_bound(host: FakeHost, kernel: FakeKernelCalls) -> None:
    pf = host.add_pf("0000:70:00.0", vfs=3, vf_driver=None)
    host.load_driver("uio_pci_generic")
    host.bind(host.vfs(pf)[1], "uio_pci_generic")
    PfConfigurator(host.sysfs, host.dev, pf, kernel, opened).take(Step(What.BIND, "vfio-pci", 1))
    assert [host.driver(vf) for vf in host.vfs(pf)] == [None, "uio_pci_generic", "vfio-pci"]


def test_a_driver_that_refuses_is_told_with_what_the_kernel_said(host: FakeHost, kernel: FakeKernelCalls) -> None:
    pf = host.add_pf("0000:3d:00.0", "c62x", vfs=2, vf_driver=None)  # drivers_probe says nothing of the denylist
    with pytest.raises(RefusedError, match=r"2 VFs are not bound, 0000:3d:01\.0 first: .* Invalid argument .*denylist"):
        PfConfigurator(host.sysfs, host.dev, pf, kernel, opened).take(Step(What.BIND, "vfio-pci"))


def test_the_hosts_vf_driver_gets_no_vf_of_a_pf_that_does_not_probe(host: FakeHost, kernel: FakeKernelCalls) -> None:
    host.load_driver("c6xxvf")
    probes, does_not = (host.add_pf(address, "c62x", vfs=0) for address in ("0000:3d:00.0", "0000:3f:00.0"))
    PfConfigurator(host.sysfs, host.dev, does_not, kernel, opened).take(Step(What.NO_PROBE))
    for pf in (probes, does_not):
        PfConfigurator(host.sysfs, host.dev, pf, kernel, opened).take(Step(What.VFS))
    assert [host.driver(host.vfs(pf)[0]) for pf in (probes, does_not)] == ["c6xxvf", None]
