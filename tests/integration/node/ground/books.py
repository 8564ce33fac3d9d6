"""The kubelet's books of devices, read from its checkpoint: which it may hand out, and who has which.

This is the tests' own reader, so that a fault of the product's cannot hide itself.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass

from ground.kubelet import CHECKPOINT


@dataclass(frozen=True, slots=True)
class Holding:
    """What one container was given of one resource."""

    pod_uid: str
    container: str
    resource: str
    ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Books:
    offered: dict[str, frozenset[str]]  # healthy devices by resource
    holdings: tuple[Holding, ...]

    def held_by(self, pod_uid: str) -> frozenset[str]:
        return frozenset().union(*(holding.ids for holding in self.holdings if holding.pod_uid == pod_uid))

    def resources_that_name(self, device: str) -> Collection[str]:
        """Return the resources under which the device is offered or held."""
        offered = {resource for resource, ids in self.offered.items() if device in ids}
        return offered | {holding.resource for holding in self.holdings if device in holding.ids}


def read_books() -> Books:
    data = json.loads(CHECKPOINT.read_text())["Data"] if CHECKPOINT.exists() else {}
    holdings = tuple(
        Holding(
            entry["PodUID"],
            entry["ContainerName"],
            entry["ResourceName"],
            frozenset(device for ids in entry["DeviceIDs"].values() for device in ids),
        )
        for entry in data.get("PodDeviceEntries") or ()
    )
    offered = {resource: frozenset(ids or ()) for resource, ids in (data.get("RegisteredDevices") or {}).items()}
    return Books(offered, holdings)
