"""The wish: what a node's PFs should be, as the configuration's `provision` says it.

The model and the reading of it from plain values; core/split.py decides what it means for the PFs that a node has.
What no device can be is refused here, with its key.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase

from qatdp.core import plain
from qatdp.core.pci import PciAddress
from qatdp.core.qat import FAMILIES, GENERIC, Family, Services, refused_services
from qatdp.core.rollout import Rollout, is_chosen, read_rollout
from qatdp.core.snapshot import PhysicalFunction
from qatdp.errors import ConfigError

WHOLE = 100  # per cent


class When(StrEnum):
    """When `qatdp run --manage` takes a PF whose VFs pods have."""

    IDLE = "idle"  # once no pod has any: until then all its VFs are offered
    DRAIN = "drain"  # nobody gets its free VFs from now on, so that it becomes idle


class Per(StrEnum):
    """Of what shares and counts are: of the whole node, or of each of its NUMA nodes by itself."""

    NODE = "node"
    NUMA_NODE = "numa_node"


@dataclass(frozen=True, slots=True)
class Part:
    """One entry of `split`: PFs that are to have these services; None stands for those whose services are not chosen.

    With neither `share` nor `count` it takes all that it selects and no earlier part has taken.
    """

    services: Services | None
    share: int | None = None  # per cent of the PFs that it selects
    count: int | None = None
    pfs: frozenset[PciAddress] | None = None
    numa_nodes: frozenset[int] | None = None
    families: frozenset[str] | None = None

    def selects(self, pf: PhysicalFunction) -> bool:
        return (
            (self.pfs is None or pf.address in self.pfs)
            and (self.numa_nodes is None or pf.numa_node in self.numa_nodes)
            and (self.families is None or pf.family.name in self.families)
        )

    @property
    def selector(self) -> object:
        return self.pfs, self.numa_nodes, self.families


@dataclass(frozen=True, slots=True)
class Wish:
    """One entry of `provision`.

    `at_once`: of so many PFs that pods could use the VFs may be away at a time. `min_available`: by resource, how many
    VFs must stay, or no PF of it is taken away. `give_back_after`: for so many seconds a PF drains that pods keep.
    `next` is what `rollout` chooses some nodes for; it has all but `nodes` and these two in common with this one.
    """

    parts: tuple[Part, ...]
    nodes: tuple[str, ...] | None = None  # patterns of node names; None: any node
    per: Per = Per.NODE
    auto_reset: bool | None = None  # None: as it is
    leave_alone: frozenset[PciAddress] = frozenset()
    when: When = When.IDLE
    at_once: int = 1
    min_available: Mapping[str, int] = field(default_factory=dict)
    give_back_after: int | None = None  # None: for ever
    next: "Wish | None" = None
    rollout: Rollout | None = None


NO_WISH = Wish(())


def wish_of(wishes: Sequence[Wish], node: str | None) -> Wish:
    """Return the wish that a node takes, of the first that is about it; NO_WISH where none is.

    Raises ConfigError where its name decides and is not known.
    """
    index = which(wishes, node)
    return NO_WISH if index is None else _staged(wishes[index], node, f"provision[{index}].rollout")


def which(wishes: Sequence[Wish], node: str | None) -> int | None:
    """Return the index of the first wish that is about a node. Raises ConfigError as `wish_of` does."""
    for index, wish in enumerate(wishes):
        if wish.nodes is None or _matches(node, wish.nodes, f"provision[{index}].nodes"):
            return index
    return None


def _matches(node: str | None, patterns: Iterable[str], path: str) -> bool:
    name = _known(node, path)
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _staged(wish: Wish, node: str | None, path: str) -> Wish:
    """Return what a node takes of a wish that may have another to come."""
    if wish.next is None or wish.rollout is None:
        return wish
    return wish.next if is_chosen(_known(node, path), wish.rollout) else replace(wish, next=None, rollout=None)


def _known(node: str | None, path: str) -> str:
    if node is None:
        hint = "say --node-name, or QATDP_NODE_NAME from the pod's spec.nodeName"
        raise ConfigError(path, "this node's name is not known", hint=hint)
    return node


# What PFs should be; the other keys tell which nodes are meant, and how they get there.
TARGET_KEYS = ("split", "per", "auto_reset")
STAGED_KEYS = ("current", "next", "rollout")
WISH_KEYS = ("nodes", "leave_alone", "when", "at_once", "min_available", "give_back_after")


def read_wish(value: object, path: str) -> Wish:
    """Read one entry of `provision`; raises ConfigError."""
    entry = plain.a_mapping(value, path)
    plain.only_known(entry, path, *TARGET_KEYS, *WISH_KEYS, *STAGED_KEYS)
    if not any(key in entry for key in STAGED_KEYS):
        return _aimed(_policy(entry, path), entry, path)
    _check_staged(entry, path)
    current, next_ = (
        _aimed(_policy(entry, path), _target(entry[key], f"{path}.{key}"), f"{path}.{key}") for key in STAGED_KEYS[:2]
    )
    return replace(current, next=next_, rollout=read_rollout(entry["rollout"], f"{path}.rollout", canonical(next_)))


def canonical(wish: Wish) -> str:
    """Return a text for what a wish wants PFs to be, the same however it was written.

    Nodes are drawn by it, so it must not change from version to version: what is new in a wish adds a key where it is
    said, and nothing where it is not.
    """
    parts = [_plain_part(part) for part in wish.parts]
    return json.dumps(_said({"split": parts, "per": wish.per, "auto_reset": wish.auto_reset}), sort_keys=True)


def _plain_part(part: Part) -> Mapping[str, object]:
    return _said(
        {
            "services": GENERIC if part.services is None else sorted(part.services),
            "share": part.share,
            "count": part.count,
            "pfs": part.pfs and [str(pf) for pf in sorted(part.pfs)],
            "numa_nodes": part.numa_nodes and sorted(part.numa_nodes),
            "families": part.families and sorted(part.families),
        }
    )


def _said(values: Mapping[str, object]) -> Mapping[str, object]:
    return {key: value for key, value in values.items() if value is not None}


def _check_staged(entry: Mapping[str, object], path: str) -> None:
    for key in TARGET_KEYS:
        if key in entry:
            raise ConfigError(f"{path}.{key}", "stands beside a rollout", hint="put it into current and next")
    for key in STAGED_KEYS:
        if key not in entry:
            raise ConfigError(f"{path}.{key}", "missing", hint="a rollout leads from current to next")


def _target(value: object, path: str) -> Mapping[str, object]:
    target = plain.a_mapping(value, path)
    plain.only_known(target, path, *TARGET_KEYS)
    return target


def _policy(entry: Mapping[str, object], path: str) -> Wish:
    """Read what is about the nodes, and how they are changed."""
    when = When(plain.a_choice(entry.get("when", When.IDLE), f"{path}.when", list(When)))
    if "give_back_after" in entry and when is not When.DRAIN:
        raise ConfigError(f"{path}.give_back_after", "nothing is drained", hint="it goes with when: drain")
    return Wish(
        parts=(),
        nodes=_patterns(entry, path),
        leave_alone=plain.a_set(entry, path, "leave_alone", plain.an_address) or frozenset(),
        when=when,
        at_once=plain.a_count(entry.get("at_once", 1), f"{path}.at_once", least=1),
        min_available=_least(entry.get("min_available", {}), f"{path}.min_available"),
        give_back_after=plain.a_count(entry["give_back_after"], f"{path}.give_back_after", least=1)
        if "give_back_after" in entry
        else None,
    )


def _aimed(policy: Wish, target: Mapping[str, object], path: str) -> Wish:
    """Read what PFs should be."""
    if "split" not in target:
        raise ConfigError(f"{path}.split", "missing", hint="such as: [{services: [sym, asym], share: 50}]")
    parts = plain.each(target, path, "split", _part)
    _check_parts(parts, f"{path}.split")
    return replace(
        policy,
        parts=parts,
        per=Per(plain.a_choice(target.get("per", Per.NODE), f"{path}.per", list(Per))),
        auto_reset=plain.a_flag(target, path, "auto_reset", default=False) if "auto_reset" in target else None,
    )


def _least(value: object, path: str) -> Mapping[str, int]:
    counts = plain.a_mapping(value, path)
    return {name: plain.a_count(count, f"{path}.{name}") for name, count in counts.items()}


def _patterns(entry: Mapping[str, object], path: str) -> tuple[str, ...] | None:
    found = plain.a_set(entry, path, "nodes", plain.a_text)
    return None if found is None else tuple(sorted(found))


def _part(value: object, path: str) -> Part:
    part = plain.a_mapping(value, path)
    plain.only_known(part, path, "services", "share", "count", "pfs", "numa_nodes", "families")
    if "services" not in part:
        raise ConfigError(f"{path}.services", "missing", hint="such as [sym, asym]; generic before gen4")
    if "share" in part and "count" in part:
        raise ConfigError(path, "has both a share and a count", hint="leave one of them out")
    names = [family.name for family in FAMILIES]
    families = plain.a_set(part, path, "families", lambda of, key: plain.a_choice(of, key, names))
    services = plain.a_service_set(part["services"], f"{path}.services")
    _check_services(services, families, f"{path}.services")
    return Part(
        services=services,
        share=_share(part["share"], f"{path}.share") if "share" in part else None,
        count=plain.a_count(part["count"], f"{path}.count") if "count" in part else None,
        pfs=plain.a_set(part, path, "pfs", plain.an_address),
        numa_nodes=plain.a_set(part, path, "numa_nodes", plain.a_count),
        families=families,
    )


def _share(value: object, path: str) -> int:
    share = plain.a_count(value, path)
    if share > WHOLE:
        raise ConfigError(path, f"expected per cent, {WHOLE} at most, got {share}")
    return share


def _check_services(services: Services | None, families: frozenset[str] | None, path: str) -> None:
    """Refuse what none of the families can do that could be meant."""
    meant = [family for family in FAMILIES if families is None or family.name in families]
    reasons = [refusal(family, services) for family in meant]
    if all(reasons):
        raise ConfigError(path, f"no device can do this: {reasons[-1]}")


def refusal(family: Family, services: Services | None) -> str | None:
    """Tell why PFs of a family cannot be what a part wants; None where they can."""
    if services is None:
        return "its services can be chosen" if family.selectable else None
    return refused_services(family, services)


def can_do(family: Family, part: Part) -> bool:
    return refusal(family, part.services) is None


def _check_parts(parts: Sequence[Part], path: str) -> None:
    """Refuse parts of which one can get nothing, whatever PFs there are."""
    if not parts:
        raise ConfigError(path, "empty", hint="leave the whole entry out to have nothing changed")
    shares: dict[object, int] = {}
    for index, part in enumerate(parts):
        shares[part.selector] = shares.get(part.selector, 0) + (part.share or 0)
        if shares[part.selector] > WHOLE:
            problem = f"shares add up to {shares[part.selector]} per cent of the same PFs"
            raise ConfigError(f"{path}[{index}].share", problem)
        for before in range(index):
            if _takes_all(parts[before]):
                _refuse_shadowed(parts, before, index, path)


def _refuse_shadowed(parts: Sequence[Part], before: int, index: int, path: str) -> None:
    able = [family for family in FAMILIES if can_do(family, parts[index])]
    if all(can_do(family, parts[before]) for family in able):
        problem = f"can get nothing: split[{before}] takes all PFs that are left"
        raise ConfigError(f"{path}[{index}]", problem, hint="put the entry without share, count or selector last")


def _takes_all(part: Part) -> bool:
    return part.share is None and part.count is None and part.selector == (None, None, None)
