"""When the kubelet last called: nothing may make it forget what it is choosing while it admits a pod.

An admission calls GetPreferredAllocation and Allocate. A PodResources List in between makes the kubelet forget what it
has chosen and not yet entered (devicemanager/manager.go: UpdateAllocatedDevices), so that the next pod may get the same
device. The clock is an argument.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of the kubelet. A moment is the daemon's own count; seconds are those of one monotonic clock."""

    ended_s: float  # when the last call ended; at first when the daemon started, as one before may have been called
    in_flight: frozenset[int] = frozenset()  # the moments at which the calls began that have not ended

    def began(self, moment: int) -> "Calls":
        return replace(self, in_flight=self.in_flight | {moment})

    def ended(self, moment: int, now_s: float) -> "Calls":
        """Return the calls without the one that began at that moment, whatever it was answered."""
        return Calls(now_s, self.in_flight - {moment})

    def quiet_for_s(self, now_s: float) -> float:
        """Return for how long no call has been in flight: 0 while one is."""
        return 0.0 if self.in_flight else max(now_s - self.ended_s, 0.0)

    def has_one_from_before(self, moment: int) -> bool:
        """Return whether a call is still in flight that began before a moment."""
        return any(began < moment for began in self.in_flight)
