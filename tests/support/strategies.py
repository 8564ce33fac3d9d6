"""Nodes, configurations and ledger for tests: by hand (a_pf, its_vfs, a_snapshot) and by Hypothesis.

All of it is drawn from few names, so that what is drawn meets: a selector finds its PF, a hold its VF.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from qatdp.core.config.model import Config, DeviceNode, Policy, parse_config
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import FAMILIES, GENERIC, VFIO_DRIVERS, Family, Service, default_names, parse_services
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
from qatdp.core.release.protocol import Ledger, LedgerEntry, Step
from qatdp.simulator.host.families import TOTAL_VFS
from support.specs import reachable, specs

FAMILY = {family.name: family for family in FAMILIES}
SLOTS = tuple(map(PciAddress.parse, ("0000:6b:00.0", "0000:70:00.0", "0000:f3:00.0", "10000:01:00.0")))
IN_MACHINE = tuple(map(PciAddress.parse, ("0000:00:05.0", "0000:00:06.0")))  # VFs passed into a virtual machine
VANISHED = tuple(map(PciAddress.parse, ("0000:6b:01.5", "0000:99:00.1")))  # no snapshot has them
NAMES = ("cy", "dc", "fast", "generic")
TEXTS = (None, "", "sym;asym", "asym;sym", "dc", "asym;dc", "dcc", "sym;asym;dc", "decomp;sym", "sym;new")
VFS_OF_A_PF = 7


# By hand


def a_pf(
    address: str | PciAddress,
    family: str = "4xxx",
    services: str | None = "sym;asym",
    *,
    state: str | None = "up",
    numa_node: int | None = 0,
    auto_reset: bool | None = None,
) -> PhysicalFunction:
    """Return a PF with its driver; one whose services cannot be selected has neither services nor a state."""
    of = FAMILY[family]
    text = services if of.selectable else None
    return PhysicalFunction(
        address=PciAddress.parse(str(address)),
        family=of,
        driver=of.pf_driver,
        numa_node=numa_node,
        state=state if of.selectable else None,
        services=parse_services(text) if text is not None else None,
        services_text=text,
        auto_reset=auto_reset,
        total_vfs=TOTAL_VFS.get(family, 16),
    )


def its_vfs(pf: PhysicalFunction, count: int, *, driver: str | None = "vfio-pci") -> tuple[VirtualFunction, ...]:
    """Return the first VFs of a PF, each in a group of its own."""
    at = pf.address
    return tuple(a_vf(_after(at, 1 + n), pf.family, driver, group_of(at, n), pf=pf, index=n) for n in range(count))


def a_vf(
    address: PciAddress,
    family: Family,
    driver: str | None,
    group: int | None,
    *,
    pf: PhysicalFunction | None = None,
    index: int | None = None,
) -> VirtualFunction:
    """Return a VF; on a VFIO driver it has the nodes of a kernel that makes both kinds."""
    has_nodes = driver in VFIO_DRIVERS and group is not None
    group_node = VfioNode(NodeKind.GROUP, f"/dev/vfio/{group}", present=True)
    cdev = VfioNode(NodeKind.CDEV, f"/dev/vfio/devices/vfio{address.number}", present=True)
    numa_node = pf.numa_node if pf else None
    nodes = (group_node, cdev) if has_nodes else ()
    return VirtualFunction(address, family, pf.address if pf else None, index, driver, numa_node, group, nodes)


def _after(address: PciAddress, n: int) -> PciAddress:
    """Return the address of the n-th function after one."""
    number = address.number + n
    return PciAddress(number >> 16, number >> 8 & 0xFF, number >> 3 & 0x1F, number & 7)


def group_of(pf: PciAddress, n: int) -> int:
    return 100 * (SLOTS.index(pf) if pf in SLOTS else len(SLOTS)) + n


def a_snapshot(
    pfs: Iterable[PhysicalFunction] = (),
    vfs: Iterable[VirtualFunction] = (),
    *,
    others: Mapping[int, Iterable[GroupMember]] | None = None,
    problems: Iterable[Problem] = (),
    drivers: Iterable[str] = VFIO_DRIVERS,
) -> Snapshot:
    """Return a node of these functions; `others` are devices in the VFs' groups that are no VFs of QAT."""
    vfs = sorted(vfs, key=lambda vf: vf.address)
    numbers = sorted({vf.iommu_group for vf in vfs if vf.iommu_group is not None})
    return Snapshot(
        pfs=tuple(sorted(pfs, key=lambda pf: pf.address)),
        vfs=tuple(vfs),
        groups=tuple(_group(number, vfs, (others or {}).get(number, ())) for number in numbers),
        problems=tuple(sorted(problems)),
        drivers=frozenset(drivers),
    )


def _group(number: int, vfs: Sequence[VirtualFunction], others: Iterable[GroupMember]) -> IommuGroup:
    ours = (GroupMember(vf.address, vf.driver, qat_vf=True) for vf in vfs if vf.iommu_group == number)
    return IommuGroup(number, tuple(sorted([*ours, *others], key=lambda member: member.address)))


# By Hypothesis


def addresses() -> st.SearchStrategy[PciAddress]:
    """Any address, most of them in a domain that has others."""
    domains = st.sampled_from((0, 0, 1, 0x10000)) | st.integers(0, 0xFFFFFFFF)
    return st.builds(PciAddress, domains, st.integers(0, 0xFF), st.integers(0, 0x1F), st.integers(0, 7))


def services() -> st.SearchStrategy[frozenset[Service]]:
    return st.frozensets(st.sampled_from(Service), min_size=1)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """A node with PFs of any families, some of them down, unreadable or gone, and VFs in all kinds of disorder."""
    pfs: list[PhysicalFunction] = []
    vfs: list[VirtualFunction] = []
    others: dict[int, list[GroupMember]] = {}
    problems: list[Problem] = []
    for address in draw(st.lists(st.sampled_from(SLOTS), unique=True)):
        pf = draw(_pfs(address))
        found = [draw(_vfs(vf)) for vf in its_vfs(pf, draw(st.integers(0, VFS_OF_A_PF)))]
        if draw(st.booleans()) and draw(st.booleans()):  # no ACS: one group, with the PF in it or without
            shared = group_of(address, 99)
            found = [a_vf(vf.address, vf.family, vf.driver, shared, pf=pf, index=vf.index) for vf in found]
            others[shared] = [GroupMember(address, pf.driver, qat_vf=False)] if draw(st.booleans()) else []
        fault = draw(st.sampled_from(("", "", "", "gone", "unreadable", "a VF is unreadable")))
        pfs += [pf] if fault != "gone" else []
        vfs += found
        problems += [Problem(str(address), "cannot read sriov_numvfs")] if fault == "unreadable" else []
        problems += [Problem(str(vf.address), "cannot read numa_node") for vf in found[:1] if fault.startswith("a VF")]
    for address in draw(st.sets(st.sampled_from(IN_MACHINE))):
        vfs.append(a_vf(address, FAMILY["4xxx"], draw(_drivers(FAMILY["4xxx"])), address.number))
    return a_snapshot(pfs, vfs, others=others, problems=problems)


@st.composite
def _pfs(draw: st.DrawFn, address: PciAddress) -> PhysicalFunction:
    """A PF on its driver, mostly, else on another or on none, which leaves it neither services nor a state."""
    pf = a_pf(
        address,
        draw(st.sampled_from(FAMILIES)).name,
        draw(st.sampled_from(TEXTS)),
        state=draw(st.sampled_from(("up", "up", "down"))),
        numa_node=draw(st.sampled_from((None, 0, 1))),
    )
    what = draw(st.sampled_from(("", "", "", "", "no driver", "vfio-pci", "no SR-IOV")))
    if what == "no SR-IOV":
        return replace(pf, total_vfs=draw(st.sampled_from((None, 0))))
    if what:
        driver = None if what == "no driver" else what
        return replace(pf, driver=driver, state=None, services=None, services_text=None, auto_reset=None)
    return pf


@st.composite
def _vfs(draw: st.DrawFn, vf: VirtualFunction) -> VirtualFunction:
    """The VF as it is, mostly, else on another driver, without a group, or with nodes that are not there."""
    what = draw(st.sampled_from(("", "", "", "driver", "no group", "no nodes", "noiommu")))
    driver = draw(_drivers(vf.family)) if what == "driver" else vf.driver
    group = vf.iommu_group if what != "no group" else None
    nodes: tuple[VfioNode, ...] = vf.nodes if driver in VFIO_DRIVERS and group is not None else ()
    if nodes and what == "no nodes":
        nodes = tuple(VfioNode(node.kind, node.path, present=False) for node in nodes)
    if nodes and what == "noiommu":
        nodes = (VfioNode(NodeKind.NOIOMMU, f"/dev/vfio/noiommu-{group}", present=True),)
    return replace(vf, driver=driver, iommu_group=group, nodes=nodes)


def _drivers(family: Family) -> st.SearchStrategy[str | None]:
    return st.sampled_from((None, family.vf_driver, "vfio-pci", "qat_vfio_pci"))


def documents() -> st.SearchStrategy[dict[str, Any]]:
    """Configurations without a fault, as plain values."""
    optional = {
        "resources": st.lists(_rules(), max_size=4).map(_agreeing),
        "defaultResources": st.booleans(),
        "hostReserved": st.lists(
            st.fixed_dictionaries({"vfs": st.integers(1, 3)}, optional={"pfs": _some(_slots())}), max_size=2
        ),
        "vfioDriver": st.sampled_from(sorted(VFIO_DRIVERS)),
        "allowNoIommu": st.booleans(),
        "provision": st.lists(specs(map(str, SLOTS)), max_size=2).map(reachable),
    }
    return st.fixed_dictionaries({"version": st.just(1)}, optional=optional).map(_with_known_names)


def _with_known_names(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out minimums of what no resource is called."""
    rules = document.get("resources", [])
    names = {rule["name"] for rule in rules}
    names |= set(default_names()) if document.get("defaultResources", not rules) else set()
    for spec in document.get("provision", []):
        if "minAvailable" in spec:
            spec["minAvailable"] = {name: least for name, least in spec["minAvailable"].items() if name in names}
    return document


def configs() -> st.SearchStrategy[Config]:
    return documents().map(parse_config)


def _rules() -> st.SearchStrategy[dict[str, Any]]:
    one = st.lists(st.sampled_from([service.value for service in Service]), min_size=1, max_size=3)
    optional: dict[str, st.SearchStrategy[Any]] = {
        "services": st.just(GENERIC) | one | st.lists(st.just(GENERIC) | one, min_size=1, max_size=3),
        "pfs": _some(_slots()),
        "numaNodes": _some(st.integers(0, 1)),
        "families": _some(st.sampled_from([family.name for family in FAMILIES])),
        "drivers": _some(st.sampled_from(sorted(VFIO_DRIVERS))),
        **BEHAVIOUR,
    }
    return st.fixed_dictionaries({"name": st.sampled_from(NAMES)}, optional=optional)


BEHAVIOUR: Mapping[str, st.SearchStrategy[Any]] = {
    "limit": st.integers(0, 4),
    "policy": st.sampled_from([policy.value for policy in Policy]),
    "deviceNode": st.sampled_from([path.value for path in DeviceNode]),
    "qatPolicy": st.integers(1, 3),
    "addressVariables": st.sampled_from((["qat"], ["kubevirt", "qat"], ["qat", "pcidevice"])),
    "env": st.dictionaries(st.from_regex(r"LIB_[A-Z]{1,3}", fullmatch=True), st.sampled_from(("", "1")), max_size=2),
}


def _agreeing(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give all rules of one name the behaviour of the first of them: they are one resource."""
    first = {rule["name"]: rule for rule in reversed(rules)}
    behaviour = {name: {key: rule[key] for key in BEHAVIOUR if key in rule} for name, rule in first.items()}
    return [
        {key: value for key, value in rule.items() if key not in BEHAVIOUR} | behaviour[rule["name"]] for rule in rules
    ]


def _slots() -> st.SearchStrategy[str]:
    return st.sampled_from([str(address) for address in SLOTS])


def _some(of: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(of, min_size=1, max_size=2)


def resources() -> st.SearchStrategy[str]:
    return st.sampled_from([f"qat.intel.com/{name}" for name in NAMES])


def ledger(snapshot: Snapshot) -> st.SearchStrategy[Ledger]:
    """What may be known of the VFs of a node, and of some that are not there any more."""
    known = [*(vf.address for vf in snapshot.vfs), *VANISHED]
    steps = st.sampled_from([step for step in Step if step is not Step.GONE])
    entries = st.builds(LedgerEntry, resources(), steps, st.integers(0, 9))
    drawn = st.dictionaries(st.sampled_from(known), entries, max_size=len(known))
    return drawn.map(lambda found: {at: replace(entry, vf=snapshot.vf(at)) for at, entry in found.items()})
