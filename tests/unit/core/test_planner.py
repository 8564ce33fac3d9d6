"""The plan reaches the spec by the least change, touches nobody's PF, and leaves nothing to plan again."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations, product

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from support.settled import carry_out
from support.specs import specs
from support.strategies import SLOTS, a_pf, a_snapshot, configs, its_vfs, snapshots

from qatdp.core.config.model import Config, parse_config
from qatdp.core.config.spec import Partition, ProvisionSpec, Scope
from qatdp.core.config.spec_parser import read_wish
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import Service, Services, parse_services
from qatdp.core.model.snapshot import PhysicalFunction, Problem, Snapshot
from qatdp.core.provision.planner import PfPlan, Plan, plan
from qatdp.core.provision.steps import What
from qatdp.core.reasons import Defect, Reason, defect

CY = frozenset({Service.SYM, Service.ASYM})
DC = frozenset({Service.DC})
DEFAULT = Config()
HALVES = ProvisionSpec((Partition(CY, percent=50), Partition(DC)))
CHAIN = ("dc", "dc", "sym", "asym", "asym;dc")
HELD = defect(Reason.IN_USE)


def a_node(*services: str, numa: Sequence[int] = (), state: str = "up", family: str = "4xxx") -> Snapshot:
    """A node with a PF for each text, with two VFs on vfio-pci."""
    pfs = [
        a_pf(SLOTS[n], family, text, state=state, numa_node=numa[n] if numa else 0) for n, text in enumerate(services)
    ]
    return a_snapshot(pfs, [vf for pf in pfs for vf in its_vfs(pf, 0 if state == "down" else 2)])


def planned(
    snapshot: Snapshot, spec: ProvisionSpec, in_use: Sequence[PciAddress] = (), config: Config = DEFAULT
) -> Plan:
    return plan(snapshot, config, spec, dict.fromkeys(in_use, HELD))


def steps(one: PfPlan) -> list[str]:
    return [str(step) for step in one.steps]


def services(text: str) -> Services:
    found = parse_services(text)
    assert found
    return found


def goals(found: Plan) -> list[Services | None]:
    return [one.goal.services if one.goal else None for one in found.pfs]


def first_vf(pf: PciAddress) -> PciAddress:
    return its_vfs(a_pf(pf), 1)[0].address


# By example


def test_a_pf_is_changed_in_the_order_that_the_driver_wants() -> None:
    found = planned(a_node("sym;asym", "asym;sym"), HALVES)
    assert [steps(one) for one in found.pfs] == [
        [],
        ["down", "services dc", "up", "autoprobe off", "enable VFs", "bind to vfio-pci"],
    ]


def test_a_bare_node_gets_its_vfs_and_no_service_that_it_has_already() -> None:
    pfs = [a_pf(SLOTS[0], services="dc"), a_pf(SLOTS[1], services="sym;asym")]
    found = planned(a_snapshot(pfs), HALVES)
    assert {tuple(steps(one)) for one in found.pfs} == {("autoprobe off", "enable VFs", "bind to vfio-pci")}
    assert goals(found) == [DC, CY]


def test_a_pf_that_is_down_is_brought_up() -> None:
    found = planned(a_node("dc", state="down"), ProvisionSpec((Partition(DC),)))
    assert steps(found.pfs[0]) == ["up", "autoprobe off", "enable VFs", "bind to vfio-pci"]
    found = planned(a_node("dc", state="down"), ProvisionSpec((Partition(CY),)))
    assert steps(found.pfs[0])[:2] == ["services sym;asym", "up"]


def test_vfs_alone_are_bound_where_all_else_is_as_it_should_be() -> None:
    pf = a_pf(SLOTS[0], services="dc")
    vfs = its_vfs(pf, 2, driver="4xxxvf")
    assert steps(planned(a_snapshot([pf], vfs), ProvisionSpec((Partition(DC),))).pfs[0]) == ["bind to vfio-pci"]
    elsewhere = its_vfs(pf, 2, driver="uio_pci_generic")  # somebody put it there
    assert steps(planned(a_snapshot([pf], elsewhere), ProvisionSpec((Partition(DC),))).pfs[0]) == []


def test_vfs_kept_for_the_host_are_left_to_its_drivers() -> None:
    pf = a_pf(SLOTS[0], services="dc")
    config = parse_config({"version": 1, "hostReserved": [{"vfs": 2}]})
    found = planned(a_snapshot([pf], its_vfs(pf, 2, driver=None)), ProvisionSpec((Partition(DC),)), config=config)
    assert steps(found.pfs[0]) == []
    of_one = parse_config({"version": 1, "hostReserved": [{"vfs": 2, "pfs": [str(pf.address)]}]})
    two = planned(a_snapshot([pf, a_pf(SLOTS[1], services="dc")]), ProvisionSpec((Partition(DC),)), config=of_one)
    assert [one.goal.kept for one in two.pfs if one.goal] == [2, 0]
    found = planned(a_snapshot([pf]), ProvisionSpec((Partition(DC),)), config=config)
    assert [(step.what, step.skip) for step in found.pfs[0].steps] == [(What.VFS, 0), (What.BIND, 2)]


def test_the_other_vfio_driver_is_a_change_of_binding_only() -> None:
    config = parse_config({"version": 1, "vfioDriver": "qat_vfio_pci"})
    found = planned(a_node("dc"), ProvisionSpec((Partition(DC),)), config=config)
    assert steps(found.pfs[0]) == ["bind to qat_vfio_pci"]


def test_auto_reset_is_switched_where_the_kernel_has_it_and_in_any_state() -> None:
    pfs = [a_pf(slot, services="dc", auto_reset=has) for slot, has in zip(SLOTS, (None, False, True), strict=False)]
    node = a_snapshot(pfs, [vf for pf in pfs for vf in its_vfs(pf, 1)])
    found = planned(node, ProvisionSpec((Partition(DC),), auto_reset=True))
    assert [steps(one) for one in found.pfs] == [[], ["auto_reset on"], []]


def test_an_idle_pf_is_changed_before_a_busy_one() -> None:
    node = a_node("sym;asym", "sym;asym", "sym;asym", "sym;asym")
    found = planned(node, HALVES, [first_vf(SLOTS[0]), first_vf(SLOTS[2])])
    assert [bool(one.steps) for one in found.pfs] == [False, True, False, True]
    assert not any(one.later for one in found.pfs)


def test_what_is_to_be_done_to_a_busy_pf_is_told_with_who_has_it() -> None:
    found = planned(a_node("sym;asym", "sym;asym"), ProvisionSpec((Partition(DC),)), [first_vf(SLOTS[1])])
    busy = found.pfs[1]
    assert (busy.steps, bool(busy.later), busy.why) == ((), True, HELD.of_user(first_vf(SLOTS[1])))


def test_who_has_a_group_has_the_pfs_of_all_vfs_in_it() -> None:
    one, other = a_pf(SLOTS[0]), a_pf(SLOTS[1])
    vfs = [*its_vfs(one, 1), *its_vfs(other, 1)]
    shared = [replace(vf, iommu_group=7) for vf in vfs]
    found = planned(a_snapshot([one, other], shared), ProvisionSpec((Partition(DC),)), [vfs[0].address])
    assert [bool(pf.later) for pf in found.pfs] == [True, True]


def test_pfs_to_be_left_alone_are_neither_changed_nor_counted() -> None:
    node = a_node("sym;asym", "sym;asym", "sym;asym")
    found = planned(node, ProvisionSpec(HALVES.parts, exclude_pfs=frozenset({SLOTS[0]})))
    assert goals(found) == [None, CY, DC]
    assert found.pfs[0].why == defect(Reason.PF_EXCLUDED)


def test_a_pf_that_cannot_be_read_or_has_no_driver_is_left_alone() -> None:
    node = a_node("sym;asym")
    broken = a_snapshot(node.pfs, node.vfs, problems=[Problem(str(SLOTS[0]), "qat/state cannot be read")])
    assert planned(broken, ProvisionSpec((Partition(DC),))).pfs[0].why == defect(
        Reason.PF_UNREADABLE, problem="qat/state cannot be read"
    )


def test_each_numa_node_has_its_share() -> None:
    node = a_node("sym;asym", "sym;asym", "sym;asym", "sym;asym", numa=(0, 0, 1, 1))
    assert goals(planned(node, ProvisionSpec(HALVES.parts, scope=Scope.NUMA_NODE))) == [CY, DC, CY, DC]


def test_a_share_that_no_whole_number_meets_is_rounded_and_told() -> None:
    found = planned(a_node("dc", "dc", "dc"), ProvisionSpec((Partition(CY, percent=50), Partition(DC, percent=50))))
    assert sorted(map(str, goals(found))) == sorted(map(str, (CY, CY, DC)))
    assert found.rounded == (
        "split[0]: its share of 3 PFs is 1.5: made 2",
        "split[1]: its share of 3 PFs is 1.5: made 1",
    )


def test_each_numa_node_tells_of_its_own_what_it_cannot_be() -> None:
    node = a_node("dc", "dc", "dc", "dc", numa=(0, 0, 0, 1))
    halves = planned(node, ProvisionSpec((Partition(CY, percent=50), Partition(DC)), scope=Scope.NUMA_NODE))
    assert halves.rounded == (
        "split[0]: its share of 3 PFs of NUMA node 0 is 1.5: made 2",
        "split[0]: its share of 1 PFs of NUMA node 1 is 0.5: made 1",
    )
    two = planned(node, ProvisionSpec((Partition(CY, count=2), Partition(DC)), scope=Scope.NUMA_NODE))
    assert two.unmet == ("split[0]: 2 PFs of NUMA node 1 are to be cy, but 1 can be",)
    elsewhere = Partition(CY | DC, percent=50, numa_nodes=frozenset({1}))
    assert planned(node, ProvisionSpec((elsewhere,), scope=Scope.NUMA_NODE)).unmet == (
        "split[0]: no PF can be asym-sym-dc: 4xxx takes 2 services at most",
    )
    nobody = Partition(CY | DC, percent=50, numa_nodes=frozenset({5}))
    assert planned(node, ProvisionSpec((nobody,), scope=Scope.NUMA_NODE)).unmet == ()


def test_pfs_whose_numa_node_is_not_known_are_together_and_none_of_any_node() -> None:
    pfs = [a_pf(slot, services="dc", numa_node=node) for slot, node in zip(SLOTS, (None, 0, 1, None), strict=True)]
    node = a_snapshot(pfs, [vf for pf in pfs for vf in its_vfs(pf, 2)])
    assert planned(node, ProvisionSpec((Partition(CY, count=3), Partition(DC)), scope=Scope.NUMA_NODE)).unmet == (
        "split[0]: 3 PFs of NUMA node -1 are to be cy, but 2 can be",
        "split[0]: 3 PFs of NUMA node 0 are to be cy, but 1 can be",
        "split[0]: 3 PFs of NUMA node 1 are to be cy, but 1 can be",
    )


def test_a_node_without_pfs_falls_short_of_nothing() -> None:
    assert planned(a_snapshot(), ProvisionSpec((Partition(CY, count=3),))) == Plan()


def test_a_kernel_without_services_to_choose_leaves_each_pf_what_it_is() -> None:
    pfs = [
        replace(a_pf(slot, services=text), state=None) for slot, text in zip(SLOTS, ("dc", "asym;sym"), strict=False)
    ]
    node = a_snapshot(pfs, [vf for pf in pfs for vf in its_vfs(pf, 2)])
    assert goals(planned(node, ProvisionSpec((Partition(DC),)))) == [DC, None]
    assert goals(planned(node, ProvisionSpec((Partition(CY, count=1), Partition(DC))))) == [DC, CY]


def test_four_idle_pfs_are_changed_before_one_that_is_in_use() -> None:
    """Each can be of two services alone, so that what one is to be is passed on to the next."""
    slots = (*SLOTS, PciAddress.parse("10001:00:00.0"))
    pfs = [a_pf(slot, services=text) for slot, text in zip(slots, CHAIN, strict=True)]
    names = [frozenset({pf.address}) for pf in pfs]
    parts = (
        Partition(services("dc"), count=1, pfs=names[0] | names[1]),
        Partition(services("sym"), count=1, pfs=names[1] | names[2]),
        Partition(services("asym"), count=1, pfs=names[2] | names[3]),
        Partition(services("asym;dc"), count=1, pfs=names[3] | names[4]),
        Partition(services("sym;dc"), count=1, pfs=names[4] | names[0]),
    )
    node = a_snapshot(pfs, [vf for pf in pfs for vf in its_vfs(pf, 1)])
    assert goals(planned(node, ProvisionSpec(parts)))[0] == services("sym;dc")
    assert goals(planned(node, ProvisionSpec(parts), [first_vf(SLOTS[0])])) == [
        services(text) for text in ("dc", "sym", "asym", "asym;dc", "sym;dc")
    ]


def test_a_vf_without_an_iommu_group_has_no_other_users() -> None:
    pf = a_pf(SLOTS[0], services="dc")
    vfs = [replace(vf, iommu_group=None) for vf in its_vfs(pf, 2)]
    found = planned(a_snapshot([pf], vfs), ProvisionSpec((Partition(CY),)), [vfs[1].address])
    assert (found.pfs[0].steps, found.pfs[0].why) == ((), HELD.of_user(vfs[1].address))


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (Partition(DC, count=3), "split[0]: 3 PFs are to be dc, but 2 can be"),
        (
            Partition(CY | DC, percent=50),
            "split[0]: no PF can be asym-sym-dc: 4xxx takes 2 services at most",
        ),
        (Partition(DC, pfs=frozenset({SLOTS[3]})), f"split[0]: {SLOTS[3]} cannot be dc: no such PF"),
        (Partition(DC, percent=50, numa_nodes=frozenset({5})), "split[0]: no PF can be dc: it selects none"),
    ],
)
def test_what_the_node_cannot_be_is_told_with_the_reason(part: Partition, told: str) -> None:
    assert planned(a_node("dc", "dc"), ProvisionSpec((part,))).unmet == (told,)


def test_before_gen4_vfs_are_enabled_and_bound() -> None:
    found = planned(a_snapshot([a_pf(SLOTS[0], "c62x")]), ProvisionSpec((Partition(DC), Partition(None))))
    assert steps(found.pfs[0]) == ["autoprobe off", "enable VFs", "bind to vfio-pci"]


def test_a_pf_that_no_part_takes_stays_as_it_is() -> None:
    found = planned(a_node("sym;asym", "sym;asym"), ProvisionSpec((Partition(DC, count=1),)))
    assert [bool(one.steps) for one in found.pfs] == [True, False]
    assert found.pfs[1] == PfPlan(SLOTS[1], why=defect(Reason.PF_NOT_SELECTED))


# By property


@st.composite
def nodes(draw: st.DrawFn) -> tuple[Snapshot, dict[PciAddress, Defect]]:
    """A node, and who uses its VFs."""
    snapshot = draw(snapshots())
    used = draw(st.sets(st.sampled_from([vf.address for vf in snapshot.vfs]))) if snapshot.vfs else ()
    return snapshot, dict.fromkeys(used, HELD)


def wishing() -> st.SearchStrategy[Config]:
    """Configurations with one spec."""
    read = specs(map(str, SLOTS)).map(lambda entry: read_wish(entry, "provision[0]"))
    return st.builds(lambda config, spec: replace(config, provision=(spec,)), configs(), read)


def the_wish(config: Config) -> ProvisionSpec:
    return config.provision[0]


def after(snapshot: Snapshot, found: Plan, order: Sequence[int] | None = None) -> Snapshot:
    for index in order or range(len(found.pfs)):
        snapshot = carry_out(snapshot, found.pfs[index])
    return snapshot


@given(snapshots(), wishing())
def test_planning_again_is_empty_once_a_plan_was_carried_out(snapshot: Snapshot, config: Config) -> None:
    spec = the_wish(config)
    first = plan(snapshot, config, spec, {})
    reached = after(snapshot, first)
    again = plan(reached, config, spec, {})
    assert not any(one.steps or one.later for one in again.pfs)
    assert [one.goal for one in again.pfs] == [one.goal for one in first.pfs]
    event("nothing to do" if reached == snapshot else "changed")


@given(snapshots(), wishing())
def test_a_plan_carried_out_reaches_each_pfs_goal(snapshot: Snapshot, config: Config) -> None:
    found = plan(snapshot, config, the_wish(config), {})
    reached = after(snapshot, found)
    for one in found.pfs:
        pf = reached.pf(one.address)
        if one.goal and pf:
            assert one.goal.services in (None, pf.services)
            assert not pf.is_down
            assert any(vf.pf == pf.address for vf in reached.vfs)


@given(nodes(), wishing())
def test_no_step_is_taken_on_a_pf_in_use(node: tuple[Snapshot, dict[PciAddress, Defect]], config: Config) -> None:
    snapshot, in_use = node
    found = plan(snapshot, config, the_wish(config), in_use)
    used = {vf.pf for vf in snapshot.vfs if vf.address in in_use}
    assert not any(one.steps for one in found.pfs if one.address in used)
    assert not any(one.later for one in found.pfs if one.why is None)


@given(nodes(), wishing(), st.data())
def test_steps_of_different_pfs_commute(
    node: tuple[Snapshot, dict[PciAddress, Defect]], config: Config, data: st.DataObject
) -> None:
    snapshot, in_use = node
    found = plan(snapshot, config, the_wish(config), in_use)
    order = data.draw(st.permutations(range(len(found.pfs))))
    assert after(snapshot, found, order) == after(snapshot, found)


@given(nodes(), wishing())
def test_a_plan_around_users_leaves_nothing_to_do_but_what_waits_for_them(
    node: tuple[Snapshot, dict[PciAddress, Defect]], config: Config
) -> None:
    snapshot, in_use = node
    spec = the_wish(config)
    reached = after(snapshot, plan(snapshot, config, spec, in_use))
    assert not any(one.steps for one in plan(reached, config, spec, in_use).pfs)


# The least change, against all that could be done


PARTS = st.sampled_from(
    [
        Partition(CY, percent=50),
        Partition(DC, percent=50),
        Partition(CY, count=1),
        Partition(DC, count=2),
        Partition(DC, pfs=frozenset({SLOTS[0], SLOTS[2]})),
        Partition(CY, numa_nodes=frozenset({1})),
        Partition(CY, count=2, numa_nodes=frozenset({0})),
        Partition(DC),
    ]
)


@st.composite
def small_nodes(draw: st.DrawFn) -> tuple[Snapshot, set[PciAddress]]:
    pfs = [
        a_pf(slot, services=draw(st.sampled_from(("sym;asym", "dc", "sym"))), numa_node=draw(st.integers(0, 1)))
        for slot in SLOTS[: draw(st.integers(1, 4))]
    ]
    busy = draw(st.sets(st.sampled_from([pf.address for pf in pfs])))
    return a_snapshot(pfs, [vf for pf in pfs for vf in its_vfs(pf, 1)]), busy


def outcomes(pfs: Sequence[PhysicalFunction], parts: Sequence[Partition]) -> Iterator[dict[PciAddress, int]]:
    """Yield each way to give PFs to parts that select them."""
    choices = [[None, *(n for n, part in enumerate(parts) if part.selects(pf))] for pf in pfs]
    for chosen in product(*choices):
        yield {pf.address: n for pf, n in zip(pfs, chosen, strict=True) if n is not None}


def worth(
    given_to: dict[PciAddress, int], snapshot: Snapshot, parts: Sequence[Partition], busy: set[PciAddress]
) -> tuple[object, int, int] | None:
    """Return how good it is, less is better; None where a part has more than it asks for."""
    met = []
    for n, part in enumerate(parts):
        able = sum(part.selects(pf) for pf in snapshot.pfs)
        whole = able if part.percent is None and part.count is None else _whole(part, able)
        got = sum(of == n for of in given_to.values())
        if got > whole:
            return None
        met.append(-got)
    changed = [
        pf.address
        for pf in snapshot.pfs
        if pf.address in given_to and pf.services != parts[given_to[pf.address]].services
    ]
    return tuple(met), sum(address in busy for address in changed), len(changed)


def _whole(part: Partition, able: int) -> int:
    return min(part.count, able) if part.count is not None else ((part.percent or 0) * able + 50) // 100


@settings(max_examples=3 * settings().max_examples)
@given(
    small_nodes(), st.lists(PARTS, min_size=1, max_size=3, unique_by=lambda part: (part.selector, bool(part.percent)))
)
def test_no_other_way_to_meet_the_wish_changes_less(
    node: tuple[Snapshot, set[PciAddress]], parts: list[Partition]
) -> None:
    snapshot, busy = node
    in_use = {vf.address: HELD for vf in snapshot.vfs if vf.pf in busy}
    found = plan(snapshot, Config(), ProvisionSpec(tuple(parts)), in_use)
    ways = (worth(way, snapshot, parts, busy) for way in outcomes(snapshot.pfs, parts))
    best = min(way for way in ways if way is not None)
    later = sum(bool(one.later) for one in found.pfs)
    assert (later, sum(bool(one.steps) for one in found.pfs) + later) == best[1:]


@given(small_nodes(), st.lists(PARTS, min_size=1, max_size=3))
def test_the_plan_is_the_same_whatever_order_the_node_was_read_in(
    node: tuple[Snapshot, set[PciAddress]], parts: list[Partition]
) -> None:
    snapshot, _ = node
    plans = {
        planned(a_snapshot(order, snapshot.vfs), ProvisionSpec(tuple(parts))) for order in permutations(snapshot.pfs)
    }
    assert len(plans) == 1
