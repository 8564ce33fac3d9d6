"""When to scan: many events are one rescan, soon after the last of them, and not much later than the first.

A driver that enables 16 VFs sends some 80 events within half a second, and a VF's `add` comes before its links
(drivers/pci/iov.c), so a short quiet time is waited for. The clock is an argument.
"""

from dataclasses import dataclass, replace

QUIET_PERIOD_S = 0.2
LONGEST_DELAY_S = 1.0


@dataclass(frozen=True, slots=True)
class RescanSchedule:
    """Events since the last scan: the first and the last. Times are seconds of one monotonic clock."""

    quiet_period_s: float = QUIET_PERIOD_S
    longest_delay_s: float = LONGEST_DELAY_S
    first_s: float | None = None
    last_s: float | None = None

    def event(self, now_s: float) -> "RescanSchedule":
        """Return the schedule after an event."""
        return replace(self, first_s=now_s if self.first_s is None else self.first_s, last_s=now_s)

    def scanned(self) -> "RescanSchedule":
        """Return the schedule once a scan has begun, which sees all that came before."""
        return replace(self, first_s=None, last_s=None)

    @property
    def due_s(self) -> float | None:
        """When to scan; None while nothing has happened."""
        if self.first_s is None or self.last_s is None:
            return None
        return min(self.last_s + self.quiet_period_s, self.first_s + self.longest_delay_s)
