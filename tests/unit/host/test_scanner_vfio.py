"""What SysfsScanner makes of IOMMU groups, and of the nodes that VFIO makes for them."""

import pytest

from qatdp.core.model.snapshot import (
    GroupMember,
    IommuGroup,
    NodeKind,
    VfioNode,
)
from qatdp.simulator.host.groups import Iommu
from qatdp.simulator.host.node import FakeHost, fake_host

pytestmark = pytest.mark.usefixtures("calls")

PF = "0000:6b:00.0"


def group_node(number: int, *, present: bool = True) -> VfioNode:
    return VfioNode(NodeKind.GROUP, f"/dev/vfio/{number}", present)


def test_members_of_a_shared_group_in_the_order_of_addresses(host: FakeHost) -> None:
    pf = host.add_pf(PF, vfs=2)
    bridge = host.add_device("0000:6a:00.0", driver="pcieport")
    number = host.share_group(*reversed(host.vfs(pf)), pf, bridge)
    snapshot = host.scan()
    assert [vf.iommu_group for vf in snapshot.vfs] == [number, number]
    assert snapshot.groups == (
        IommuGroup(
            number,
            (
                GroupMember(bridge, "pcieport", qat_vf=False),
                GroupMember(pf, "4xxx", qat_vf=False),
                GroupMember(host.vfs(pf)[0], "vfio-pci", qat_vf=True),
                GroupMember(host.vfs(pf)[1], "vfio-pci", qat_vf=True),
            ),
        ),
    )


def test_vf_without_iommu_has_no_group_and_no_node() -> None:
    with fake_host(iommu=Iommu.OFF) as host:
        host.add_pf(PF, vfs=1, vf_driver=None)
        snapshot = host.scan()
    assert (snapshot.vfs[0].iommu_group, snapshot.vfs[0].nodes, snapshot.groups) == (None, (), ())
    assert snapshot.problems == ()


def test_noiommu_has_nodes_of_its_own_name() -> None:
    with fake_host(iommu=Iommu.NOIOMMU, cdevs=True) as host:
        host.add_lone_vf("0000:00:06.0")
        host.add_lone_vf("0000:00:07.0", driver=None)
        bound, free = host.scan().vfs
    assert (bound.iommu_group, bound.nodes) == (0, (VfioNode(NodeKind.NOIOMMU, "/dev/vfio/noiommu-0", present=True),))
    assert (free.iommu_group, free.nodes) == (None, ())


def test_cdev_beside_the_groups_node() -> None:
    with fake_host(cdevs=True) as host:
        host.add_pf(PF, vfs=2)
        cdev = VfioNode(NodeKind.CDEV, "/dev/vfio/devices/vfio1", present=True)
        assert host.scan().vfs[1].nodes == (group_node(2), cdev)


def test_folder_of_a_cdev_that_has_no_dev_is_none(host: FakeHost) -> None:
    host.add_pf(PF, vfs=1)
    (vf,) = host.scan().vfs
    assert host.path(vf.address, "vfio-dev/vfio0").is_dir()
    assert [node.kind for node in vf.nodes] == [NodeKind.GROUP]


def test_kernels_before_6_1_have_no_folder_of_cdevs(host: FakeHost) -> None:
    (vf,) = host.vfs(host.add_pf(PF, vfs=1))
    before = host.scan()
    host.attribute(vf, "vfio-dev", None)
    assert host.scan() == before


def test_node_that_dev_does_not_have_is_not_present() -> None:
    with fake_host(cdevs=True) as host:
        (vf,) = host.vfs(host.add_pf(PF, vfs=1))
        host.node(vf).unlink()
        (host.dev / "vfio/devices/vfio0").unlink()
        assert [node.present for node in host.scan().vfs[0].nodes] == [False, False]


@pytest.mark.parametrize("driver", ["vfio-pci", "qat_vfio_pci"])
def test_each_vfio_driver_gives_nodes(host: FakeHost, driver: str) -> None:
    host.load_driver(driver)
    host.add_pf(PF, vfs=1, vf_driver=driver)
    (vf,) = host.scan().vfs
    assert (vf.driver, vf.nodes) == (driver, (group_node(1),))


@pytest.mark.parametrize("driver", [None, "4xxxvf", "uio_pci_generic"])
def test_group_alone_is_no_node(host: FakeHost, driver: str | None) -> None:
    host.add_pf(PF, vfs=1, vf_driver=driver)
    (vf,) = host.scan().vfs
    assert (vf.driver, vf.iommu_group, vf.nodes) == (driver, 1, ())


def test_numa_node_that_the_kernel_does_not_know_is_none(host: FakeHost) -> None:
    host.add_pf(PF, numa_node=-1, vfs=1)
    snapshot = host.scan()
    assert (snapshot.pfs[0].numa_node, snapshot.vfs[0].numa_node) == (None, None)


@pytest.mark.parametrize("content", [b"up\n\0", b"up", b"up \n"])
def test_what_stands_after_a_text_is_no_part_of_it(host: FakeHost, content: bytes) -> None:
    pf = host.add_pf(PF, vfs=0)
    host.attribute(pf, "qat/state", content)
    assert [found.state for found in host.scan().pfs] == ["up"]
