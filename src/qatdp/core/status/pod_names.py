"""Which pod has which VF, by name where it is known.

The checkpoint knows pods by UID, PodResources List by name. Both come from what one kubelet has in memory, so that the
same container with the same devices is the same pod, if nothing was admitted between the two. The folders below
/var/log/pods carry both.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from qatdp.core.config.model import is_ours
from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.stale import CheckpointEntry
from qatdp.core.status.report import Holder

# kubelet/kuberuntime/helpers.go, BuildPodLogsDirectory: no namespace and no pod's name has an underscore.
FOLDER = re.compile(r"([a-z0-9.-]{1,63})_([a-z0-9.-]{1,253})_([A-Za-z0-9-]{1,64})")


@dataclass(frozen=True, slots=True, order=True)
class PodName:
    namespace: str
    pod: str


@dataclass(frozen=True, slots=True)
class ListedDevices:
    """What PodResources List names for one container of one resource."""

    pod: PodName
    container: str
    resource: str
    devices: frozenset[PciAddress]


Names: TypeAlias = Mapping[str, PodName]  # by the pod's UID
_Key: TypeAlias = tuple[str, str, frozenset[PciAddress]]


def name_in(folder: str) -> tuple[str, PodName] | None:
    """Return UID and name of the pod whose log folder it is; None if it is no such folder. Static pods have one too."""
    match = FOLDER.fullmatch(folder)
    return (match[3], PodName(match[1], match[2])) if match else None


def names_in_list(pod_entries: Iterable[CheckpointEntry], listed: Iterable[ListedDevices]) -> Names:
    """Return the names of pods in the checkpoint: those whose container and devices one listed pod alone has."""
    uids, pods = defaultdict[_Key, set[str]](set), defaultdict[_Key, set[PodName]](set)
    for pod_entry in pod_entries:
        uids[pod_entry.container, pod_entry.resource, frozenset(pod_entry.devices)].add(pod_entry.uid)
    for one in listed:
        pods[one.container, one.resource, one.devices].add(one.pod)
    same = (key for key in uids if key[2] and len(uids[key]) == len(pods.get(key, ())) == 1)
    return {uid: pod for key in same for uid, pod in zip(uids[key], pods[key], strict=True)}


def holders(pod_entries: Iterable[CheckpointEntry], names: Names) -> Mapping[PciAddress, Collection[Holder]]:
    """Return the containers that the checkpoint names for each VF of ours."""
    found: dict[PciAddress, set[Holder]] = {}
    for pod_entry in pod_entries:
        if is_ours(pod_entry.resource):
            for device in pod_entry.devices:
                found.setdefault(device, set()).add(_holder(pod_entry, names.get(pod_entry.uid)))
    return found


def _holder(pod_entry: CheckpointEntry, name: PodName | None) -> Holder:
    if name is None:
        return Holder(None, None, pod_entry.container, pod_entry.uid)
    return Holder(name.namespace, name.pod, pod_entry.container, pod_entry.uid)
