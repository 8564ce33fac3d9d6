"""Checkpoints: the kubelet's checkpoint, read in a thread, as a large one would hold the event loop for seconds.

One thread for all who read: so what is read later is no older, and is taken in that order by whoever does so at once.
"""

from functools import partial
from pathlib import Path

from qatdp.daemon.worker import Worker
from qatdp.kubelet import checkpoint
from qatdp.kubelet.checkpoint import Checkpoint, Identity


class Checkpoints:
    """Of one device-plugins folder."""

    def __init__(self, plugins: Path) -> None:
        self._plugins, self._worker = plugins, Worker("checkpoint")

    def identity(self) -> Identity:
        """Return what tells one checkpoint from the next, as it is now."""
        return checkpoint.identity(self._plugins)

    async def read(self) -> Checkpoint:
        """Return the checkpoint as it was at some moment after this call; raises BooksError."""
        return await self._worker.do(partial(checkpoint.read, self._plugins))
