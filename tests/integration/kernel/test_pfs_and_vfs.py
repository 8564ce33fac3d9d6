"""PFs and VFs as the kernel makes them, with qatdp's hands on them: SR-IOV, binding, a PF that goes and comes back."""

import errno
import stat
from collections import Counter
from pathlib import Path

import pytest
from ground import pfs
from release import AUTO_RESET, ERROR_COUNTERS, HEARTBEAT, VFS_GO_BY_NUMVFS

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import NodeKind, PhysicalFunction, Snapshot, VirtualFunction
from qatdp.core.pools.binding import Binding
from qatdp.core.provision.refusals import Refused
from qatdp.core.provision.steps import Step, What
from qatdp.host.calls.choose import host_calls
from qatdp.host.pf.binder import Binder
from qatdp.host.pf.configurator import PfConfigurator
from qatdp.host.poller import AttributePoller
from qatdp.host.probe import Prober, ProbeResult
from qatdp.host.scanner import SysfsScanner

SYS, DEV = Path("/sys"), Path("/dev")
ALL = 16  # VFs of a PF


def scan() -> Snapshot:
    """Return what is there, which can all be read."""
    found = SysfsScanner(SYS, DEV, host_calls()).scan()
    assert found.problems == ()
    return found


def vfs_of(pf: str) -> list[VirtualFunction]:
    return [vf for vf in scan().vfs if str(vf.pf) == pf]


def hand(pf: str) -> PfConfigurator:
    return PfConfigurator(SYS, DEV, PciAddress.parse(pf), host_calls(), lambda node: pytest.fail(f"{node} is opened"))


def seen(pf: str) -> PhysicalFunction:
    return next(one for one in scan().pfs if str(one.address) == pf)


@pytest.fixture
def off(bare: list[str]) -> str:
    """A PF without VFs."""
    pfs.bring_to_default(bare[0])
    return bare[0]


def test_pfs_are_there_with_what_the_release_has(bare: list[str]) -> None:
    found = scan()
    assert [str(pf.address) for pf in found.pfs] == bare
    assert {(pf.driver, pf.state, pf.services_text) for pf in found.pfs} == {("4xxx", "up", "sym;asym")}
    assert {pf.auto_reset for pf in found.pfs} == {False if AUTO_RESET else None}


def test_pfs_and_vfs_are_of_their_numa_nodes(services: dict[str, str]) -> None:
    found = scan()
    assert Counter(pf.numa_node for pf in found.pfs) == {0: 2, 1: 2}
    of = {pf.address: pf.numa_node for pf in found.pfs}
    assert len(found.vfs) == ALL * len(of)
    assert all(vf.pf is not None and vf.numa_node == of[vf.pf] for vf in found.vfs)


def test_sriov_brings_all_vfs_each_with_a_group_of_its_own_and_down_takes_them(off: str) -> None:
    assert vfs_of(off) == []
    for step in (Step(What.NO_PROBE), Step(What.VFS)):
        hand(off).take(step)
    found = vfs_of(off)
    assert sorted(vf.index for vf in found if vf.index is not None) == list(range(ALL))
    groups = {group.number: group.members for group in scan().groups}
    assert {len(groups[vf.iommu_group]) for vf in found if vf.iommu_group is not None} == {1}
    hand(off).take(Step(What.DOWN))
    assert (vfs_of(off), seen(off).state) == ([], "down")


def test_the_last_vf_goes_by_numvfs_only_since_6_12(off: str) -> None:
    """Why qatdp takes VFs away by `down` (core/provision/steps.py)."""
    pfs.bring_up(off)
    if VFS_GO_BY_NUMVFS:
        pfs.set_vfs(off, enabled=False)
    else:
        with pytest.raises(OSError, match="Invalid argument") as refused:
            pfs.set_vfs(off, enabled=False)
        assert refused.value.errno == errno.EINVAL
    assert len(vfs_of(off)) == (0 if VFS_GO_BY_NUMVFS else ALL)


def test_services_of_a_pf_that_is_up_are_refused(off: str) -> None:
    """What the order of steps is for."""
    with pytest.raises(OSError, match="Invalid argument"):
        hand(off).take(Step(What.SERVICES, "dc"))
    for step in (Step(What.DOWN), Step(What.SERVICES, "dc"), Step(What.UP)):
        hand(off).take(step)
    assert (seen(off).services_text, seen(off).state) == ("dc", "up")


def test_bound_to_vfio_each_vf_has_a_node_in_dev(off: str) -> None:
    pfs.bring_up(off)
    binder = Binder(SYS, host_calls())
    assert {binder.bind(Binding(vf.address, "vfio-pci")) for vf in vfs_of(off)} == {None}
    bound = vfs_of(off)
    assert len(bound) == ALL and all(vf.on_vfio for vf in bound)
    nodes = {node.path for vf in bound if (node := vf.node(NodeKind.GROUP)) and node.present}
    assert len(nodes) == ALL
    assert all(stat.S_ISCHR(Path(node).stat().st_mode) for node in nodes)


def test_a_driver_that_does_not_take_a_vf_is_told_with_the_kernels_reason(off: str) -> None:
    pfs.bring_up(off)
    first = vfs_of(off)[0].address
    binder = Binder(SYS, host_calls())
    assert binder.bind(Binding(first, "pcieport")) == Refused(
        "No such device", errno.ENODEV
    )  # no port: pcie_portdrv_probe
    assert binder.bind(Binding(first, "no-such-driver")) == Refused("no such driver")
    assert vfs_of(off)[0].driver is None


def test_a_pf_that_is_pulled_out_goes_with_its_vfs_and_comes_back_without(off: str) -> None:
    pfs.bring_up(off)
    others = len(scan().vfs) - ALL
    pfs.remove(off)
    assert off not in {str(pf.address) for pf in scan().pfs}
    assert len(scan().vfs) == others
    pfs.rescan()
    assert seen(off).driver == "4xxx"
    assert vfs_of(off) == []


async def test_of_a_pfs_health_is_seen_what_the_release_tells(bare: list[str]) -> None:
    pf = seen(bare[0])
    probed = await Prober(SYS, host_calls()).probe(pf)
    assert isinstance(probed, ProbeResult)
    unseen = probed.pulse.unseen or {}
    assert probed.pulse.alive is (True if HEARTBEAT else None)
    assert HEARTBEAT or unseen["heartbeat"].endswith("(no debugfs here, or a kernel before 6.6)")
    found, tick = scan(), AttributePoller(SYS, host_calls())
    reading = tick.readings(tick.values(found), found)[pf.address]
    tick.close()
    assert reading.state == "up"
    assert ("ras_fatal" in reading.counters, "ras" in reading.unseen) == (ERROR_COUNTERS, not ERROR_COUNTERS)
