"""Only VFs that a resource wants are bound, and only from drivers that nobody chose on purpose."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import a_pf, a_snapshot, configs, its_vfs, snapshots

from qatdp.core.config.model import Config, parse_config
from qatdp.core.model.snapshot import Problem, Snapshot
from qatdp.core.pools.binding import Binding, BindMode, plan_bindings
from qatdp.core.pools.placement import placements

PF = a_pf("0000:6b:00.0")
FREE, ON_HOST, ON_VFIO, FOREIGN = (
    replace(vf, driver=driver, nodes=vf.nodes if driver == "vfio-pci" else ())
    for vf, driver in zip(its_vfs(PF, 4), (None, "4xxxvf", "vfio-pci", "uio_pci_generic"), strict=True)
)
DEFAULTS = Config()
NODE = a_snapshot([PF], [FREE, ON_HOST, ON_VFIO, FOREIGN])


def plan(snapshot: Snapshot, mode: BindMode, config: Config = DEFAULTS) -> tuple[Binding, ...]:
    return plan_bindings(snapshot, config, placements(snapshot, config), mode)


@given(snapshots(), configs(), st.sampled_from(BindMode))
def test_only_what_a_resource_wants_and_vfio_has_not_is_bound(
    snapshot: Snapshot, config: Config, mode: BindMode
) -> None:
    found = placements(snapshot, config)
    bindings = plan(snapshot, mode, config)
    assert [one.address for one in bindings] == sorted({one.address for one in bindings})
    for one in bindings:
        vf = snapshot.vf(one.address)
        assert vf is not None
        assert not vf.on_vfio
        assert found[one.address].resource
        assert (one.driver, one.release) == (config.vfio_driver, vf.driver)
        assert one.release in ({None} if mode is BindMode.FREE else {None, vf.family.vf_driver})


@given(snapshots(), configs())
def test_each_mode_binds_what_the_one_before_does(snapshot: Snapshot, config: Config) -> None:
    never, free, take = (set(plan(snapshot, mode, config)) for mode in BindMode)
    assert never == set()
    assert free <= take


def test_free_binds_what_has_no_driver() -> None:
    assert plan(NODE, BindMode.FREE) == (Binding(FREE.address, "vfio-pci"),)


def test_take_takes_from_the_kernels_own_vf_drivers_only() -> None:
    assert plan(NODE, BindMode.TAKE) == (
        Binding(FREE.address, "vfio-pci"),
        Binding(ON_HOST.address, "vfio-pci", release="4xxxvf"),
    )


def test_the_driver_is_the_configured_one() -> None:
    config = parse_config({"version": 1, "vfioDriver": "qat_vfio_pci"})
    assert plan(NODE, BindMode.FREE, config) == (Binding(FREE.address, "qat_vfio_pci"),)


@pytest.mark.parametrize(
    ("snapshot", "keys"),
    [
        (NODE, {"hostReserved": [{"vfs": 1}]}),
        (NODE, {"resources": [{"name": "dc", "services": ["dc"]}]}),
        (a_snapshot([], [FREE]), {}),  # its PF cannot be read
        (a_snapshot([PF], [FREE], problems=[Problem(str(FREE.address), "cannot read iommu_group")]), {}),
    ],
)
def test_what_is_not_wanted_or_not_known_is_left_alone(snapshot: Snapshot, keys: dict[str, object]) -> None:
    assert plan(snapshot, BindMode.FREE, parse_config({"version": 1, **keys})) == ()
