"""Holds: how a test stops the kubelet before a call, and lets it go on."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class Call(StrEnum):
    """Where the kubelet can be held: before it begins what it was asked for, or before it asks a plugin."""

    REGISTER = "Register"
    OPTIONS = "GetDevicePluginOptions"
    LIST_AND_WATCH = "ListAndWatch"
    READ = "read"  # a list has come in, and is to be read
    PREFERRED = "GetPreferredAllocation"
    ALLOCATE = "Allocate"
    LIST = "List"
    ALLOCATABLE = "GetAllocatableResources"
    CHECKPOINT = "checkpoint"  # a list has been read, and is to be written down


class Hold:
    """One kind of call that is held. A resource of None is any; `most` is how many are held, None for all."""

    def __init__(self, call: Call, resource: str | None, most: int | None, changed: Callable[[], None]) -> None:
        self.call, self.resource, self._left = call, resource, most
        self.waiting = 0
        self._changed = changed
        self._reached, self._released = asyncio.Event(), asyncio.Event()

    async def reached(self, *, timeout_s: float = 10.0) -> None:
        """Wait until a call has come to it."""
        async with asyncio.timeout(timeout_s):
            await self._reached.wait()

    def release(self) -> None:
        """Let through what waits, and whatever comes."""
        self._released.set()

    async def passes(self) -> None:
        if self._left == 0:
            return
        self._left = self._left - 1 if self._left else None
        self.waiting += 1
        self._reached.set()
        self._changed()
        try:
            await self._released.wait()
        finally:
            self.waiting -= 1
            self._changed()


class Holds:
    """All holds there are now. `changed` is called when one of them stops something or lets it go."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._holds: list[Hold] = []
        self._changed = changed

    @contextmanager
    def held(self, call: Call, resource: str | None, most: int | None) -> Iterator[Hold]:
        hold = Hold(call, resource, most, self._changed)
        self._holds.append(hold)
        try:
            yield hold
        finally:
            self._holds.remove(hold)
            hold.release()

    async def passes(self, call: Call, resource: str = "") -> None:
        """Return when a call may go on."""
        for hold in tuple(self._holds):
            if hold.call is call and hold.resource in (None, resource):
                await hold.passes()
