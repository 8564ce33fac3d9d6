"""What the endpoints tell whoever keeps the ledger. Called on the event loop, and never waits."""

from collections.abc import Collection
from typing import Protocol

from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.pools import ResourcePool
from qatdp.core.release.protocol import Step


class Observer(Protocol):
    """A moment is the daemon's own count of what it has learned, so that it is known what began after what."""

    def step_of(self, resource: str, address: PciAddress) -> Step | None:
        """Return the step of an ID in the ledger, now; None where the ledger does not have it under this resource."""

    def list_sending(self, pool: ResourcePool) -> None:
        """Take note that a list is about to be written to a stream, or to one that is to be retired."""

    def list_sent(self, resource: str, revision: int) -> None:
        """Take note that the list of a resource was written to the kubelet's stream, as a pool of that revision."""

    def stream_lost(self, resource: str) -> None:
        """Take note that a resource has no stream, or will have another one."""

    def call_began(self) -> int:
        """Take note that the kubelet has called GetPreferredAllocation or Allocate; return the moment."""

    def call_ended(self, began: int) -> None:
        """Take note that the call of that moment has ended, with whatever answer or with none."""

    def allocated(self, resource: str, ids: Collection[str], began: int) -> None:
        """Take note that an Allocate that named these IDs, and began at that moment, is about to be answered."""

    def wait_began(self, resource: str, ids: Collection[str]) -> None:
        """Take note that an Allocate that names these IDs is under way, and may yet be granted or refused."""

    def wait_ended(self, resource: str, ids: Collection[str]) -> None:
        """Take note that it is under way no more: it is answered at once, or the kubelet has given it up."""

    def preference_requested(self, resource: str, ids: Collection[str]) -> None:
        """Take note that the kubelet is about to choose among these IDs."""
