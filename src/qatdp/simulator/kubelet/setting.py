"""What the parts of a fake kubelet share, and what a test sees of them."""

import asyncio
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import Message

from qatdp.feed import Feed
from qatdp.simulator.kubelet.holds import Call, Holds
from qatdp.simulator.kubelet.versions import Version

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Passage:
    """What passed between plugins and kubelets, over all restarts: requests, and each message of ListAndWatch."""

    call: Call
    resource: str
    message: Message


class History:
    """What has happened, and who waits for more to happen."""

    def __init__(self) -> None:
        self.passed: list[Passage] = []
        self.streams: list[tuple[str, str]] = []  # resource and socket of each that is open
        self.updates: list[frozenset[str]] = []  # UIDs of the pods whose status each list made the kubelet look at
        self._news = Feed(None)

    def note(self, call: Call, resource: str, message: Message) -> None:
        self.passed.append(Passage(call, resource, message))
        self.changed()

    def changed(self) -> None:
        """Let who waits look again."""
        self._news.again()

    async def until(self, done: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait until something is so, looking whenever something has happened. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not done():
                await self._news.after(self._news.version)


@dataclass(frozen=True, slots=True)
class Setting:
    """`plugins` is the device-plugins folder. `refused` is why a Register is refused, by resource."""

    plugins: Path
    version: Version
    chance: random.Random
    dial_s: float
    stop_grace_s: float
    history: History
    holds: Holds
    refused: dict[str, str] = field(default_factory=dict)

    def shuffled(self, of: Collection[T]) -> list[T]:
        """Return what Go's maps and sets would give: an order that nobody knows before."""
        order = sorted(of, key=repr)
        self.chance.shuffle(order)
        return order
