"""Opens the gates in an order of chance, as if each message took a while of its own.

A message waits for `longest_s` at most. From the kubelet's choice to qatdp there are two gates: the answer to
GetPreferredAllocation, and the request for Allocate. So that a call is on its way for less than the daemon's grace,
which the contract demands, `longest_s` must be less than half of it. How long calls really took is noted: a machine
that stalls can make it more, and then what qatdp did proves nothing.
"""

import asyncio
import random

from ground.gates import Call, Passage, Way
from ground.waiting import now_s, pause

TICK_S = 0.002


class Shuffler:
    """A keeper of gates; `run` opens them."""

    def __init__(self, chance: random.Random, longest_s: float) -> None:
        self.slowest_s = 0.0  # of what was on its way from the kubelet's choice to qatdp, or with its answer back
        self._chance, self._longest_s = chance, longest_s
        self._waiting: dict[asyncio.Future[None], Passage] = {}
        self._chosen_s: dict[str, float] = {}  # when a resource's devices were chosen

    async def keep(self, passage: Passage) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = passage
        try:
            await future
        finally:
            self._waiting.pop(future, None)

    async def run(self) -> None:
        while True:
            await pause(TICK_S)
            overdue = [one for one, passage in self._waiting.items() if now_s() - passage.came_s >= self._longest_s]
            lucky = self._chance.choice([*self._waiting, None])
            for future in (*overdue, lucky):
                if future and not future.done():
                    future.set_result(None)

    def open_all(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def watch(self, passage: Passage) -> None:
        """Note how long a call was on its way."""
        if passage.call not in (Call.PREFERRED, Call.ALLOCATE):
            return
        since_s = passage.came_s
        if passage.call is Call.PREFERRED and passage.way is Way.ANSWER:
            self._chosen_s[passage.resource] = passage.came_s
        elif passage.call is Call.ALLOCATE and passage.way is Way.REQUEST:
            since_s = self._chosen_s.pop(passage.resource, passage.came_s)
        self.slowest_s = max(self.slowest_s, passage.went_s - since_s)
