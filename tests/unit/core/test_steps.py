"""What makes one PF what it should be: each step only where it is needed, in the order that the driver wants."""

from dataclasses import replace

import pytest
from support.strategies import SLOTS, a_pf, its_vfs

from qatdp.core.model.qat import Service
from qatdp.core.model.snapshot import PhysicalFunction
from qatdp.core.provision.steps import Goal, Step, What, may_take, needed_steps

CY, DC = frozenset({Service.SYM, Service.ASYM}), frozenset({Service.DC})
UP, DOWN = a_pf(SLOTS[0], services="dc"), a_pf(SLOTS[0], services="dc", state="down")
NO_PROBE, VFS, BIND = Step(What.NO_PROBE), Step(What.VFS), Step(What.BIND, "vfio-pci")
AGAIN = [NO_PROBE, VFS, BIND]


def steps(pf: PhysicalFunction, goal: Goal, *, vfs: int = 2, driver: str | None = "vfio-pci") -> list[Step]:
    return list(needed_steps(pf, its_vfs(pf, vfs, driver=driver), goal))


def test_a_pf_that_is_as_it_should_be_needs_nothing() -> None:
    assert steps(UP, Goal(DC)) == []


def test_services_are_written_while_the_pf_is_down_alone() -> None:
    written = [Step(What.SERVICES, "sym;asym"), Step(What.UP)]
    assert steps(UP, Goal(CY)) == [Step(What.DOWN), *written, *AGAIN]
    assert steps(UP, Goal(CY), vfs=0) == [Step(What.DOWN), *written, *AGAIN]
    assert steps(DOWN, Goal(CY), vfs=0) == [*written, *AGAIN]


def test_vfs_of_a_pf_that_is_said_to_be_down_are_taken_away_all_the_same() -> None:
    assert steps(DOWN, Goal(CY))[0] == Step(What.DOWN)


def test_a_pf_that_is_down_is_brought_up_with_its_vfs() -> None:
    assert steps(DOWN, Goal(DC), vfs=0) == [Step(What.UP), *AGAIN]
    assert steps(DOWN, Goal(None), vfs=0) == [Step(What.UP), *AGAIN]


def test_a_pf_without_vfs_gets_them() -> None:
    assert steps(UP, Goal(DC), vfs=0) == AGAIN


def test_auto_reset_is_switched_where_the_kernel_has_it_otherwise() -> None:
    on, off = replace(UP, auto_reset=True), replace(UP, auto_reset=False)
    assert steps(on, Goal(DC, auto_reset=False)) == [Step(What.AUTO_RESET, "off")]
    assert steps(off, Goal(DC, auto_reset=True)) == [Step(What.AUTO_RESET, "on")]
    assert steps(on, Goal(DC, auto_reset=True)) == steps(on, Goal(DC)) == []
    assert steps(UP, Goal(DC, auto_reset=True)) == []


def test_first_vfs_that_the_host_keeps_are_left_to_its_drivers() -> None:
    kept = Goal(DC, kept=2)
    assert steps(UP, kept, driver=None) == []
    assert steps(UP, kept, vfs=3, driver=None) == [Step(What.BIND, "vfio-pci", 2)]
    assert steps(UP, kept, vfs=0) == [VFS, Step(What.BIND, "vfio-pci", 2)]


def test_a_vf_whose_place_is_not_known_is_none_of_the_hosts() -> None:
    (vf,) = its_vfs(UP, 1, driver=None)
    assert needed_steps(UP, [replace(vf, index=None)], Goal(DC, kept=2)) == (Step(What.BIND, "vfio-pci", 2),)


@pytest.mark.parametrize("driver", [None, "4xxxvf", "qat_vfio_pci"])
def test_vfs_that_nobody_has_put_elsewhere_are_bound(driver: str | None) -> None:
    assert steps(UP, Goal(DC), driver=driver) == [BIND]
    assert may_take(driver, "4xxxvf")


def test_vfs_that_somebody_has_put_elsewhere_stay_there() -> None:
    assert steps(UP, Goal(DC), driver="uio_pci_generic") == []
    assert not may_take("uio_pci_generic", "4xxxvf")


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (Step(What.DOWN), "down"),
        (Step(What.SERVICES, "dc"), "services dc"),
        (Step(What.UP), "up"),
        (Step(What.AUTO_RESET, "on"), "auto_reset on"),
        (NO_PROBE, "autoprobe off"),
        (VFS, "enable VFs"),
        (BIND, "bind to vfio-pci"),
    ],
)
def test_each_is_told_in_words(step: Step, told: str) -> None:
    assert str(step) == told
