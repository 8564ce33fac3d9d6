"""Answers: what pods were given, by the kubelet's checkpoint and by what was answered here since.

Nodes can change hands before a checkpoint names an answer of ours, so that answers are kept while somebody may have
what was given (core/pools/stale.py).
"""

from collections.abc import Collection, Iterable

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import Snapshot
from qatdp.core.pools.stale import CheckpointEntry, Stale, is_current, stale_allocations


class Answers:
    """`pod_entries` are those of the last checkpoint; `stale` is what follows, as of the last `take`."""

    def __init__(self) -> None:
        self.pod_entries: tuple[CheckpointEntry, ...] = ()
        self.stale = Stale()
        self.is_due = False  # something was given, or forgotten, by which other VFs may be claimed
        self._ours: dict[PciAddress, CheckpointEntry] = {}

    def written_down(self, pod_entries: Iterable[CheckpointEntry]) -> None:
        self.pod_entries = tuple(pod_entries)
        self.is_due = True

    def answered(self, answer: CheckpointEntry, snapshot: Snapshot) -> None:
        """Keep an answer for one device."""
        self._ours[answer.devices[0]] = answer
        self.is_due |= bool(self.stale) or not is_current(answer, snapshot)

    def forget(self, address: PciAddress) -> None:
        """Forget what was answered for a device that nobody has any more."""
        self.is_due |= self._ours.pop(address, None) is not None and bool(self.stale)

    def take(self, held: Collection[PciAddress], snapshot: Snapshot) -> Collection[PciAddress]:
        """Find out which VFs old answers claim; return those of which that has changed. `held` are those of ours."""
        before = self.stale
        self._ours = {address: answer for address, answer in self._ours.items() if address in held}
        self.stale = stale_allocations((*self.pod_entries, *self._ours.values()), snapshot)
        self.is_due = False
        return before.differing(self.stale)
