"""A PF that is not on its own driver, or can have no VFs, is nobody's to offer, to change or to count."""

from dataclasses import replace

import pytest
from support.strategies import a_pf, a_snapshot, its_vfs

from qatdp.core.config.model import Config
from qatdp.core.config.spec import Partition, ProvisionSpec
from qatdp.core.model.pf_defects import driver_defect, sriov_defect, why_no_vfs
from qatdp.core.model.qat import FAMILIES, VFIO_DRIVERS, Service
from qatdp.core.model.snapshot import PhysicalFunction, Problem, Snapshot
from qatdp.core.pools.binding import BindMode, plan_bindings
from qatdp.core.pools.placement import of_unknown_services, placements
from qatdp.core.provision.planner import plan
from qatdp.core.reasons import Defect, Reason, defect

DC, GENERIC = Partition(frozenset({Service.DC})), Partition(None)
GEN4 = replace(a_pf("0000:6b:00.0"), state=None, services=None, services_text=None)  # as without its driver
GEN2 = a_pf("0000:3d:00.0", "c62x")
STRANGERS = ("vfio-pci", "qat_vfio_pci", "uio_pci_generic", None)


def reason_for(driver: str | None) -> Reason:
    if driver is None:
        return Reason.PF_NO_DRIVER
    return Reason.PF_GIVEN_AWAY if driver in VFIO_DRIVERS else Reason.PF_FOREIGN_DRIVER


def left_alone(pf: PhysicalFunction, part: Partition, *more: str) -> Reason:
    (one,) = plan(a_snapshot([pf], drivers=more), Config(), ProvisionSpec((part,)), {}).pfs
    assert (one.goal, one.steps, one.later) == (None, (), ())
    assert one.why
    return one.why.reason


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_pf_on_the_driver_of_its_family_has_no_defect(family: object) -> None:
    pf = next(a_pf("0000:6b:00.0", one.name) for one in FAMILIES if one is family)
    assert driver_defect(pf, a_snapshot([pf])) is None
    assert sriov_defect(pf) is None


@pytest.mark.parametrize("driver", STRANGERS)
@pytest.mark.parametrize(("pf", "part"), [(GEN4, DC), (GEN2, GENERIC)], ids=["gen4", "gen2"])
def test_plan_leaves_pf_on_another_driver_alone(pf: PhysicalFunction, part: Partition, driver: str | None) -> None:
    assert left_alone(replace(pf, driver=driver), part) is reason_for(driver)


@pytest.mark.parametrize("driver", STRANGERS)
@pytest.mark.parametrize("pf", [GEN4, GEN2], ids=["gen4", "gen2"])
def test_vf_is_not_healthy_when_its_pf_is_on_another_driver(pf: PhysicalFunction, driver: str | None) -> None:
    of = replace(pf, driver=driver)
    (placement,) = placements(a_snapshot([of], its_vfs(of, 1)), Config()).values()
    assert placement.defect == placement.excluded or placement.resource
    assert placement.defect and placement.defect.reason is reason_for(driver)


def test_vf_of_a_pf_that_lost_its_driver_is_undecided_and_not_generic() -> None:
    of = replace(GEN4, driver="vfio-pci")
    snapshot = a_snapshot([of], its_vfs(of, 1))
    (placement,) = placements(snapshot, Config()).values()
    assert (placement.resource, placement.unknown_services) == (None, True)
    assert not of_unknown_services(snapshot)


@pytest.mark.parametrize("mode", BindMode)
def test_vfs_of_a_pf_on_another_driver_are_not_bound(mode: BindMode) -> None:
    of = replace(GEN2, driver="vfio-pci")
    snapshot = a_snapshot([of], its_vfs(of, 2, driver=None))
    assert plan_bindings(snapshot, Config(), placements(snapshot, Config()), mode) == ()


def test_advice_names_what_to_mend_by_who_has_the_pf() -> None:
    def advice(driver: str | None, *loaded: str) -> Defect | None:
        pf = replace(GEN2, driver=driver)
        return driver_defect(pf, a_snapshot([pf], drivers=loaded))

    assert advice(None) == defect(Reason.PF_NO_DRIVER, module="qat_c62x")
    assert advice(None, "c6xx") == defect(Reason.PF_UNBOUND, own="c6xx")
    assert advice("vfio-pci") == defect(Reason.PF_GIVEN_AWAY, driver="vfio-pci", own="c6xx")
    assert advice("igb_uio") == defect(Reason.PF_FOREIGN_DRIVER, driver="igb_uio", own="c6xx")


def test_driver_that_could_not_be_read_is_not_taken_for_none() -> None:
    pf = replace(GEN4, driver=None)
    snapshot = a_snapshot([pf], its_vfs(pf, 1), problems=[Problem(str(pf.address), "driver cannot be read: EIO")])
    assert driver_defect(pf, snapshot) is None
    (placement,) = placements(snapshot, Config()).values()
    assert "driver cannot be read" in str(placement.defect)


@pytest.mark.parametrize("total", [0, None])
@pytest.mark.parametrize(("pf", "part"), [(a_pf("0000:6b:00.0"), DC), (GEN2, GENERIC)], ids=["gen4", "gen2"])
def test_plan_leaves_pf_without_sriov_alone(pf: PhysicalFunction, part: Partition, total: int | None) -> None:
    assert left_alone(replace(pf, total_vfs=total), part) is Reason.PF_NO_SRIOV


def test_other_pfs_fill_the_wish_when_one_has_no_sriov() -> None:
    pfs = [replace(a_pf("0000:6b:00.0"), total_vfs=0), a_pf("0000:70:00.0"), a_pf("0000:f3:00.0")]
    spec = ProvisionSpec(
        (Partition(frozenset({Service.DC}), percent=50), Partition(frozenset({Service.SYM, Service.ASYM})))
    )
    found = plan(a_snapshot(pfs), Config(), spec, {})
    assert sorted(one.goal is not None for one in found.pfs) == [False, True, True]
    assert sorted(len(one.goal.services or ()) for one in found.pfs if one.goal) == [1, 2]
    assert (found.unmet, found.rounded) == ((), ())


def test_wish_that_names_a_pf_without_sriov_is_not_met() -> None:
    pf = replace(a_pf("0000:6b:00.0"), total_vfs=None)
    spec = ProvisionSpec((replace(DC, pfs=frozenset({pf.address})),))
    (line,) = plan(a_snapshot([pf]), Config(), spec, {}).unmet
    assert "SR-IOV" in line


@pytest.mark.parametrize(
    ("pf", "reason"),
    [
        (GEN2, Reason.PF_NO_VFS),
        (replace(GEN2, total_vfs=0), Reason.PF_NO_SRIOV),
        (replace(GEN2, driver="vfio-pci", total_vfs=0), Reason.PF_GIVEN_AWAY),
        (a_pf("0000:6b:00.0", state="down"), Reason.PF_NO_VFS),
    ],
)
def test_why_a_pf_has_no_vfs(pf: PhysicalFunction, reason: Reason) -> None:
    assert why_no_vfs(pf, Snapshot(pfs=(pf,))).reason is reason
    unread = Snapshot(pfs=(pf,), problems=(Problem(str(pf.address), "cannot be read"),))
    assert why_no_vfs(pf, unread) == defect(Reason.PF_UNREADABLE, problem="cannot be read")
