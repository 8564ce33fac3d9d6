"""What is said of a node that has nothing to offer names the cause and helps; one that has VFs is not spoken of."""

import pytest

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import FAMILIES
from qatdp.core.model.snapshot import PhysicalFunction, Problem, Snapshot, VirtualFunction
from qatdp.core.status.advice import advice

GEN4 = next(family for family in FAMILIES if family.name == "4xxx")
GEN2 = next(family for family in FAMILIES if family.name == "c62x")
FIRST, SECOND = PciAddress(0, 0x6B, 0, 0), PciAddress(0, 0x70, 0, 0)
UP = PhysicalFunction(FIRST, GEN4, driver=GEN4.pf_driver, state="up")


@pytest.mark.parametrize(
    ("pfs", "reason", "hints"),
    [
        ((), "no QAT device was found", ["lspci -d 8086::0b40", "BIOS"]),
        ((UP,), "1 PF, and no VF", ["sriov_numvfs", "qatdp provision", "sriov_totalvfs"]),
        ((UP, PhysicalFunction(SECOND, GEN2)), "2 PFs, and no VF; 1 PF without a driver", [f"modprobe {GEN2.module} "]),
        (
            (PhysicalFunction(FIRST, GEN4), PhysicalFunction(SECOND, GEN2)),
            "2 PFs, and no VF; 2 PFs without a driver",
            [f"modprobe {GEN4.module} and modprobe {GEN2.module} ", "sriov_numvfs"],
        ),
    ],
)
def test_advice_names_cause_and_remedy(pfs: tuple[PhysicalFunction, ...], reason: str, hints: list[str]) -> None:
    found = advice(Snapshot(pfs=pfs))
    assert found is not None
    assert found.reason == reason
    assert [hint for hint in hints if hint not in found.hint] == []


def test_advice_is_none_when_there_are_vfs() -> None:
    assert advice(Snapshot(vfs=(VirtualFunction(FIRST, GEN4),))) is None


def test_advice_is_none_when_devices_cannot_be_listed() -> None:
    assert advice(Snapshot(problems=(Problem("/sys/bus/pci/devices", "cannot be listed: Permission denied"),))) is None
