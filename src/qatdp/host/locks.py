"""Locks among the processes that configure PFs: files in a folder of our own, which say who has them.

The lock is the kernel's (flock), so it goes with the process that has it, however that ends; the file's text is for
people, and stays behind.
"""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from qatdp.errors import QatdpError

NODE_LOCK = "node.lock"  # of whoever decides what PFs are to be; each PF has one more, of the process that writes


class LockedError(QatdpError):
    """Another process has the lock; the message says which."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who writes: the host's or pod's name, the process, what it was started for, and when."""

    holder: str
    pid: int
    mode: str
    since: str


class Lock:
    """Is held from the moment it is made until it is closed. Raises LockedError, and OSError where the folder fails."""

    def __init__(self, path: Path, who: Who) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            text = os.pread(self._file, 4096, 0)
            self.close()
            raise LockedError(_holder(text)) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(asdict(who)).encode(), 0)

    def close(self) -> None:
        os.close(self._file)


def _holder(text: bytes) -> str:
    try:
        who = Who(**json.loads(text))
    except (ValueError, TypeError):  # it has the lock and has not written yet
        return "another process configures it"
    return f"{who.holder} (process {who.pid}, {who.mode}) configures it since {who.since}"
