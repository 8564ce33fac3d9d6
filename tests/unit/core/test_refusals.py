"""Each refusal that is known has a cause and a remedy, the same whoever met it."""

import errno
import re

import pytest

from qatdp.core.model.qat import FAMILIES, QAT_VFIO_PCI_FAMILIES
from qatdp.core.provision.refusals import TABLE, Refused, bind_refusal, remedy
from qatdp.core.provision.steps import What

FAMILY = {family.name: family for family in FAMILIES}
BY_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)


def why(what: What, number: int, state: str | None = None) -> str:
    return str(remedy(what, number, state)).lower()


def why_not_bound(family: str, driver: str, number: int | None, *, loaded: bool = True, has_group: bool = True) -> str:
    return bind_refusal(FAMILY[family], driver, Refused("no", number), loaded=loaded, has_group=has_group)


def test_each_entry_has_a_cause_and_a_remedy() -> None:
    for one in TABLE.values():
        assert one.cause and one.remedy
        assert not re.search(r"[.\n]$", str(one))


@pytest.mark.parametrize("what", What)
@pytest.mark.parametrize("number", [*BY_PERMISSION, errno.EBUSY, errno.EINVAL, errno.ENODEV, errno.ENOENT, errno.EIO])
def test_every_step_has_a_remedy_for_what_any_can_meet(what: What, number: int) -> None:
    assert remedy(what, number) is not None


@pytest.mark.parametrize(
    ("what", "number", "words"),
    [
        (What.VFS, errno.EINVAL, ["iommu"]),
        (What.VFS, errno.ENOMEM, ["bios", "mmio", "pci=realloc"]),
        (What.VFS, errno.EBUSY, ["kernel itself"]),
        (What.UP, errno.EFAULT, ["firmware"]),
        (What.SERVICES, errno.EINVAL, ["does not know these services"]),
        (What.DOWN, errno.EACCES, ["root"]),
        (What.NO_PROBE, errno.EROFS, ["read-only", "mount"]),
        (What.AUTO_RESET, errno.EPERM, ["lockdown"]),
    ],
)
def test_remedy_names_what_to_mend(what: What, number: int, words: list[str]) -> None:
    assert all(word in why(what, number) for word in words)


@pytest.mark.parametrize("what", [What.DOWN, What.UP, What.VFS])
def test_busy_pf_is_in_reset_when_down_and_else_in_use(what: What) -> None:
    assert "reset" in why(what, errno.EBUSY, "down")
    for state in ("up", None):  # None: before gen4
        assert "kernel itself uses it" in why(what, errno.EBUSY, state)


def test_remedy_is_none_for_what_nobody_has_seen() -> None:
    assert remedy(What.DOWN, errno.EXDEV) is None


def test_vf_is_not_bound_to_a_driver_that_is_not_loaded() -> None:
    assert "modprobe qat_vfio_pci" in why_not_bound("4xxx", "qat_vfio_pci", errno.EINVAL, loaded=False)


@pytest.mark.parametrize("family", FAMILY)
def test_denylist_is_of_vfio_pci_and_some_families_alone(family: str) -> None:
    told = why_not_bound(family, "vfio-pci", errno.EINVAL)
    assert ("denylist" in told and "disable_denylist=1" in told) == FAMILY[family].denylisted
    other = why_not_bound(family, "qat_vfio_pci", errno.EINVAL)
    assert ("vfioDriver: vfio-pci" in other) == (family not in QAT_VFIO_PCI_FAMILIES)
    assert "qat_vfio_pci disable_denylist" not in other
    assert "its denylist" not in other


def test_vf_without_a_group_is_not_bound_for_lack_of_an_iommu() -> None:
    assert "IOMMU" in why_not_bound("4xxx", "vfio-pci", errno.EINVAL, has_group=False)
    assert "IOMMU" not in why_not_bound("4xxx", "vfio-pci", errno.EINVAL)


@pytest.mark.parametrize("number", [None, errno.EXDEV])
def test_bind_that_nothing_is_known_of_leads_to_the_log(number: int | None) -> None:
    assert why_not_bound("4xxx", "vfio-pci", number) == "vfio-pci refused it: no (see the kernel's log)"
