"""The spec in words, for who checks a configuration before a node follows it."""

from collections.abc import Iterator, Sequence

from qatdp.core.config.rollout import drawn
from qatdp.core.config.spec import Partition, ProvisionSpec, Scope, When, spec_for_node, which
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import GENERIC, in_order


def describe_specs(specs: Sequence[ProvisionSpec], node: str | None) -> Iterator[str]:
    """Yield what each entry of `provision` says and, where the node's name is known, what that node takes."""
    for index, spec in enumerate(specs):
        yield from _entry(spec, f"provision[{index}]")
    if node is not None:
        yield _taken(specs, node)


def _entry(spec: ProvisionSpec, path: str) -> Iterator[str]:
    about = f"nodes {', '.join(spec.nodes)}" if spec.nodes else "any node"
    yield f"{path}, for {about}{_policy(spec)}:"
    if spec.next is None or spec.rollout is None:
        yield from (f"  {line}" for line in _target(spec))
        return
    salt = f", salt {spec.rollout.salt}" if spec.rollout.salt else ""
    yield "  current:"
    yield from (f"    {line}" for line in _target(spec))
    yield f"  next, for {spec.rollout.percent:g} per cent of them{salt}:"
    yield from (f"    {line}" for line in _target(spec.next))


def _policy(spec: ProvisionSpec) -> str:
    """Tell what is not as it is where nothing is said."""
    cordons = "; PFs in use are cordoned" if spec.when is When.CORDON else ""
    back = f", for {spec.cordon_timeout_s} s at most" if spec.cordon_timeout_s else ""
    away = f"; {spec.max_unavailable} PFs at once" if spec.max_unavailable > 1 else ""
    least = "".join(f"; at least {count} of {name} stay" for name, count in sorted(spec.min_available.items()))
    alone = f"; left alone: {_addresses(spec.exclude_pfs)}" if spec.exclude_pfs else ""
    return f"{cordons}{back}{away}{least}{alone}"


def _target(spec: ProvisionSpec) -> Iterator[str]:
    scope = " of each NUMA node" if spec.scope is Scope.NUMA_NODE else ""
    for index, part in enumerate(spec.parts):
        yield f"{_services(part)}: {_amount(part, index)}{scope}{_selector(part)}"
    if spec.auto_reset is not None:
        yield f"autoReset: {'on' if spec.auto_reset else 'off'}"


def _services(part: Partition) -> str:
    return ";".join(in_order(part.services)) if part.services else GENERIC


def _amount(part: Partition, index: int) -> str:
    if part.percent is not None:
        return f"{part.percent} per cent of the PFs"
    if part.count is not None:
        return f"{part.count} {'PF' if part.count == 1 else 'PFs'}"
    return "all PFs that are left" if index else "all PFs"


def _selector(part: Partition) -> str:
    families = f" of {', '.join(sorted(part.families))}" if part.families else ""
    nodes = f" on NUMA node {', '.join(map(str, sorted(part.numa_nodes)))}" if part.numa_nodes else ""
    pfs = f" among {_addresses(part.pfs)}" if part.pfs else ""
    return f"{families}{nodes}{pfs}"


def _addresses(pfs: frozenset[PciAddress]) -> str:
    return ", ".join(map(str, sorted(pfs)))


def _taken(specs: Sequence[ProvisionSpec], node: str) -> str:
    index = which(specs, node)
    if index is None:
        return f"node {node}: no entry is about it, so none of its PFs is changed"
    spec = specs[index]
    if spec.next is None or spec.rollout is None:
        return f"node {node}: takes provision[{index}]"
    chosen = "next" if spec_for_node(specs, node) is spec.next else "current"
    why = f"its number is {drawn(node, spec.rollout):.4f}, and those below {spec.rollout.percent:g} take next"
    return f"node {node}: takes {chosen} of provision[{index}] ({why})"
