"""PodLists: the one place that has the kubelet serve a PodResources List, as seldom as the release protocol needs.

A kubelet that serves a List while it admits a pod forgets what it has chosen for that pod, and gives it to the next one
as well (1.37, devicemanager/manager.go: UpdateAllocatedDevices). So no List begins while a call of the kubelet is in
flight, or soon after one. What comes while a List is under way cannot be known before; it is counted.
"""

import logging
from collections.abc import Sequence
from typing import Protocol

from qatdp.core.status.pod_names import ListedDevices
from qatdp.daemon.state import DeviceState
from qatdp.daemon.timing import ReleaseTiming
from qatdp.errors import KubeletStateError
from qatdp.kubelet.podresources import PodResources
from qatdp.pages.metrics import ListTiming

log = logging.getLogger(__name__)


class ListMeter(Protocol):
    def listed(self, *timings: ListTiming) -> None:
        """Count a List."""


class PodLists:
    """`allowed`: whether List may be called at all."""

    def __init__(
        self, node: DeviceState, pod_resources: PodResources, pace: ReleaseTiming, meter: ListMeter, *, allowed: bool
    ) -> None:
        self._node, self._pod_resources, self._pace, self._meter = node, pod_resources, pace, meter
        self.allowed = allowed
        self._due_s, self._gap_s = 0.0, pace.first_s
        self.failure: KubeletStateError | None = None  # of the last List

    @property
    def quiet_in_s(self) -> float:
        """For how long the kubelet must not call until it counts as quiet; 0 where it is."""
        return max(self._pace.quiet_s - self._node.calls.quiet_for_s(self._node.clock()), 0.0)

    @property
    def is_due(self) -> bool:
        """Whether a List may begin now: the longer nothing came of them, the fewer there are."""
        return self.allowed and self.quiet_in_s <= 0 and self._node.clock() >= self._due_s

    def soon(self) -> None:
        """Let the next List be due at once: something new is waited for, or somebody has closed a VF."""
        self._due_s, self._gap_s = 0.0, self._pace.first_s

    async def list(self) -> Sequence[ListedDevices]:
        """Return what the kubelet names for containers. Only where it is due. Raises KubeletStateError."""
        assert self.is_due, "a List would be a risk now"
        before, timings = self._node.calls, set[ListTiming]()
        # Told by itself, so that a fault above is seen in the metrics.
        if before.in_flight or before.quiet_for_s(self._node.clock()) < self._pace.quiet_s:
            timings.add(ListTiming.AFTER_CALL)
        self._due_s, self._gap_s = self._node.clock() + self._gap_s, min(self._gap_s * 2, self._pace.longest_s)
        self.failure = None
        try:
            return await self._pod_resources.listed()
        except KubeletStateError as error:
            self.failure = error
            raise
        finally:
            if self._node.calls != before:
                timings.add(ListTiming.CALL_CAME)
            self._meter.listed(*timings)
