"""What the endpoints tell whoever keeps the ledger. Called on the event loop, and never waits."""

from collections.abc import Collection
from typing import Protocol


class Observer(Protocol):
    """A moment is a count that grows with each call of `moment`, so that it can be told what began after what."""

    def moment(self) -> int:
        """Return the next moment."""

    def list_sending(self, resource: str) -> None:
        """Take note that the list of a resource is about to be written to a stream, be it one that is to be retired."""

    def list_sent(self, resource: str, began: int) -> None:
        """Take note that the list of a resource, as it was at a moment, was written to the kubelet's stream."""

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
