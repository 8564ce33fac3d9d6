"""What SysfsScanner makes of nodes with gaps: what cannot be read, is on its way, or was never there."""

import errno
from collections.abc import Mapping
from pathlib import Path

import pytest

from qatdp.core.model.qat import FAMILIES
from qatdp.core.model.snapshot import (
    PhysicalFunction,
    Problem,
    Snapshot,
)
from qatdp.host.calls.choose import host_calls
from qatdp.host.scanner import SysfsScanner
from qatdp.simulator.host.calls import FaultyCalls
from qatdp.simulator.host.node import FakeHost

pytestmark = pytest.mark.usefixtures("calls")

FAMILY = {family.name: family for family in FAMILIES}
PF = "0000:6b:00.0"


def reasons(snapshot: Snapshot) -> Mapping[str, str]:
    return {problem.where: problem.reason for problem in snapshot.problems}


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR])
@pytest.mark.parametrize("name", ["qat/state", "virtfn1", "iommu_group"])
def test_what_goes_at_that_moment_is_no_problem(host: FakeHost, name: str, number: int) -> None:
    host.add_pf(PF, vfs=2)
    assert host.scan(FaultyCalls(host_calls(), {name: number})).problems == ()


def test_a_folder_that_cannot_be_listed_is_a_problem(host: FakeHost) -> None:
    pf = host.add_pf(PF, vfs=1)
    (vf,) = host.vfs(pf)
    faults = {f"devices/{pf}": errno.EIO, f"{vf}/vfio-dev": errno.EACCES}
    assert reasons(host.scan(FaultyCalls(host_calls(), faults))) == {
        str(pf): "cannot be listed: Input/output error",
        str(host.path(vf, "vfio-dev")): "cannot be listed: Permission denied",
    }


def test_problems_are_in_order_and_each_is_told_once(host: FakeHost) -> None:
    first, second = host.vfs(host.add_pf(PF, vfs=2))
    host.fifo(first, "numa_node")
    host.fifo(second, "vendor")
    host.add_device("0000:17:00.0")
    host.share_group("0000:17:00.0", first)
    faults = {"0000:17:00.0/driver": errno.EIO}
    assert host.scan(FaultyCalls(host_calls(), faults)).problems == (
        Problem("0000:17:00.0", "driver cannot be read: Input/output error"),
        Problem(str(first), "numa_node cannot be read: Invalid argument"),
        Problem(str(second), "vendor cannot be read: Invalid argument"),
    )


def test_pf_without_a_driver(host: FakeHost) -> None:
    pf = host.add_pf(PF, bound=False)
    snapshot = host.scan()
    assert snapshot.pfs == (PhysicalFunction(pf, FAMILY["4xxx"], None, 0, total_vfs=16),)
    assert (snapshot.vfs, snapshot.problems) == ((), ())


def test_vf_whose_id_cannot_be_read_is_known_by_its_pf(host: FakeHost) -> None:
    pf = host.add_pf(PF, vfs=2)
    before = host.scan()
    host.fifo(host.vfs(pf)[0], "device")
    after = host.scan()
    assert after.vfs == before.vfs
    assert reasons(after) == {"0000:6b:00.1": "device cannot be read: Invalid argument"}


def test_link_to_a_vf_that_is_not_there_is_a_problem_of_that_vf(host: FakeHost) -> None:
    pf = host.add_pf(PF, vfs=2)
    before = host.scan()
    host.link(pf, "virtfn15", "../0000:6b:02.0")
    after = host.scan()
    assert (after.pfs, after.vfs) == (before.pfs, before.vfs)
    assert reasons(after) == {"0000:6b:02.0": f"virtfn15 of {pf} points to it, but it is not there"}


def test_vf_that_its_pf_does_not_name_yet_has_its_pf_by_physfn(host: FakeHost) -> None:
    pf = host.add_pf(PF, vfs=2)
    host.attribute(pf, "virtfn1", None)
    snapshot = host.scan()
    assert [(vf.pf, vf.index) for vf in snapshot.vfs] == [(pf, 0), (pf, None)]
    assert snapshot.problems == ()


def test_vf_without_physfn_is_a_problem_where_pfs_of_its_family_are(host: FakeHost) -> None:
    pf = host.add_pf(PF, vfs=2)
    vf = host.vfs(pf)[1]
    host.attribute(pf, "virtfn1", None)
    host.attribute(vf, "physfn", None)
    assert reasons(host.scan()) == {str(vf): "has no physfn link, though PFs of its family are here"}


def test_vf_without_physfn_is_no_problem_beside_pfs_of_another_family(host: FakeHost) -> None:
    host.add_pf("0000:3d:00.0", "c62x", vfs=0)
    vf = host.add_lone_vf("0000:00:06.0", "4xxx")
    snapshot = host.scan()
    assert ([found.address for found in snapshot.vfs], snapshot.problems) == ([vf], ())


def test_device_of_others_that_cannot_be_read_is_nobodys_problem_but_its_own(host: FakeHost) -> None:
    host.add_pf(PF, vfs=2)
    host.add_device("0000:17:00.0")
    before = host.scan()
    host.fifo("0000:17:00.0", "vendor")
    after = host.scan()
    assert (after.pfs, after.vfs, after.groups) == (before.pfs, before.vfs, before.groups)
    assert reasons(after) == {"0000:17:00.0": "vendor cannot be read: Invalid argument"}


def test_node_without_qat_is_an_empty_snapshot(host: FakeHost) -> None:
    assert host.scan() == Snapshot(drivers=frozenset({"vfio-pci"}))


def test_machine_without_pci_is_a_problem_that_says_where(tmp_path: Path) -> None:
    snapshot = SysfsScanner(tmp_path / "sys", tmp_path / "dev", host_calls()).scan()
    where = str(tmp_path / "sys/bus/pci/devices")
    assert snapshot == Snapshot(problems=(Problem(where, "cannot be listed: No such file or directory"),))
