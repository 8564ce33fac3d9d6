"""Feed[T]: the latest value of something and its version. Slow readers skip what was replaced meanwhile.

For one event loop: it is set and awaited there, so it needs no lock.
"""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Feed(Generic[T]):
    """The latest value; `version` counts how often it was published."""

    def __init__(self, value: T) -> None:
        self.value = value
        self.version = 1
        self._next: asyncio.Future[None] | None = None

    def set(self, value: T) -> None:
        """Publish a value, unless it equals the last one."""
        if value != self.value:
            self.value = value
            self.again()

    def replace(self, value: T) -> None:
        """Take a value that differs from the last one in nothing that its readers would be told."""
        self.value = value

    def again(self) -> None:
        """Publish the same value once more."""
        self.version += 1
        if self._next is not None:
            self._next.set_result(None)
            self._next = None

    async def after(self, version: int) -> int:
        """Wait until the version is not this one; returns the current one."""
        while self.version == version:
            if self._next is None:
                self._next = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._next)
        return self.version
