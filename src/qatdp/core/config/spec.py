"""The wish: what a node's PFs should be. core/provision/planner.py decides what it means for the PFs of a node."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase

from qatdp.core.config.rollout import Rollout, is_chosen
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import GENERIC, Family, Services, refused_services
from qatdp.core.model.snapshot import PhysicalFunction
from qatdp.errors import ConfigError

WHOLE = 100  # per cent


class When(StrEnum):
    """When `qatdp run --provision` takes a PF whose VFs pods have."""

    IDLE = "idle"  # once no pod has any: until then all its VFs are offered
    CORDON = "cordon"  # nobody gets its free VFs from now on, so that it becomes idle


class Scope(StrEnum):
    """Of what shares and counts are: of the whole node, or of each of its NUMA nodes by itself."""

    NODE = "node"
    NUMA_NODE = "numaNode"


@dataclass(frozen=True, slots=True)
class Part:
    """One entry of `split`: PFs that are to have these services; None stands for those whose services are not chosen.

    With neither `percent` nor `count` it takes all that it selects and no earlier part has taken.
    """

    services: Services | None
    percent: int | None = None  # per cent of the PFs that it selects
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
    """One entry of `provision`."""

    parts: tuple[Part, ...]
    nodes: tuple[str, ...] | None = None  # patterns of node names; None: any node
    scope: Scope = Scope.NODE
    auto_reset: bool | None = None  # None: as it is
    exclude_pfs: frozenset[PciAddress] = frozenset()  # neither changed nor counted
    when: When = When.IDLE
    max_unavailable: int = 1  # PFs whose VFs pods could use, and that may be away at a time
    min_available: Mapping[str, int] = field(default_factory=dict)  # by resource: VFs that must stay
    cordon_timeout_s: int | None = None  # how long a PF that pods keep stays cordoned; None: for ever
    next: "Wish | None" = None  # what `rollout` chooses some nodes for; differs in parts, scope and auto_reset alone
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


def canonical(wish: Wish) -> str:
    """Return a text for what a wish wants PFs to be, the same however it was written.

    Nodes are drawn by it, so it must not change from version to version: what is new in a wish adds a key where it is
    said, and nothing where it is not.
    """
    parts = [_plain_part(part) for part in wish.parts]
    return json.dumps(_said({"split": parts, "scope": wish.scope, "autoReset": wish.auto_reset}), sort_keys=True)


def _plain_part(part: Part) -> Mapping[str, object]:
    return _said(
        {
            "services": GENERIC if part.services is None else sorted(part.services),
            "percent": part.percent,
            "count": part.count,
            "pfs": part.pfs and [str(pf) for pf in sorted(part.pfs)],
            "numaNodes": part.numa_nodes and sorted(part.numa_nodes),
            "families": part.families and sorted(part.families),
        }
    )


def _said(values: Mapping[str, object]) -> Mapping[str, object]:
    return {key: value for key, value in values.items() if value is not None}


def refusal(family: Family, services: Services | None) -> str | None:
    """Return why PFs of a family cannot be what a part wants; None where they can."""
    if services is None:
        return "its services can be chosen" if family.selectable else None
    return refused_services(family, services)


def can_do(family: Family, part: Part) -> bool:
    return refusal(family, part.services) is None
