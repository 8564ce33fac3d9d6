"""What SysfsScanner makes of nodes as kernels show them."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import FAMILIES, Family, Service
from qatdp.core.model.snapshot import (
    GroupMember,
    IommuGroup,
    NodeKind,
    PhysicalFunction,
    Problem,
    Snapshot,
    VfioNode,
    VirtualFunction,
)
from qatdp.host.calls.choose import host_calls
from qatdp.simulator.host.calls import FaultyCalls, RecordingCalls
from qatdp.simulator.host.node import FakeHost

pytestmark = pytest.mark.usefixtures("calls")

FAMILY = {family.name: family for family in FAMILIES}
ASYM, SYM, DC = Service.ASYM, Service.SYM, Service.DC

PF = "0000:6b:00.0"
GEN4_VFS = (
    *(f"0000:6b:00.{function}" for function in range(1, 8)),
    *(f"0000:6b:01.{function}" for function in range(8)),
    "0000:6b:02.0",
)
GEN2_VFS = tuple(f"0000:3d:{device}.{function}" for device in ("01", "02") for function in range(8))


def at(address: str) -> PciAddress:
    return PciAddress.parse(address)


def group_node(number: int, *, present: bool = True) -> VfioNode:
    return VfioNode(NodeKind.GROUP, f"/dev/vfio/{number}", present)


def reasons(snapshot: Snapshot) -> Mapping[str, str]:
    return {problem.where: problem.reason for problem in snapshot.problems}


# Golden trees: group 0 is the first PF's, the VFs have the following numbers.


def test_4xxx_with_16_vfs(host: FakeHost) -> None:
    host.add_pf(PF, "4xxx", "sym;asym", numa_node=0)
    family = FAMILY["4xxx"]
    assert host.scan() == Snapshot(
        pfs=(
            PhysicalFunction(
                at(PF), family, "4xxx", 0, "up", frozenset({SYM, ASYM}), "sym;asym", auto_reset=False, total_vfs=16
            ),
        ),
        vfs=tuple(
            VirtualFunction(at(vf), family, at(PF), index, "vfio-pci", 0, 1 + index, (group_node(1 + index),))
            for index, vf in enumerate(GEN4_VFS)
        ),
        groups=tuple(
            IommuGroup(1 + index, (GroupMember(at(vf), "vfio-pci", qat_vf=True),)) for index, vf in enumerate(GEN4_VFS)
        ),
        problems=(),
        drivers=frozenset({"4xxx", "vfio-pci"}),
    )


def test_c62x_with_16_vfs_on_the_kernels_own_driver(host: FakeHost) -> None:
    host.add_pf("0000:3d:00.0", "c62x", numa_node=1, vf_driver="c6xxvf")
    family = FAMILY["c62x"]
    assert host.scan() == Snapshot(
        pfs=(PhysicalFunction(at("0000:3d:00.0"), family, "c6xx", 1, total_vfs=16),),
        vfs=tuple(
            VirtualFunction(at(vf), family, at("0000:3d:00.0"), index, "c6xxvf", 1, 1 + index)
            for index, vf in enumerate(GEN2_VFS)
        ),
        groups=tuple(
            IommuGroup(1 + index, (GroupMember(at(vf), "c6xxvf", qat_vf=True),)) for index, vf in enumerate(GEN2_VFS)
        ),
        problems=(),
        drivers=frozenset({"c6xx", "c6xxvf", "vfio-pci"}),
    )


def test_6xxx_with_three_services(host: FakeHost) -> None:
    host.add_pf("0000:01:00.0", "6xxx", "asym;sym;dc", numa_node=1, vfs=1, vf_driver=None)
    pf, vf = at("0000:01:00.0"), at("0000:01:00.1")
    services = frozenset({ASYM, SYM, DC})
    assert host.scan() == Snapshot(
        pfs=(
            PhysicalFunction(
                pf, FAMILY["6xxx"], "6xxx", 1, "up", services, "asym;sym;dc", auto_reset=False, total_vfs=16
            ),
        ),
        vfs=(VirtualFunction(vf, FAMILY["6xxx"], pf, 0, None, 1, 1),),
        groups=(IommuGroup(1, (GroupMember(vf, None, qat_vf=True),)),),
        problems=(),
        drivers=frozenset({"6xxx", "vfio-pci"}),
    )


def test_vf_in_a_virtual_machine(host: FakeHost) -> None:
    vf = host.add_lone_vf("0000:00:06.0")
    assert host.scan() == Snapshot(
        vfs=(VirtualFunction(vf, FAMILY["4xxx"], None, None, "vfio-pci", None, 0, (group_node(0),)),),
        groups=(IommuGroup(0, (GroupMember(vf, "vfio-pci", qat_vf=True),)),),
        drivers=frozenset({"vfio-pci"}),
    )


def test_pf_that_is_down_has_no_vfs_and_keeps_its_services(host: FakeHost) -> None:
    pf = host.add_pf(PF, services="dc")
    host.set_state(pf, "down")
    assert host.scan() == Snapshot(
        pfs=(
            PhysicalFunction(
                pf, FAMILY["4xxx"], "4xxx", 0, "down", frozenset({DC}), "dc", auto_reset=False, total_vfs=16
            ),
        ),
        drivers=frozenset({"4xxx", "vfio-pci"}),
    )


def test_a_whole_machine(host: FakeHost) -> None:
    host.fill(pfs=64, vfs=16)
    snapshot = host.scan()
    assert (len(snapshot.pfs), len(snapshot.vfs), len(snapshot.groups), snapshot.problems) == (64, 1024, 1024, ())
    assert list(snapshot.vfs) == sorted(snapshot.vfs, key=lambda vf: vf.address)


# Addresses and families


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_is_known_by_its_ids(host: FakeHost, family: Family) -> None:
    host.add_pf(PF, family.name, vfs=1, vf_driver=None)
    snapshot = host.scan()
    assert [pf.family for pf in snapshot.pfs] == [vf.family for vf in snapshot.vfs] == [family]


def test_domains_of_more_than_four_digits(host: FakeHost) -> None:
    pf = host.add_pf("10000:01:00.0", vfs=2)
    snapshot = host.scan()
    assert [str(vf.address) for vf in snapshot.vfs] == ["10000:01:00.1", "10000:01:00.2"]
    assert {vf.pf for vf in snapshot.vfs} == {pf}
    assert snapshot.problems == ()


def test_order_is_that_of_addresses_and_not_of_their_text(host: FakeHost) -> None:
    for domain in ("10000", "2000", "0000"):
        host.add_pf(f"{domain}:01:00.0", vfs=1)
    snapshot = host.scan()
    assert [str(pf.address) for pf in snapshot.pfs] == ["0000:01:00.0", "2000:01:00.0", "10000:01:00.0"]
    assert [str(vf.address) for vf in snapshot.vfs] == ["0000:01:00.1", "2000:01:00.1", "10000:01:00.1"]
    assert [group.number for group in snapshot.groups] == [1, 3, 5]


def test_vf_on_another_bus_is_found_by_its_link(host: FakeHost) -> None:
    pf = host.add_pf(PF, vfs=0)
    vf = host.add_vf(pf, 5, address="0000:6c:00.1")
    assert [(found.address, found.pf, found.index) for found in host.scan().vfs] == [(vf, pf, 5)]


def test_as_many_vfs_as_there_are_links(host: FakeHost) -> None:
    pf = host.add_pf(PF, vfs=7)
    host.attribute(pf, "sriov_numvfs", "16")
    assert [vf.index for vf in host.scan().vfs] == list(range(7))


def test_device_of_another_vendor_is_none_whatever_its_id(host: FakeHost) -> None:
    host.add_device("0000:17:00.0", vendor=0x1AF4, device=0x4940)
    host.add_device("0000:17:00.1", vendor=0x1AF4, device=0x4941)
    host.add_device("0000:17:00.2", vendor=0x8086, device=0x1592)
    assert host.scan() == Snapshot(drivers=frozenset({"vfio-pci"}))


def test_drivers_are_those_that_concern_qat(host: FakeHost) -> None:
    for driver in ("nvme", "c6xxvf", "qat_vfio_pci", "pcieport"):
        host.load_driver(driver)
    assert host.scan().drivers == {"c6xxvf", "qat_vfio_pci", "vfio-pci"}


def test_names_that_are_no_address_are_no_devices(host: FakeHost) -> None:
    host.add_pf(PF, vfs=1)
    before = host.scan()
    host.attribute("power", "", "")
    assert host.scan() == before


# Services


@pytest.mark.parametrize(
    ("text", "services"),
    [
        ("sym;asym", {SYM, ASYM}),
        ("asym;sym", {SYM, ASYM}),
        ("dc;asym", {DC, ASYM}),
        ("dcc", {Service.DCC}),
        ("sym;new", None),
        ("", None),
    ],
)
def test_services_are_a_set_and_unknown_ones_none(host: FakeHost, text: str, services: set[Service] | None) -> None:
    host.add_pf(PF, services=text, vfs=0)
    (pf,) = host.scan().pfs
    assert (pf.services, pf.services_text) == (services, text)


@pytest.mark.parametrize("line", ["ServicesEnabled = dc", "ServicesEnabled=dc", "ServicesEnabled =  dc "])
def test_services_of_kernels_without_cfg_services_are_those_of_dev_cfg(host: FakeHost, line: str) -> None:
    pf = host.add_pf(PF, vfs=0)
    host.attribute(pf, "qat", None)
    host.dev_cfg(pf).write_text(f"[GENERAL]\nHeartbeatTimer = 200\n{line}\n[KERNEL]\n")
    (found,) = host.scan().pfs
    assert (found.services, found.services_text, found.state) == (frozenset({DC}), "dc", None)


def test_services_are_not_known_without_cfg_services_and_debugfs(host: FakeHost) -> None:
    pf = host.add_pf(PF, vfs=0)
    host.attribute(pf, "qat", None)
    host.dev_cfg(pf).unlink()
    snapshot = host.scan()
    assert (snapshot.pfs[0].services_text, snapshot.problems) == (None, ())


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EFBIG])
def test_debugfs_that_is_closed_is_no_problem(host: FakeHost, number: int) -> None:
    pf = host.add_pf(PF, vfs=0)
    host.attribute(pf, "qat", None)
    snapshot = host.scan(FaultyCalls(host_calls(), {"dev_cfg": number}))
    assert (snapshot.pfs[0].services_text, snapshot.problems) == (None, ())


@pytest.mark.parametrize("dump", ["[KERNEL]\n", "[GENERAL]\nServicesEnabled = sym;asym\n"])
def test_gen2_has_no_services_whatever_dev_cfg_says(host: FakeHost, dump: str) -> None:
    pf = host.add_pf("0000:3d:00.0", "c62x", vfs=0)
    host.dev_cfg(pf).write_text(dump)
    (found,) = host.scan().pfs
    assert (found.services, found.services_text, found.state) == (None, None, None)


def test_cfg_services_without_data_is_a_problem_of_that_pf(host: FakeHost) -> None:
    first, second = host.fill(pfs=2, vfs=1)
    before = host.scan()
    after = host.scan(FaultyCalls(host_calls(), {f"{first}/qat/cfg_services": errno.ENODATA}))
    assert after.problems == (Problem(str(first), "qat/cfg_services cannot be read: No data available"),)
    assert after.pfs[0].services_text is None
    assert (after.pf(second), after.vfs) == (before.pf(second), before.vfs)


# What a scan must not do


def test_scan_changes_nothing(host: FakeHost) -> None:
    host.fill(pfs=2, vfs=4)
    before = picture(host)
    host.scan()
    assert picture(host) == before


def test_scan_writes_nothing_and_opens_nothing_below_dev(host: FakeHost) -> None:
    host.fill(pfs=2, vfs=4)
    calls = RecordingCalls(host_calls())
    host.scan(calls)
    assert {call for call, _ in calls.asked} == {"read", "readlink_name", "listdir", "exists"}
    assert {call for call, path in calls.asked if path.is_relative_to(host.dev)} == {"exists"}


def test_scan_reads_nothing_that_waits_for_a_write_to_the_pf(host: FakeHost) -> None:
    host.fill(pfs=2, vfs=4)
    calls = RecordingCalls(host_calls())
    host.scan(calls)
    assert not {path.name for _, path in calls.asked} & {"sriov_numvfs", "enable", "status"}


def picture(host: FakeHost) -> Mapping[Path, tuple[int, int, int]]:
    root = host.sysfs.parent
    found = [Path(folder, name) for folder, folders, files in os.walk(root) for name in (*folders, *files)]
    states = {path: path.lstat() for path in found}
    return {path: (state.st_mode, state.st_size, state.st_mtime_ns) for path, state in states.items()}
