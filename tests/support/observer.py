"""RecordingObserver: keeps what endpoints tell whoever keeps the ledger."""

import asyncio
from collections.abc import Callable, Collection

from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.pools import ResourcePool
from qatdp.core.release.protocol import Step


class RecordingObserver:
    """An Observer (kubelet/observer.py); each list is what was told, in that order."""

    def __init__(self) -> None:
        self.moments = 0
        self.steps: dict[PciAddress, Step] = {}  # of IDs that are not merely offered
        self.handed_over: list[str] = []
        self.lists: list[tuple[str, int]] = []  # resource, and the revision of its list
        self.cuts: list[str] = []
        self.allocations: list[tuple[str, tuple[str, ...]]] = []
        self.questions: list[tuple[str, tuple[str, ...]]] = []
        self.calls: list[tuple[str, int]] = []  # "began" or "ended", and the moment at which the call began
        self.waiting: list[tuple[str, tuple[str, ...]]] = []  # Allocates that are under way now
        self.waits = 0  # how often one has begun to wait
        self._changed = asyncio.Event()

    def moment(self) -> int:
        self.moments += 1
        return self.moments

    def step_of(self, resource: str, address: PciAddress) -> Step | None:
        return self.steps.get(address, Step.AVAILABLE)

    def list_sending(self, pool: ResourcePool) -> None:
        self.handed_over.append(pool.resource)

    def list_sent(self, resource: str, revision: int) -> None:
        self.lists.append((resource, revision))

    def stream_lost(self, resource: str) -> None:
        self.cuts.append(resource)

    def call_began(self) -> int:
        self.calls.append(("began", moment := self.moment()))
        return moment

    def call_ended(self, began: int) -> None:
        self.calls.append(("ended", began))
        self._changed.set()

    def allocated(self, resource: str, ids: Collection[str], began: int) -> None:
        self.allocations.append((resource, tuple(ids)))

    def wait_began(self, resource: str, ids: Collection[str]) -> None:
        self.waiting.append((resource, tuple(ids)))
        self.waits += 1
        self._changed.set()

    def wait_ended(self, resource: str, ids: Collection[str]) -> None:
        self.waiting.remove((resource, tuple(ids)))
        self._changed.set()

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until something is so, checked whenever a call ends, and an Allocate begins or ends to wait."""
        while not done():
            self._changed.clear()
            await self._changed.wait()

    def preference_requested(self, resource: str, ids: Collection[str]) -> None:
        self.questions.append((resource, tuple(ids)))
