"""Watches for the kubelet: its socket appears, goes, or is another one than before.

By looking, a few times a second, at one path: inotify on a folder that may itself be replaced, or not be there yet,
needs the same looking as well, and tells nothing that this does not.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeAlias

from qatdp.kubelet.lifecycle import Event
from qatdp.kubelet.registration import KUBELET_SOCKET

PERIOD_S = 0.25

# After a restart the inode number can be the same as before (ext4): hence the time of the last change as well.
Identity: TypeAlias = tuple[int, int, int] | None


def identity(folder: Path) -> Identity:
    """Return what tells one kubelet.sock from another; None where there is none."""
    try:
        status = (folder / KUBELET_SOCKET).stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_ctime_ns)


async def watch(folder: Path, *, period_s: float = PERIOD_S) -> AsyncIterator[Event]:
    """Yield KUBELET_UP when there is a kubelet.sock that was not there before, KUBELET_GONE when there is none."""
    known: Identity = None
    while True:
        now = identity(folder)
        if now != known:
            known = now
            yield Event.KUBELET_UP if now else Event.KUBELET_GONE
        await asyncio.sleep(period_s)
