"""Pods that keep what they were given and open nothing, while their VFs get other nodes than that."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ground import pfs
from ground.node import Node
from ground.pods import NAMES, Container, Pod
from ground.probe import names

REFUSED = "another node than this pod was given"


@dataclass(frozen=True, slots=True)
class Given:
    """A pod that runs and opens nothing, the VF that it has, and the node that it was given for it."""

    pod: Pod
    vf: str
    node: Path
    node_of: Callable[[str], Path | None]

    @property
    def owner(self) -> str:
        """Return the VF that has its node now."""
        return next(vf for vf in all_vfs() if self.node_of(vf) == self.node)

    def is_refused(self) -> bool:
        """Return whether the kubelet says of it that a container is not started for this reason."""
        waiting: Mapping[str, str] = self.pod.status["containerStatuses"][0]["state"].get("waiting", {})
        return REFUSED in waiting.get("message", "")


def give(node: Node, resource: str, node_of: Callable[[str], Path | None]) -> Given:
    pod = node.pods.put(Container(limits={resource: 1}, command=NAMES), name="keeps")
    (vf,) = names(pod)
    what = node_of(vf)
    assert what, f"{vf} has no node"
    return Given(pod, vf, what, node_of)


def all_vfs() -> Sequence[str]:
    return [vf for pf in pfs.pf_addresses() for vf in pfs.vf_addresses(pf)]


def free_of(given: Sequence[Given]) -> frozenset[str]:
    """Return the VFs that none of these has, and whose node none of these was given."""
    return frozenset(all_vfs()) - {one.vf for one in given} - {one.owner for one in given}
