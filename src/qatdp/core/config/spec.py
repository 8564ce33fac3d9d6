"""The spec: what a node's PFs should be. core/provision/planner.py decides what it means for the PFs of a node."""

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
class Partition:
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
class ProvisionSpec:
    """One entry of `provision`."""

    parts: tuple[Partition, ...]
    nodes: tuple[str, ...] | None = None  # patterns of node names; None: any node
    scope: Scope = Scope.NODE
    auto_reset: bool | None = None  # None: as it is
    exclude_pfs: frozenset[PciAddress] = frozenset()  # neither changed nor counted
    when: When = When.IDLE
    max_unavailable: int = 1  # PFs whose VFs pods could use, and that may be away at a time
    min_available: Mapping[str, int] = field(default_factory=dict)  # by resource: VFs that must stay
    cordon_timeout_s: int | None = None  # how long a PF that pods keep stays cordoned; None: for ever
    next: "ProvisionSpec | None" = None  # what `rollout` chooses some nodes for; differs in parts, scope, auto_reset
    rollout: Rollout | None = None


EMPTY_SPEC = ProvisionSpec(())


def spec_for_node(specs: Sequence[ProvisionSpec], node: str | None) -> ProvisionSpec:
    """Return the spec that a node takes, of the first that is about it; EMPTY_SPEC where none is.

    Raises ConfigError where its name decides and is not known.
    """
    index = which(specs, node)
    return EMPTY_SPEC if index is None else _staged(specs[index], node, f"provision[{index}].rollout")


def which(specs: Sequence[ProvisionSpec], node: str | None) -> int | None:
    """Return the index of the first spec that is about a node. Raises ConfigError as `spec_for_node` does."""
    for index, spec in enumerate(specs):
        if spec.nodes is None or _matches(node, spec.nodes, f"provision[{index}].nodes"):
            return index
    return None


def _matches(node: str | None, patterns: Iterable[str], path: str) -> bool:
    name = _known(node, path)
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _staged(spec: ProvisionSpec, node: str | None, path: str) -> ProvisionSpec:
    """Return what a node takes of a spec that may have another to come."""
    if spec.next is None or spec.rollout is None:
        return spec
    return spec.next if is_chosen(_known(node, path), spec.rollout) else replace(spec, next=None, rollout=None)


def _known(node: str | None, path: str) -> str:
    if node is None:
        hint = "say --node-name, or QATDP_NODE_NAME from the pod's spec.nodeName"
        raise ConfigError(path, "this node's name is not known", hint=hint)
    return node


def canonical(spec: ProvisionSpec) -> str:
    """Return a text for what a spec wants PFs to be, the same however it was written.

    Nodes are drawn by it, so it must not change from version to version: what is new in a spec adds a key where it is
    said, and nothing where it is not.
    """
    parts = [_plain_part(part) for part in spec.parts]
    return json.dumps(_said({"split": parts, "scope": spec.scope, "autoReset": spec.auto_reset}), sort_keys=True)


def _plain_part(part: Partition) -> Mapping[str, object]:
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


def can_do(family: Family, part: Partition) -> bool:
    return refusal(family, part.services) is None
