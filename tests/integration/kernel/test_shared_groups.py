"""PFs whose root port isolates nothing (no ACS): port, PF and VFs are one IOMMU group, which VFIO hands out to nobody.

tests/integration/kernel/run boots a machine of its own for this file.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from ground import pfs

from qatdp.core.model.snapshot import IommuGroup
from qatdp.host.calls.abc import HostCalls
from qatdp.host.calls.choose import host_calls
from qatdp.host.calls.portable import PortableCalls
from qatdp.host.scanner import SysfsScanner

SYS, DEV = Path("/sys"), Path("/dev")
QATDP = Path(sys.executable).with_name("qatdp")


@pytest.fixture(scope="module")
def bound(services: Mapping[str, str]) -> list[str]:
    """The PFs, all of whose VFs are on vfio-pci, which takes them all the same."""
    for pf in services:
        for vf in pfs.vf_addresses(pf):
            pfs.give(vf, "vfio-pci")
    return sorted(services)


def groups() -> tuple[IommuGroup, ...]:
    return SysfsScanner(SYS, DEV, host_calls()).scan().groups


def test_a_pf_its_port_and_its_vfs_are_one_group(bound: list[str]) -> None:
    found = groups()
    assert len(found) == len(bound)
    for group in found:
        drivers = [member.driver for member in group.members if not member.qat_vf]
        assert sorted(map(str, drivers)) == ["4xxx", "pcieport"]
        assert sum(member.qat_vf for member in group.members) == 16


def test_vfio_says_that_such_a_group_is_not_viable_to_either_implementation(bound: list[str], c: HostCalls) -> None:
    for group in groups():
        for calls in (c, PortableCalls()):
            assert not calls.vfio_group(DEV / "vfio" / str(group.number)).viable


def test_none_is_offered_and_each_says_why(bound: list[str]) -> None:
    said = subprocess.run([QATDP, "devices", "--output", "json"], check=True, stdout=subprocess.PIPE).stdout
    rows = {row["address"]: row for row in json.loads(said)["devices"]}
    assert len(rows) == 16 * len(bound)
    assert {row["health"] for row in rows.values()} == {None}
    for pf in bound:
        first, *others = sorted(pfs.vf_addresses(pf))
        number = (pfs.DEVICES / first / "iommu_group").resolve().name
        assert rows[first]["message"] == f"IOMMU group {number} is not viable: driver 4xxx has {pf} in it"
        assert {rows[vf]["message"] for vf in others} == {
            f"shares IOMMU group {number} with {first}, which stands for the group"
        }
