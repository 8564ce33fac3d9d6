"""History: what changed of late, for who asks the running daemon. Bounded, and gone with the daemon."""

import time
from collections import deque
from collections.abc import Callable, Iterable

from qatdp.core.report import Happening

MOST = 500


class History:
    """`now` returns Unix time."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._last: deque[Happening] = deque(maxlen=MOST)

    def add(
        self, what: str, *, resource: str | None = None, devices: Iterable[str] = (), reason: str | None = None
    ) -> None:
        self._last.append(Happening(self._now(), what, resource, tuple(devices), reason))

    def so_far(self) -> tuple[Happening, ...]:
        """Return what is kept, the oldest first."""
        return tuple(self._last)
