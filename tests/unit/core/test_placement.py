"""Each VF has one place, and at most one defect that is named first: the one to mend first."""

from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import given
from support.strategies import FAMILY, IN_MACHINE, a_pf, a_snapshot, a_vf, configs, its_vfs, snapshots

from qatdp.core.config.model import Config, DeviceNode, parse_config
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import GroupMember, NodeKind, PhysicalFunction, Problem, Snapshot, VfioNode
from qatdp.core.pools.checks import defect_of
from qatdp.core.pools.placement import (
    Placement,
    of_unknown_services,
    of_unknown_words,
    placements,
    resource_of,
)
from qatdp.core.pools.stale import Stale
from qatdp.core.pools.view import PlacementContext, node_of, view_of
from qatdp.core.reasons import Reason, defect

PF = a_pf("0000:6b:00.0")
(VF,) = its_vfs(PF, 1)
UNBOUND = replace(VF, driver=None, nodes=())
ON_HOST = replace(UNBOUND, driver="4xxxvf")
DEFAULTS = Config()
FENCED = defect(Reason.PF_FENCED, evidence="qat/state", pf="0000:6b:00.0")


def config(*rules: dict[str, object], **keys: object) -> Config:
    return parse_config({"version": 1, "resources": list(rules), **keys})


def offer_of_first(snapshot: Snapshot, of: Config = DEFAULTS, context: PlacementContext | None = None) -> Placement:
    found = placements(snapshot, of, context) if context else placements(snapshot, of)
    return found[snapshot.vfs[0].address]


@given(snapshots(), configs())
def test_every_vf_has_a_place_or_a_reason(snapshot: Snapshot, of: Config) -> None:
    found = placements(snapshot, of)
    assert found.keys() == {vf.address for vf in snapshot.vfs}
    for placement in found.values():
        assert (placement.resource is None) == (placement.excluded is not None)
        assert placement.defect is not None or not placement.unknown_services


@given(snapshots(), configs())
def test_of_each_group_one_vf_at_most_has_a_place_and_one_has_where_any_can(snapshot: Snapshot, of: Config) -> None:
    found = placements(snapshot, of)
    for group in snapshot.groups:
        members = [member.address for member in group.members if member.qat_vf]
        placed = [address for address in members if found[address].resource or found[address].unknown_services]
        apart = placements(replace(snapshot, groups=()), of)
        able = [address for address in members if apart[address].resource or apart[address].unknown_services]
        assert placed == able[:1]


def test_one_that_is_kept_for_the_host_or_that_nothing_selects_does_not_stand_for_its_group() -> None:
    other = a_pf("0000:70:00.0", services="dc")
    mine, theirs = its_vfs(PF, 2), its_vfs(other, 2)
    vfs = [replace(vf, iommu_group=7) for vf in (*mine, *theirs)]
    snapshot = a_snapshot([PF, other], vfs)

    def stands(of: Config, read: Collection[PciAddress] = ()) -> list[PciAddress]:
        return [
            address
            for address, placement in placements(snapshot, of, read=frozenset(read)).items()
            if placement.resource
        ]

    assert stands(DEFAULTS) == [mine[0].address]
    assert stands(config({"name": "a"}, hostReserved=[{"vfs": 1}])) == [mine[1].address]
    assert stands(config({"name": "a", "services": ["dc"]})) == [theirs[0].address]
    assert stands(DEFAULTS, [theirs[1].address]) == [theirs[1].address]
    # What is in a list and has no place any more keeps the others waiting until it has left.
    assert stands(config({"name": "a", "services": ["dc"]}), [mine[0].address]) == []


def test_of_two_in_a_group_the_one_that_can_be_offered_stands_for_it() -> None:
    vfs = [replace(vf, iommu_group=7) for vf in its_vfs(PF, 2)]
    found = placements(a_snapshot([PF], vfs), config(hostReserved=[{"vfs": 1}]))
    assert [placement.resource for placement in found.values()] == [None, "qat.intel.com/cy"]


def test_one_that_cannot_be_seen_now_may_stand_for_its_group() -> None:
    unseen = GroupMember(PF.address, "vfio-pci", qat_vf=True)
    placement = offer_of_first(a_snapshot([PF], [VF], others={0: [unseen]}))
    assert placement.excluded == defect(Reason.GROUP_REPRESENTED, group=0, vf="0000:6b:00.0")


def test_offer_of_vf_without_iommu_has_a_defect_unless_allowed() -> None:
    vf = replace(VF, nodes=(VfioNode(NodeKind.NOIOMMU, "/dev/vfio/noiommu-7", present=True),))
    refused = offer_of_first(a_snapshot([PF], [vf]))
    assert refused.resource == "qat.intel.com/cy"
    assert refused.defect == defect(Reason.NO_IOMMU_MODE, node="/dev/vfio/noiommu-7")
    assert offer_of_first(a_snapshot([PF], [vf]), config(allowNoIommu=True)) == Placement("qat.intel.com/cy", None)


def test_a_good_vf_has_no_defect() -> None:
    assert offer_of_first(a_snapshot([PF], [VF])) == Placement("qat.intel.com/cy")


@pytest.mark.parametrize(
    ("family", "services", "resource"),
    [
        ("4xxx", "asym;sym", "cy"),
        ("4xxx", "dc", "dc"),
        ("6xxx", "dc;sym;asym", "asym-sym-dc"),
        ("4xxx", "sym;new", "generic"),
        ("4xxx", None, "generic"),
        ("c62x", "sym;asym", "generic"),  # not selectable before the fourth generation
    ],
)
def test_default_resources(family: str, services: str | None, resource: str) -> None:
    pf = a_pf("0000:6b:00.0", family, services)
    assert offer_of_first(a_snapshot([pf], its_vfs(pf, 1))) == Placement(f"qat.intel.com/{resource}")


def test_a_function_before_the_fourth_generation_is_generic_whatever_is_written_of_it() -> None:
    pf = replace(a_pf("0000:6b:00.0", "c62x"), services=PF.services, services_text=PF.services_text)
    assert offer_of_first(a_snapshot([pf], its_vfs(pf, 1))) == Placement("qat.intel.com/generic")


def test_a_vf_in_a_virtual_machine_is_generic_or_what_a_rule_says() -> None:
    vf = a_vf(IN_MACHINE[0], FAMILY["4xxx"], "vfio-pci", 1)
    assert offer_of_first(a_snapshot(vfs=[vf])) == Placement("qat.intel.com/generic")
    by_family = config({"name": "inside", "families": ["4xxx"]})
    assert offer_of_first(a_snapshot(vfs=[vf]), by_family) == Placement("qat.intel.com/inside")
    by_pf = config({"name": "inside", "pfs": ["0000:6b:00.0"]})
    assert offer_of_first(a_snapshot(vfs=[vf]), by_pf) == Placement(excluded=defect(Reason.NOT_SELECTED))


def test_the_first_rule_that_selects_a_vf_names_it() -> None:
    narrow: dict[str, object] = {"name": "near", "numaNodes": [0]}
    wide: dict[str, object] = {"name": "any"}
    assert resource_of(VF, PF, config(narrow, wide)) == "qat.intel.com/near"
    assert resource_of(VF, PF, config(wide, narrow)) == "qat.intel.com/any"


@pytest.mark.parametrize(
    ("rule", "selects"),
    [
        ({}, True),
        ({"services": ["asym", "sym"]}, True),
        ({"services": ["sym"]}, False),
        ({"services": ["generic", ["sym", "asym"]]}, True),
        ({"services": "generic"}, False),
        ({"pfs": ["0000:6b:00.0"]}, True),
        ({"pfs": ["10000:6b:00.0"]}, False),
        ({"numaNodes": [0, 1]}, True),
        ({"numaNodes": [1]}, False),
        ({"families": ["4xxx", "6xxx"]}, True),
        ({"families": ["401xx"]}, False),
        ({"drivers": ["vfio-pci"]}, True),
        ({"drivers": ["qat_vfio_pci"]}, False),
        ({"numaNodes": [0], "families": ["6xxx"]}, False),  # all of it must be true
    ],
)
def test_what_a_rule_selects(rule: dict[str, object], selects: bool) -> None:  # noqa: FBT001
    assert (resource_of(VF, PF, config({"name": "fast", **rule})) is not None) == selects


def test_a_vf_without_a_driver_counts_as_on_the_one_it_would_be_bound_to() -> None:
    assert resource_of(UNBOUND, PF, config({"name": "a", "drivers": ["vfio-pci"]}))
    assert not resource_of(UNBOUND, PF, config({"name": "a", "drivers": ["vfio-pci"]}, vfioDriver="qat_vfio_pci"))
    assert resource_of(VF, PF, config({"name": "a", "drivers": ["vfio-pci"]}, vfioDriver="qat_vfio_pci"))
    assert resource_of(ON_HOST, PF, config({"name": "a", "drivers": ["vfio-pci"]}))  # --bind=take gives it to that


def test_the_first_vfs_of_each_pf_stay_with_the_host() -> None:
    other = a_pf("0000:70:00.0")
    snapshot = a_snapshot([PF, other], [*its_vfs(PF, 3), *its_vfs(other, 3)])
    shares = [{"vfs": 1}, {"vfs": 2, "pfs": ["0000:70:00.0"]}]
    found = placements(snapshot, config(hostReserved=shares))
    assert [str(address) for address, placement in found.items() if placement.resource is None] == [
        "0000:6b:00.1",
        "0000:70:00.1",
        "0000:70:00.2",
    ]
    assert found[PciAddress.parse("0000:70:00.2")].excluded == defect(Reason.HOST_RESERVED, count=2)


@pytest.mark.parametrize(("services", "resource"), [(None, None), ("sym;asym", "qat.intel.com/cy")])
def test_a_vf_of_a_pf_that_is_down_is_never_generic(services: str | None, resource: str | None) -> None:
    down = a_pf("0000:6b:00.0", services=services, state="down")
    placement = offer_of_first(a_snapshot([down], its_vfs(down, 1)))
    assert (placement.resource, placement.unknown_services) == (resource, resource is None)
    assert placement.defect == defect(Reason.PF_DOWN, evidence="is down", pf="0000:6b:00.0")


def test_a_vf_whose_pf_cannot_be_read_is_undecided() -> None:
    vfs = its_vfs(PF, 1)
    gone = offer_of_first(a_snapshot([], vfs))
    assert (gone.unknown_services, gone.excluded) == (
        True,
        defect(Reason.PF_UNREADABLE, problem="is not there", pf="0000:6b:00.0"),
    )
    dead = offer_of_first(a_snapshot([], vfs, problems=[Problem("0000:6b:00.0", "cannot read device: EIO")]))
    assert dead.excluded == defect(Reason.PF_UNREADABLE, problem="cannot read device: EIO", pf="0000:6b:00.0")
    unreadable = replace(PF, services=None, services_text=None)
    placement = offer_of_first(a_snapshot([unreadable], vfs, problems=[Problem("0000:6b:00.0", "cannot read it: EIO")]))
    assert placement.unknown_services
    assert "EIO" in str(placement.excluded)


@pytest.mark.parametrize("text", ["", ";", " ; "])
def test_a_vf_whose_pf_has_no_services_configured_is_undecided(text: str) -> None:
    pf = a_pf("0000:6b:00.0", services=text)
    placement = offer_of_first(a_snapshot([pf], its_vfs(pf, 1)))
    assert placement.unknown_services
    assert placement.excluded == placement.defect == defect(Reason.PF_NO_SERVICES, pf="0000:6b:00.0")


def test_services_are_unknown_where_a_driver_that_could_tell_them_does_not() -> None:
    silent = replace(PF, state=None, services=None, services_text=None)
    assert of_unknown_services(a_snapshot([silent])) == {PF.address}
    assert not of_unknown_services(a_snapshot([silent], problems=[Problem(str(PF.address), "cannot be read")]))
    for other in (
        PF,
        replace(PF, services=None, services_text="sym;new"),
        replace(silent, driver=None),
        replace(silent, state="down"),
        a_pf("0000:3d:00.0", "c62x"),
    ):
        assert not of_unknown_services(a_snapshot([other]))


STRANGER = GroupMember(PciAddress.parse("0000:6b:03.0"), "ixgbe", qat_vf=False)
BRIDGE = GroupMember(PciAddress.parse("0000:6a:00.0"), "pcieport", qat_vf=False)
NODE_GONE = replace(VF, nodes=(VfioNode(NodeKind.GROUP, "/dev/vfio/0", present=False),))


@pytest.mark.parametrize(
    ("snapshot", "reason"),
    [
        (a_snapshot([PF], [VF], problems=[Problem("0000:6b:00.1", "cannot read numa_node")]), Reason.UNREADABLE),
        (a_snapshot([PF], [VF], problems=[Problem("0000:6b:00.0", "cannot read it")]), Reason.PF_UNREADABLE),
        (a_snapshot([replace(PF, driver=None)], [VF]), Reason.PF_NO_DRIVER),
        (a_snapshot([PF], [UNBOUND]), Reason.NO_DRIVER),
        (a_snapshot([PF], [UNBOUND], drivers=()), Reason.VFIO_NOT_LOADED),
        (a_snapshot([PF], [ON_HOST]), Reason.KERNEL_DRIVER),
        (a_snapshot([PF], [ON_HOST], drivers=()), Reason.VFIO_NOT_LOADED),
        (a_snapshot([PF], [replace(VF, iommu_group=None)]), Reason.NO_IOMMU_GROUP),
        (a_snapshot([PF], [VF], others={0: [STRANGER]}), Reason.GROUP_NOT_VIABLE),
        (a_snapshot([PF], [replace(VF, nodes=())]), Reason.NO_DEVICE_NODE),
        (a_snapshot([PF], [NODE_GONE]), Reason.DEVICE_NODE_MISSING),
    ],
)
def test_placement_names_what_is_wrong_with_a_vf(snapshot: Snapshot, reason: Reason) -> None:
    placement = offer_of_first(snapshot)
    assert placement.resource == "qat.intel.com/cy"
    assert placement.defect and placement.defect.reason is reason


@pytest.mark.parametrize("driver", ["igb_uio", "uio_pci_generic", "nvme"])
@pytest.mark.parametrize("drivers", [("vfio-pci",), ()])
def test_vf_that_nobody_takes_is_not_promised_to_be_taken(driver: str, drivers: tuple[str, ...]) -> None:
    placement = offer_of_first(a_snapshot([PF], [replace(UNBOUND, driver=driver)], drivers=drivers))
    assert placement.defect == defect(Reason.FOREIGN_DRIVER, driver=driver)
    assert "--bind" not in str(placement.defect)


def test_words_that_are_no_services_are_told_with_their_pf() -> None:
    pfs = [PF, a_pf("0000:70:00.0", services="sym;new; odd"), a_pf("0000:f3:00.0", services="cy;dc")]
    assert of_unknown_words(a_snapshot(pfs)) == {(pfs[1].address, "new;odd")}


def test_a_vf_without_a_group_is_told_what_to_switch_on() -> None:
    placement = offer_of_first(a_snapshot([PF], [replace(VF, iommu_group=None)]))
    assert placement.defect == defect(Reason.NO_IOMMU_GROUP)


def test_a_bridge_or_a_device_without_a_driver_leaves_a_group_viable() -> None:
    idle = replace(STRANGER, driver=None)
    assert offer_of_first(a_snapshot([PF], [VF], others={0: [BRIDGE, idle]})).defect is None


def test_circumstances_are_defects_of_the_vf_they_name() -> None:
    claimed, refused = defect(Reason.NODE_CLAIMED, node="/dev/vfio/1"), defect(Reason.BIND_FAILED, problem="EBUSY")
    stale = PlacementContext(Stale({VF.address: claimed}), {}, {})
    assert offer_of_first(a_snapshot([PF], [VF]), DEFAULTS, stale).defect == claimed
    unbound = PlacementContext(Stale(), {VF.address: refused}, {})
    assert offer_of_first(a_snapshot([PF], [ON_HOST]), DEFAULTS, unbound).defect == refused
    assert offer_of_first(a_snapshot([PF], [VF]), DEFAULTS, unbound).defect is None  # it is bound now


def test_the_verdict_on_a_pf_is_a_defect_of_its_vfs() -> None:
    sick = PlacementContext(Stale(), {}, {}, pf_defects={PF.address: FENCED})
    assert offer_of_first(a_snapshot([PF], [VF]), DEFAULTS, sick) == Placement("qat.intel.com/cy", defect=FENCED)


@pytest.mark.parametrize("pf", [PF, replace(PF, services=None, services_text=None)])
def test_a_verdict_outranks_that_a_scan_saw_the_pf_down(pf: PhysicalFunction) -> None:
    down = replace(pf, state="down")
    sick = PlacementContext(Stale(), {}, {}, pf_defects={PF.address: FENCED})
    assert offer_of_first(a_snapshot([down], [VF]), DEFAULTS, sick).defect == sick.pf_defects[PF.address]
    view = view_of(VF, a_snapshot([down], [VF]), DEFAULTS, sick)
    assert defect_of(view, DEFAULTS.options("qat.intel.com/dc")) == sick.pf_defects[PF.address]


def test_vfs_of_a_pf_that_is_to_change_belong_nowhere() -> None:
    changing = PlacementContext(Stale(), {}, {}, changing={PF.address: "dc"})
    placement = offer_of_first(a_snapshot([PF], [VF]), DEFAULTS, changing)
    assert placement == Placement(excluded=defect(Reason.PF_RECONFIGURING, pf="0000:6b:00.0", goal="dc"))


def test_a_vf_is_judged_by_the_node_that_its_resource_hands_out() -> None:
    without_cdev = replace(VF, nodes=VF.nodes[:1])
    placement = offer_of_first(a_snapshot([PF], [without_cdev]), config({"name": "cy", "deviceNode": "cdev"}))
    assert placement.defect == defect(Reason.NO_DEVICE_NODE, kind="cdev")


def test_how_many_of_its_pf_are_kept_is_told() -> None:
    of_this = config(hostReserved=[{"vfs": 2, "pfs": ["0000:6b:00.0"]}])
    placement = offer_of_first(a_snapshot([PF], [VF]), of_this)
    assert placement == Placement(excluded=defect(Reason.HOST_RESERVED, count=2))


@pytest.mark.parametrize(
    ("path", "node"), [(DeviceNode.GROUP, "/dev/vfio/0"), (DeviceNode.CDEV, "/dev/vfio/devices/vfio")]
)
def test_the_node_is_of_the_kind_that_the_resource_wants(path: DeviceNode, node: str) -> None:
    found = node_of(VF, path)
    assert found is not None
    assert found.path.startswith(node)
