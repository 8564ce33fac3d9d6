"""History: what changed of late, for who asks the running daemon. Bounded, and gone with the daemon.

By addresses as well as by entries: a node's thousand VFs can come and go together, over and over.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.ranges import ranges
from qatdp.core.reasons import Defect
from qatdp.core.status.report import StatusEvent

MOST = 500
MOST_RANGES = (
    2048  # in all entries together, half a megabyte; one entry of a node with 4,096 VFs fits whatever it names
)


class History:
    """`now` returns Unix time."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._last: deque[StatusEvent] = deque()
        self._ranges = 0  # in all of them

    def add(
        self,
        what: str,
        *,
        resource: str | None = None,
        devices: Iterable[PciAddress] = (),
        defect: Defect | None = None,
        message: str | None = None,
    ) -> None:
        """Keep an entry, and forget the oldest where they are too many. A defect brings its own message."""
        found = list(ranges(devices))
        texts, count = tuple(map(str, found[:MOST_RANGES])), sum(one.count for one in found)
        reason, text = (str(defect.reason), str(defect)) if defect else (None, message)
        self._last.append(StatusEvent(self._now(), what, resource, texts, count, reason, text))
        self._ranges += len(texts)
        while len(self._last) > MOST or self._ranges > MOST_RANGES:
            self._ranges -= len(self._last.popleft().devices)

    def so_far(self) -> tuple[StatusEvent, ...]:
        """Return what is kept, the oldest first."""
        return tuple(self._last)
