"""Which devices a request gets, and what a container is given with them.

Pure: reads one frozen pool and the steps of the ledger, no file, no clock. The ledger decides at the moment of the call
whether an ID is granted; the pool, which can be a moment older, says what is wrong with a device and what it has.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import TypeAlias

from qatdp.core.config.model import AddressVariable, Policy, kubevirt_variable_of, variable_of
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.ranges import cut
from qatdp.core.pools.pools import Health, PoolDevice, ResourcePool
from qatdp.core.reasons import Reason, defect
from qatdp.core.release.protocol import MAYBE_IN_USE, OUT_OF_LIST, Step
from qatdp.errors import AllocationError, OpenDeviceError, UnknownDeviceError

# VFIO maps and ioctls need read and write; making nodes ("m") is nobody's business.
PERMISSIONS = "rw"

ANOTHER_DEVICE = "try again: another device is chosen once the kubelet has been told, within some seconds"


# The step of an ID of the resource in the ledger, now; None where the ledger does not have it under that resource.
StepOf: TypeAlias = Callable[[PciAddress], Step | None]


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a container is given: `nodes` by their path, on the host and in the container alike, and its environment.

    `functions` are those that must be closed for the container to open its devices.
    """

    devices: tuple[PciAddress, ...]
    nodes: tuple[str, ...]
    env: Mapping[str, str]
    functions: tuple[PciAddress, ...] = ()


def allocate(pool: ResourcePool, ids: Iterable[str], step_of: StepOf) -> Allocation:
    """Return what the container gets that the kubelet chose these IDs for; the same IDs always give the same answer.

    An ID that somebody may have is answered whatever its state: the kubelet asks again for a pod that it has admitted
    before, and does not say for whom. Not so one whose node another pod has: two would have one VF. An ID that is being
    withdrawn is granted, which ends its withdrawal: an error would fail that pod for ever.

    Raises AllocationError for an ID with a defect that nobody has, UnknownDeviceError for one that is not in the list.
    """
    devices = sorted((_granted(pool, text, step_of) for text in set(ids)), key=lambda device: device.address)
    addresses = tuple(device.address for device in devices)
    nodes = sorted({node for device in devices for node in device.nodes})
    functions = tuple(function for device in devices for function in device.functions)
    return Allocation(addresses, tuple(nodes), environment(pool, addresses), functions)


def _granted(pool: ResourcePool, text: str, step_of: StepOf) -> PoolDevice:
    device = pool.device(text)
    step = step_of(device.address) if device else None
    if device is None or step is None or step in OUT_OF_LIST:
        unknown = defect(Reason.NOT_LISTED, device=cut(text), resource=pool.resource)
        raise UnknownDeviceError(unknown, unknown.reason, hint="it has left the list; try again")
    if (device.vf_defect and step not in MAYBE_IN_USE) or device.claimed_elsewhere or not device.nodes:
        why = device.vf_defect or defect(Reason.NODES_UNKNOWN)
        raise AllocationError(f"{text} of {pool.resource} cannot be used: {why}", why.reason)
    return device


def check_closed(pool: ResourcePool, allocation: Allocation, opened: Collection[PciAddress]) -> None:
    """Raise OpenDeviceError where a container could not open its devices; `opened` are functions that are open now."""
    for function in allocation.functions:
        if function in opened:
            reason = Reason.DEVICE_OPEN if function in allocation.devices else Reason.GROUP_OPEN
            why = defect(reason, device=function, resource=pool.resource)
            raise OpenDeviceError(why, why.reason, hint=ANOTHER_DEVICE)


def check_start(pool: ResourcePool, ids: Collection[str], opened: Collection[PciAddress] = ()) -> None:
    """Raise AllocationError where a container is about to be started with what it was given for devices that are
    elsewhere now, or that another pod has open. What is not known does not keep it from starting.

    `opened` are functions that are open now, of those that `functions_to_check` has named.
    """
    for device in _asked(pool, ids):
        named = {"device": device.address, "resource": pool.resource}
        if device.outdated:
            why = defect(Reason.NODE_CHANGED, **named)
            raise AllocationError(why, why.reason, hint="delete the pod: one in its place is given what is right")
        if device.shared and any(function in opened for function in device.functions):
            why = defect(Reason.GIVEN_TWICE, **named)
            raise OpenDeviceError(why, why.reason, hint="delete this pod: one in its place is given another device")


def functions_to_check(pool: ResourcePool, ids: Collection[str]) -> tuple[PciAddress, ...]:
    """Return the functions that must be closed before a container starts: those of devices that two pods were given."""
    return tuple(function for device in _asked(pool, ids) if device.shared for function in device.functions)


def _asked(pool: ResourcePool, ids: Collection[str]) -> Iterator[PoolDevice]:
    found = (pool.device(text) for text in sorted(set(ids)))
    return (device for device in found if device)


def environment(pool: ResourcePool, addresses: Collection[PciAddress]) -> Mapping[str, str]:
    """Return the environment that names a container's devices.

    Which variables, the resource's options say. Intel's DPDK image hands the value of every variable that begins with
    QAT to `-a`, so each of them is an address, unless QAT_POLICY is asked for.
    """
    wanted = sorted(pool.options.address_variables)
    named = {name: value for kind in wanted for name, value in VARIABLES[kind](pool.resource, addresses).items()}
    policy = {"QAT_POLICY": str(pool.options.qat_policy)} if pool.options.qat_policy else {}
    return {**dict(pool.options.env), **named, **policy}


def _joined(addresses: Iterable[PciAddress]) -> str:
    return ",".join(map(str, addresses))


# QAT<n> of two resources in one container never collide where n derives from the address; where it counts, they do.
VARIABLES: Mapping[AddressVariable, Callable[[str, Collection[PciAddress]], Mapping[str, str]]] = MappingProxyType(
    {
        AddressVariable.PCIDEVICE: lambda resource, of: {variable_of(resource): _joined(of)},
        AddressVariable.KUBEVIRT: lambda resource, of: {kubevirt_variable_of(resource): _joined(of)},
        AddressVariable.QAT: lambda _, of: {f"QAT{address.number}": str(address) for address in of},
        AddressVariable.INDEX: lambda _, of: {f"QAT{index}": str(address) for index, address in enumerate(of)},
    }
)


def prefer(pool: ResourcePool, available: Collection[str], must_include: Collection[str], size: int) -> tuple[str, ...]:
    """Return the IDs that a request of that size should get: must_include, then what the resource's policy picks.

    Never raises: IDs that the pool does not know count as functions of one unknown PF. Fewer than `size` come back only
    where there are not more.
    """
    known = {str(device.address): device for device in pool.devices}
    given = sorted(set(must_include), key=_order)
    free = sorted(set(available) - set(given), key=_order)
    free = _best(free, size - len(given), known)
    need = min(size - len(given), len(free))
    if need <= 0:
        return tuple(given)
    places = {text: _place(known.get(text)) for text in (*given, *free)}
    request = _Request(need, _by_place(free, places), _count(given, places), _others_use(known, {*given, *free}))
    return (*given, *PICK[pool.options.policy](request))


def _best(free: list[str], need: int, known: Mapping[str, PoolDevice]) -> list[str]:
    """Return the best of them that are enough: those that shall stay, or at least healthy ones, or else all.

    What the kubelet believes to be available can be older than the pool; and a busy VF that is to leave, of which each
    pod is followed by another, would never leave.
    """
    healthy = [text for text in free if text in known and known[text].health is Health.HEALTHY]
    staying = [text for text in healthy if not known[text].cordoned]
    return next((some for some in (staying, healthy) if len(some) >= need), free)


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    """Where a device lies; -1 and "" stand for what is not known."""

    numa_node: int
    pf: str


def _place(device: PoolDevice | None) -> _Place:
    if device is None:
        return _Place(-1, "")
    return _Place(-1 if device.numa_node is None else device.numa_node, str(device.pf) if device.pf else "")


def _order(text: str) -> tuple[bool, PciAddress | str, str]:
    address = PciAddress.parse_or_none(text)
    return (address is None, address or text, text)  # two texts can write one address


def _by_place(ids: Iterable[str], places: Mapping[str, _Place]) -> Mapping[_Place, tuple[str, ...]]:
    found: dict[_Place, list[str]] = {}
    for text in ids:
        found.setdefault(places[text], []).append(text)
    return {place: tuple(of) for place, of in found.items()}


def _count(ids: Iterable[str], places: Mapping[str, _Place]) -> Mapping[_Place, int]:
    return Counter(places[text] for text in ids)


def _others_use(known: Mapping[str, PoolDevice], free: Collection[str]) -> Mapping[_Place, int]:
    return Counter(_place(device) for text, device in known.items() if text not in free)


@dataclass(frozen=True, slots=True)
class _Request:
    """What is to be picked: `need` of `free`, where the request's own and those of others already lie."""

    need: int
    free: Mapping[_Place, tuple[str, ...]]
    begun: Mapping[_Place, int]
    others: Mapping[_Place, int]


def _local(request: _Request) -> Iterable[str]:
    """Pick for the fewest NUMA nodes, then the fewest PFs, counting those that the request has begun.

    Every smallest set of NUMA nodes is tried (a machine has few); within one, taking the PFs that give most is best.
    """
    begun = {place.numa_node for place in request.begun}
    others = sorted({place.numa_node for place in request.free} - begun)
    for more in range(len(others) + 1):
        choices = (_fewest_pfs(request, begun.union(nodes)) for nodes in combinations(others, more))
        best = min((choice for choice in choices if choice), key=lambda choice: choice[0], default=None)
        if best:
            return best[1]
    return ()  # not reached: all nodes together have what is needed


def _fewest_pfs(request: _Request, nodes: Collection[int]) -> tuple[int, tuple[str, ...]] | None:
    """Pick from these nodes; return how many PFs that begins, and the IDs. None where the nodes have too few.

    The last PF is the one that leaves least over, so that large ones stay whole for large requests.
    """
    here = {place: ids for place, ids in request.free.items() if place.numa_node in nodes}
    picked = [text for place in sorted(here) if place in request.begun for text in here[place]]
    whole = sorted(here.keys() - request.begun.keys(), key=lambda place: (-len(here[place]), place))
    pfs = 0
    while whole and len(picked) < request.need:
        enough = [place for place in whole if len(here[place]) >= request.need - len(picked)]
        place = min(enough, key=lambda place: (len(here[place]), place)) if enough else whole[0]
        whole.remove(place)
        picked += here[place]
        pfs += 1
    return (pfs, tuple(picked[: request.need])) if len(picked) >= request.need else None


def _packed(request: _Request) -> Iterable[str]:
    """Pick so that as few PFs as possible keep something free: the one with least left is filled first."""
    order = sorted(request.free, key=lambda place: (len(request.free[place]), place))
    return [text for place in order for text in request.free[place]][: request.need]


def _balanced(request: _Request) -> Iterable[str]:
    """Pick one by one, each from the PF that has fewest in use."""
    used = Counter(request.others) + Counter(request.begun)
    left = {place: list(ids) for place, ids in request.free.items()}
    for _ in range(request.need):
        place = min((place for place in left if left[place]), key=lambda place: (used[place], place))
        yield left[place].pop(0)
        used[place] += 1


PICK: Mapping[Policy, Callable[[_Request], Iterable[str]]] = MappingProxyType(
    {Policy.LOCAL: _local, Policy.PACKED: _packed, Policy.BALANCED: _balanced}
)
