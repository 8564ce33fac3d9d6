"""Gates between qatdp and the kubelet: whatever passes between them waits at one until a test lets it through.

How long a test may hold what is a matter of the contract. A call may be on its way, from the kubelet's choice of
devices until qatdp has it, for less than the daemon's grace (daemon/release_loop.py, Pace), and so may its answer: a
kubelet that asks for a device later than that asks for one that may have left by then.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from google.protobuf.message import Message

from ground.waiting import now_s, until
from qatdp.api.deviceplugin_v1beta1_pb2 import Empty


class Call(StrEnum):
    REGISTER = "Register"
    OPTIONS = "GetDevicePluginOptions"
    LIST_AND_WATCH = "ListAndWatch"
    PREFERRED = "GetPreferredAllocation"
    ALLOCATE = "Allocate"
    PRE_START = "PreStartContainer"
    LIST = "List"
    ALLOCATABLE = "GetAllocatableResources"


class Way(StrEnum):
    """Each message of ListAndWatch is an answer. Its end is noted in its turn, and waits for nothing."""

    REQUEST = "request"
    ANSWER = "answer"
    END = "end"


@dataclass(frozen=True, slots=True)
class Passage:
    """One message at its gate: when it came there and, once it has gone on, when that was. PodResources' are of ""."""

    call: Call
    way: Way
    resource: str
    message: Message
    came_s: float
    went_s: float = float("inf")

    def __str__(self) -> str:
        text = " ".join(str(self.message).split())
        return f"{self.call} {self.way} {self.resource} (waited {self.went_s - self.came_s:.3f} s) {text}"


class Keeper(Protocol):
    async def keep(self, passage: Passage) -> None:
        """Return when the passage may go on."""


class Gates:
    """All gates. `passed` is what went through, in that order; each of `watchers` is told of it as well."""

    def __init__(self) -> None:
        self.passed: list[Passage] = []
        self.watchers: list[Callable[[Passage], None]] = []
        self.keepers: list[Keeper] = []

    async def passes(
        self, call: Call, way: Way, message: Message, resource: str = "", *, came_s: float | None = None
    ) -> None:
        """Return when a message may go on. `came_s` is for one that had to queue for the gate."""
        passage = Passage(call, way, resource, message, now_s() if came_s is None else came_s)
        for keeper in tuple(self.keepers):
            await keeper.keep(passage)
        self._note(replace(passage, went_s=now_s()))

    def ended(self, resource: str) -> None:
        """Note that a stream has ended."""
        self._note(Passage(Call.LIST_AND_WATCH, Way.END, resource, Empty(), now_s(), now_s()))

    def _note(self, passage: Passage) -> None:
        self.passed.append(passage)
        for watcher in self.watchers:
            watcher(passage)

    @contextmanager
    def held(
        self, call: Call, way: Way, resource: str | None = None, *, when: Callable[[], bool] = lambda: True
    ) -> Iterator["Hold"]:
        """Hold such passages while the context is open; `when` is asked as one comes. A resource of None is any."""
        hold = Hold(call, way, resource, when)
        self.keepers.append(hold)
        try:
            yield hold
        finally:
            self.keepers.remove(hold)
            hold.release()


@dataclass(slots=True)
class Hold:
    """One kind of passage that is held, and those that are."""

    call: Call
    way: Way
    resource: str | None
    when: Callable[[], bool]
    waiting: list[Passage] = field(default_factory=list)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    async def keep(self, passage: Passage) -> None:
        if (passage.call, passage.way) != (self.call, self.way) or self.resource not in (None, passage.resource):
            return
        if self._released.is_set() or not self.when():
            return
        self.waiting.append(passage)
        try:
            await self._released.wait()
        finally:
            self.waiting.remove(passage)

    def release(self) -> None:
        """Let through what waits, and whatever comes."""
        self._released.set()

    async def until_held(self, *, timeout_s: float = 10) -> Passage:
        """Return the first that waits, once one does."""
        what = f"{self.call} {self.way} at its gate"
        return (await until(what, lambda: self.waiting, timeout_s=timeout_s))[0]
