"""The wish in words, for who checks a configuration before a node follows it."""

from collections.abc import Iterator, Sequence

from qatdp.core.config.rollout import drawn
from qatdp.core.config.spec import Part, Scope, When, Wish, which, wish_of
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import GENERIC, in_order


def wishes_in_words(wishes: Sequence[Wish], node: str | None) -> Iterator[str]:
    """Yield what each entry of `provision` says and, where the node's name is known, what that node takes."""
    for index, wish in enumerate(wishes):
        yield from _entry(wish, f"provision[{index}]")
    if node is not None:
        yield _taken(wishes, node)


def _entry(wish: Wish, path: str) -> Iterator[str]:
    about = f"nodes {', '.join(wish.nodes)}" if wish.nodes else "any node"
    yield f"{path}, for {about}{_policy(wish)}:"
    if wish.next is None or wish.rollout is None:
        yield from (f"  {line}" for line in _target(wish))
        return
    salt = f", salt {wish.rollout.salt}" if wish.rollout.salt else ""
    yield "  current:"
    yield from (f"    {line}" for line in _target(wish))
    yield f"  next, for {wish.rollout.percent:g} per cent of them{salt}:"
    yield from (f"    {line}" for line in _target(wish.next))


def _policy(wish: Wish) -> str:
    """Tell what is not as it is where nothing is said."""
    cordons = "; PFs in use are cordoned" if wish.when is When.CORDON else ""
    back = f", for {wish.cordon_timeout_s} s at most" if wish.cordon_timeout_s else ""
    away = f"; {wish.max_unavailable} PFs at once" if wish.max_unavailable > 1 else ""
    least = "".join(f"; at least {count} of {name} stay" for name, count in sorted(wish.min_available.items()))
    alone = f"; left alone: {_addresses(wish.exclude_pfs)}" if wish.exclude_pfs else ""
    return f"{cordons}{back}{away}{least}{alone}"


def _target(wish: Wish) -> Iterator[str]:
    scope = " of each NUMA node" if wish.scope is Scope.NUMA_NODE else ""
    for index, part in enumerate(wish.parts):
        yield f"{_services(part)}: {_amount(part, index)}{scope}{_selector(part)}"
    if wish.auto_reset is not None:
        yield f"autoReset: {'on' if wish.auto_reset else 'off'}"


def _services(part: Part) -> str:
    return ";".join(in_order(part.services)) if part.services else GENERIC


def _amount(part: Part, index: int) -> str:
    if part.percent is not None:
        return f"{part.percent} per cent of the PFs"
    if part.count is not None:
        return f"{part.count} {'PF' if part.count == 1 else 'PFs'}"
    return "all PFs that are left" if index else "all PFs"


def _selector(part: Part) -> str:
    families = f" of {', '.join(sorted(part.families))}" if part.families else ""
    nodes = f" on NUMA node {', '.join(map(str, sorted(part.numa_nodes)))}" if part.numa_nodes else ""
    pfs = f" among {_addresses(part.pfs)}" if part.pfs else ""
    return f"{families}{nodes}{pfs}"


def _addresses(pfs: frozenset[PciAddress]) -> str:
    return ", ".join(map(str, sorted(pfs)))


def _taken(wishes: Sequence[Wish], node: str) -> str:
    index = which(wishes, node)
    if index is None:
        return f"node {node}: no entry is about it, so none of its PFs is changed"
    wish = wishes[index]
    if wish.next is None or wish.rollout is None:
        return f"node {node}: takes provision[{index}]"
    chosen = "next" if wish_of(wishes, node) is wish.next else "current"
    why = f"its number is {drawn(node, wish.rollout):.4f}, and those below {wish.rollout.percent:g} take next"
    return f"node {node}: takes {chosen} of provision[{index}] ({why})"
