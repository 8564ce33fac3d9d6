"""Each VF is in one pool or left out with its reason; what is listed leaves only by the release protocol."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import a_pf, a_snapshot, addresses, configs, its_vfs, ledger, snapshots

from qatdp.core.config.model import Config, Policy, parse_config
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import Problem, Snapshot, VirtualFunction
from qatdp.core.pools.pools import Health, PoolDevice, Pools, ResourcePool, build_pools
from qatdp.core.pools.stale import Stale
from qatdp.core.pools.view import EMPTY_CONTEXT, PlacementContext
from qatdp.core.reasons import Reason, defect
from qatdp.core.release.protocol import MAYBE_IN_USE, OUT_OF_LIST, Ledger, LedgerEntry, Step

CY, DC, GENERIC = "qat.intel.com/cy", "qat.intel.com/dc", "qat.intel.com/generic"
PF = a_pf("0000:6b:00.0")
VFS = its_vfs(PF, 3)
NODE = a_snapshot([PF], VFS)
DEFAULTS = Config()
NOBODY: Ledger = {}
NOW = 10
STALE = defect(Reason.STALE_ALLOCATION, nodes="/dev/vfio/1")


def config(*rules: dict[str, object], **keys: object) -> Config:
    return parse_config({"version": 1, "resources": list(rules), **keys})


def entry(resource: str, step: Step, vf: VirtualFunction | None = None) -> LedgerEntry:
    return LedgerEntry(resource, step, since=1, vf=vf)


def known(step: Step, *vfs: VirtualFunction, resource: str = CY) -> Ledger:
    return {vf.address: entry(resource, step, vf) for vf in vfs}


def build(
    snapshot: Snapshot = NODE, of: Config = DEFAULTS, known: Ledger = NOBODY, context: PlacementContext = EMPTY_CONTEXT
) -> Pools:
    return build_pools(snapshot, of, known, NOW, context)[0]


def listed(pools: Pools) -> dict[str, list[str]]:
    """Return the lists by the last part of the addresses; sick ones end in !, withdrawn ones in -."""
    marks = {(False, False): "", (True, False): "!", (False, True): "-", (True, True): "!-"}
    return {
        pool.resource.rpartition("/")[2]: [
            str(one.address)[5:] + marks[one.vf_defect is not None, one.withdrawn] for one in pool.devices
        ]
        for pool in pools.pools.values()
    }


def devices(pools: Pools) -> list[tuple[str, PoolDevice]]:
    return [(name, device) for name, pool in pools.pools.items() for device in pool.devices]


@given(snapshots(), configs(), st.data())
def test_each_vf_is_in_one_pool_or_left_out_with_a_reason(snapshot: Snapshot, of: Config, data: st.DataObject) -> None:
    before = data.draw(ledger(snapshot))
    pools, after = build_pools(snapshot, of, before, NOW)
    addresses = [device.address for _, device in devices(pools)]
    assert len(addresses) == len(set(addresses))
    assert not set(addresses) & pools.excluded.keys()
    assert {vf.address for vf in snapshot.vfs} <= set(addresses) | pools.excluded.keys()
    assert all(pools.excluded.values())
    assert set(addresses) == {address for address, one in after.items() if one.step not in OUT_OF_LIST}


@given(snapshots(), configs(), st.data())
def test_the_order_of_what_goes_in_changes_nothing(snapshot: Snapshot, of: Config, data: st.DataObject) -> None:
    before = data.draw(ledger(snapshot))
    shuffled = replace(
        snapshot,
        pfs=tuple(data.draw(st.permutations(snapshot.pfs))),
        vfs=tuple(data.draw(st.permutations(snapshot.vfs))),
        groups=tuple(data.draw(st.permutations(snapshot.groups))),
    )
    assert build_pools(snapshot, of, before, NOW) == build_pools(
        shuffled, of, dict(data.draw(st.permutations(list(before.items())))), NOW
    )


@given(snapshots(), configs(), st.data())
def test_building_twice_changes_nothing(snapshot: Snapshot, of: Config, data: st.DataObject) -> None:
    pools, after = build_pools(snapshot, of, data.draw(ledger(snapshot)), NOW)
    assert build_pools(snapshot, of, after, NOW + 1) == (pools, after)


@given(snapshots(), configs(), st.data())
def test_what_was_in_a_list_stays_in_it(snapshot: Snapshot, of: Config, data: st.DataObject) -> None:
    before = data.draw(ledger(snapshot))
    now = {device.address: name for name, device in devices(build_pools(snapshot, of, before, NOW)[0])}
    for address, one in before.items():
        if one.step not in OUT_OF_LIST | {Step.NEW}:
            assert now[address] == one.resource


@given(snapshots(), configs())
def test_what_is_listed_for_the_first_time_is_healthy_and_complete(snapshot: Snapshot, of: Config) -> None:
    pools = build(snapshot, of)
    for name, device in devices(pools):
        assert (device.health, device.defect, len(device.nodes)) == (Health.HEALTHY, None, 2)
        limit = of.limit(name)
        assert limit is None or len(pools.pools[name].devices) <= limit


@given(snapshots(), configs(), st.data())
def test_devices_are_in_the_order_of_addresses_and_unhealthy_with_a_reason(
    snapshot: Snapshot, of: Config, data: st.DataObject
) -> None:
    pools = build(snapshot, of, data.draw(ledger(snapshot)))
    for pool in pools.pools.values():
        assert [one.address for one in pool.devices] == sorted(one.address for one in pool.devices)
        assert pool.healthy == {str(one.address) for one in pool.devices if one.defect is None}
        assert pool.options == of.options(pool.resource)
        assert pool.listed == tuple((one.address, one.health, one.numa_node) for one in pool.devices)


def test_a_node_without_configuration_has_the_default_resources() -> None:
    dc = a_pf("10000:01:00.0", services="dc", numa_node=None)
    old = a_pf("0000:70:00.0", "c62x")
    pools = build(a_snapshot([PF, dc, old], [*VFS[:1], *its_vfs(dc, 1), *its_vfs(old, 1)]))
    assert list(pools.pools) == [CY, DC, GENERIC]
    (device,) = pools.pools[DC].devices
    assert device == PoolDevice(
        address=PciAddress.parse("10000:01:00.1"),
        pf=dc.address,
        numa_node=None,
        nodes=("/dev/vfio/300", "/dev/vfio/vfio"),
        functions=(PciAddress.parse("10000:01:00.1"),),
    )


def test_a_resource_with_cdev_nodes_has_no_others() -> None:
    pools = build(of=config({"name": "cy", "deviceNode": "cdev"}))
    nodes = pools.pools[CY].devices[0].nodes
    assert nodes == (VFS[0].nodes[1].path, "/dev/iommu")


@pytest.mark.parametrize(
    ("snapshot", "context"),
    [
        (a_snapshot([replace(PF, state="down")], VFS), EMPTY_CONTEXT),
        (a_snapshot([replace(PF, state="down", services=None, services_text=None)], VFS), EMPTY_CONTEXT),
        (a_snapshot([], VFS), EMPTY_CONTEXT),  # the PF cannot be read
        (a_snapshot([PF], its_vfs(PF, 3, driver="4xxxvf")), EMPTY_CONTEXT),
        (NODE, PlacementContext(Stale({vf.address: STALE for vf in VFS}), {}, {})),
    ],
)
def test_a_defect_leaves_out_what_is_new_and_makes_unhealthy_what_is_listed(
    snapshot: Snapshot, context: PlacementContext
) -> None:
    new = build(snapshot, context=context)
    assert (listed(new), len(new.excluded)) == ({}, 3)
    old = build(snapshot, known=known(Step.AVAILABLE, *VFS), context=context)
    assert listed(old) == {"cy": ["6b:00.1!", "6b:00.2!", "6b:00.3!"]}


def test_the_verdict_on_a_pf_is_told_also_where_its_services_cannot_be_read() -> None:
    silent = replace(PF, services=None, services_text=None)
    snapshot = a_snapshot([silent], VFS, problems=[Problem(str(PF.address), "qat/auto_reset cannot be read: EAGAIN")])
    verdict = defect(Reason.PF_FENCED, evidence="qat/cfg_services has not come back within 0.5 s").of_pf(PF.address)
    sick = PlacementContext(Stale(), {}, {}, pf_defects={PF.address: verdict})
    pools = build(snapshot, known=known(Step.AVAILABLE, *VFS), context=sick)
    assert {device.vf_defect for device in pools.pools[CY].devices} == {verdict}


def test_what_is_taken_by_another_name_is_told_from_what_is_only_stale() -> None:
    stale = Stale({vf.address: STALE for vf in VFS}, frozenset({VFS[0].address}))
    pools = build(known=known(Step.HELD, *VFS[:2]), context=PlacementContext(stale, {}, {}))
    assert [device.claimed_elsewhere for device in pools.pools[CY].devices] == [True, False]


def test_what_is_in_doubt_is_listed_as_unhealthy_unless_something_else_is_wrong_with_it() -> None:
    in_doubt = PlacementContext(Stale(), {}, {vf.address: defect(Reason.HOLDERS_UNKNOWN, problem="x") for vf in VFS})
    assert listed(build(context=in_doubt)) == {"cy": ["6b:00.1!", "6b:00.2!", "6b:00.3!"]}
    down = a_snapshot([replace(PF, state="down")], VFS)
    assert listed(build(down, context=in_doubt)) == {}


def test_a_vf_that_is_gone_stays_as_it_was_last_seen_until_it_is_released() -> None:
    pools = build(a_snapshot([PF], VFS[:1]), known={**known(Step.HELD, VFS[1]), **known(Step.AVAILABLE, VFS[2])})
    assert listed(pools) == {"cy": ["6b:00.1", "6b:00.2!", "6b:00.3!-"]}
    gone = pools.pools[CY].devices[1]
    assert (gone.defect, gone.nodes[0], gone.pf) == (defect(Reason.NOT_PRESENT), "/dev/vfio/1", PF.address)


def test_a_vf_that_is_gone_has_no_node_that_is_anothers_by_now() -> None:
    """A pod that has it may ask once more, as the kubelet does for it after a restart."""
    gone, other = VFS[0], replace(VFS[1], nodes=VFS[0].nodes)
    pools, after = build_pools(a_snapshot([PF], [other]), DEFAULTS, known(Step.HELD, gone), NOW)
    assert pools.pools[CY].devices[0].nodes == ()
    pools, _ = build_pools(a_snapshot([PF]), DEFAULTS, after, NOW)
    assert pools.pools[CY].devices[0].nodes == (), "and gets it back from nobody"


def test_of_each_vf_that_is_known_the_books_have_the_latest() -> None:
    gone, other, changed = VFS[0], replace(VFS[1], nodes=VFS[0].nodes), replace(VFS[2], numa_node=1)
    after = build_pools(a_snapshot([PF], [other, changed]), DEFAULTS, known(Step.HELD, *VFS), NOW)[1]
    assert [after[vf.address].vf for vf in VFS] == [replace(gone, nodes=()), other, changed]


def test_what_a_pod_has_by_another_name_is_remembered_without_its_nodes() -> None:
    taken = PlacementContext(Stale(taken=frozenset({VFS[0].address})), {}, {})
    after = build_pools(NODE, DEFAULTS, known(Step.HELD, *VFS), NOW, taken)[1]
    assert [entry.vf for entry in after.values()] == [replace(VFS[0], nodes=()), *VFS[1:]]


def test_a_device_tells_where_it_lies_and_whether_it_is_to_leave() -> None:
    stale = Stale(outdated=frozenset({VFS[1].address}))
    snapshot = a_snapshot([PF], [replace(vf, numa_node=1) for vf in VFS])
    before = {**known(Step.HELD, VFS[0]), **known(Step.AVAILABLE, VFS[1]), **known(Step.HELD, VFS[2])}
    some = config({"name": "cy", "limit": 2})
    devices = build(snapshot, some, before, PlacementContext(stale, {}, {})).pools[CY].devices
    assert [device.numa_node for device in devices] == [1, 1, 1]
    assert [device.outdated for device in devices] == [False, True, False]
    assert [device.withdrawn for device in devices] == [False, True, False]
    assert [device.cordoned for device in devices] == [False, False, False]


def test_one_that_somebody_has_and_that_is_to_leave_is_awaited() -> None:
    (device,) = build(a_snapshot([PF], VFS[:1]), config({"name": "dc"}), known(Step.HELD, VFS[0])).pools[CY].devices
    assert (device.cordoned, device.withdrawn) == (True, False)


def test_a_pool_has_the_options_of_its_resource() -> None:
    pools = build(of=config({"name": "cy", "policy": "packed", "env": {"A": "b"}}))
    assert (pools.pools[CY].options.policy, dict(pools.pools[CY].options.env)) == (Policy.PACKED, {"A": "b"})


def test_what_is_new_is_so_since_this_moment() -> None:
    assert {entry.since for entry in build_pools(NODE, DEFAULTS, NOBODY, NOW)[1].values()} == {NOW}


def test_a_vf_is_withdrawn_from_its_list_before_it_is_in_another() -> None:
    to_dc = a_snapshot([a_pf("0000:6b:00.0", services="dc")], VFS)
    pools = build(to_dc, known={**known(Step.AVAILABLE, VFS[0]), **known(Step.HELD, VFS[1])})
    assert listed(pools) == {"cy": ["6b:00.1-", "6b:00.2"], "dc": ["6b:00.3"]}


def test_a_vf_that_has_just_left_a_list_is_left_out_for_that_reason() -> None:
    pools = build(of=config({"name": "dc"}), known=known(Step.RELEASED, VFS[0]))
    assert listed(pools) == {"dc": ["6b:00.2", "6b:00.3"]}
    assert pools.excluded[VFS[0].address] == defect(Reason.MOVING, old=CY, new=DC)


def test_vf_released_for_a_limit_is_excluded_for_that_reason() -> None:
    pools = build(of=config({"name": "cy", "limit": 2}), known=known(Step.RELEASED, VFS[0]))
    assert pools.excluded[VFS[0].address] == defect(Reason.RELEASED, resource=CY)


def test_a_listed_vf_is_judged_by_the_resource_that_lists_it() -> None:
    without_cdev = [replace(vf, nodes=vf.nodes[:1]) for vf in VFS[:1]]
    pools = build(
        a_snapshot([PF], without_cdev), config({"name": "dc", "deviceNode": "cdev"}), known(Step.HELD, VFS[0])
    )
    assert listed(pools) == {"cy": ["6b:00.1"]}
    by_cdev = config({"name": "dc"}, {"name": "cy", "deviceNode": "cdev"})
    pools = build(a_snapshot([PF], without_cdev), by_cdev, known(Step.HELD, VFS[0]))
    assert pools.pools[CY].devices[0].vf_defect == defect(Reason.NO_DEVICE_NODE, kind="cdev")


@pytest.mark.parametrize("of", [config({"name": "dc", "services": ["dc"]}), config(hostReserved=[{"vfs": 3}])])
def test_a_held_vf_that_belongs_nowhere_is_unhealthy_if_something_is_wrong_with_it(of: Config) -> None:
    down = a_snapshot([replace(PF, state="down")], VFS)
    assert listed(build(NODE, of, known(Step.HELD, VFS[0])))["cy"] == ["6b:00.1"]
    assert listed(build(down, of, known(Step.HELD, VFS[0])))["cy"] == ["6b:00.1!"]


def test_a_limit_keeps_what_may_be_in_use_then_what_is_listed_then_the_first() -> None:
    two = config({"name": "cy", "limit": 2})
    assert listed(build(of=two)) == {"cy": ["6b:00.1", "6b:00.2"]}
    assert listed(build(of=two, known=known(Step.AVAILABLE, VFS[2]))) == {"cy": ["6b:00.1", "6b:00.3"]}
    held = {**known(Step.AVAILABLE, *VFS[:2]), **known(Step.HELD, VFS[2])}
    assert listed(build(of=two, known=held)) == {"cy": ["6b:00.1", "6b:00.2-", "6b:00.3"]}
    assert build(of=two).excluded == {VFS[2].address: defect(Reason.OVER_LIMIT, resource=CY)}
    assert listed(build(of=config({"name": "cy", "limit": 0}))) == {}


@pytest.mark.parametrize("step", [Step.HELD, Step.AVAILABLE, Step.RELEASED])
def test_what_another_list_has_does_not_use_up_a_limit(step: Step) -> None:
    pools = build(of=config({"name": "one", "limit": 1}), known=known(step, VFS[0]))
    assert listed(pools)["one"] == ["6b:00.2"]


def test_what_no_kubelet_has_read_moves_to_another_resource_at_once() -> None:
    pools = build(of=config({"name": "one", "limit": 1}), known=known(Step.NEW, VFS[0], VFS[1]))
    assert listed(pools) == {"one": ["6b:00.1"]}


def test_what_has_just_left_a_list_does_not_push_another_out_of_its_limit() -> None:
    before = {**known(Step.RELEASED, VFS[0]), **known(Step.AVAILABLE, VFS[1])}
    assert listed(build(of=config({"name": "cy", "limit": 1}), known=before)) == {"cy": ["6b:00.2"]}


def shared(*vfs: VirtualFunction) -> Snapshot:
    return a_snapshot([PF], [replace(vf, iommu_group=7) for vf in vfs])


def test_of_a_shared_group_the_lowest_address_is_offered() -> None:
    pools = build(shared(*VFS))
    assert listed(pools) == {"cy": ["6b:00.1"]}
    assert pools.excluded[VFS[1].address] == defect(Reason.GROUP_REPRESENTED, group=7, vf="0000:6b:00.1")


@pytest.mark.parametrize("step", [Step.AVAILABLE, *sorted(MAYBE_IN_USE, key=str)])
def test_of_a_shared_group_the_vf_that_is_listed_already_stands_for_it(step: Step) -> None:
    pools = build(shared(*VFS), known=known(step, VFS[1]))
    assert listed(pools) == {"cy": ["6b:00.2"]}


def test_a_vf_that_is_kept_for_the_host_again_leaves_its_list_unless_somebody_has_it() -> None:
    before = {**known(Step.AVAILABLE, VFS[0]), **known(Step.HELD, VFS[1])}
    pools = build(of=config(hostReserved=[{"vfs": 2}]), known=before)
    assert listed(pools) == {"cy": ["6b:00.1-", "6b:00.2", "6b:00.3"]}


def test_pool_makes_open_vf_unhealthy_and_lists_no_new_one() -> None:
    opened = PlacementContext(Stale(), {}, {}, opened=frozenset({VFS[0].address}))
    pools = build(known=known(Step.AVAILABLE, *VFS[:2]), context=opened)
    assert [device.vf_defect for device in pools.pools[CY].devices[:2]] == [defect(Reason.OPEN), None]
    assert build(context=opened).excluded == {VFS[0].address: defect(Reason.OPEN)}


def test_pool_asks_before_starts_while_two_pods_have_a_vf() -> None:
    shared = PlacementContext(Stale(), {}, {}, shared=frozenset({VFS[0].address}))
    pool = build(known=known(Step.HELD, *VFS), context=shared).pools[CY]
    assert pool.pre_start_required
    assert [device.shared for device in pool.devices[:2]] == [True, False]
    assert pool.devices[0].vf_defect is None  # running pods keep a device that is shown as healthy


@given(st.sets(addresses(), min_size=1).map(sorted), addresses())
def test_pool_finds_its_devices_by_their_ids(vfs: list[PciAddress], other: PciAddress) -> None:
    pool = ResourcePool(CY, tuple(map(PoolDevice, vfs)))
    for vf in vfs:
        found = pool.device(str(vf))
        assert found and found.address == vf
    assert (pool.device(str(other)) is None) == (other not in vfs)
    assert pool.device("nonsense") is pool.device(f"0{vfs[0]}") is None
