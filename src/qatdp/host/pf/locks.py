"""Locks among the processes that configure PFs: files in a folder of our own, which say who has them.

The lock is the kernel's (flock), so it goes with the process that has it, however that ends; the file's text is for
people, and stays behind.

The folder given may be anybody's to write to, as an emptyDir is (0777). So the files are in a folder `locks` in it that
is made here and is nobody else's, and neither it nor they are reached through a link: else whoever can write there has
root write to a file of his choice, or holds what nobody can take.
"""

import contextlib
import fcntl
import json
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

from qatdp.errors import QatdpError

NODE_LOCK = "node.lock"  # of whoever decides what PFs are to be; each PF has one more, of the process that writes
FOLDER = "locks"
OURS_ALONE = 0o700


class LockedError(QatdpError):
    """Another process has the lock; the message says which."""


class LockFolderError(QatdpError):
    """The folder of the locks cannot be trusted, or not be used."""


@dataclass(frozen=True, slots=True)
class LockOwner:
    """Who writes: the host's or pod's name, the process, what it was started for, and when."""

    holder: str
    pid: int
    mode: str
    since: str


class Lock:
    """Is held from the moment it is made until it is closed. `folder` is the one that is given; `locks` is in it.

    Raises LockedError, and LockFolderError where the folder fails.
    """

    def __init__(self, folder: Path, name: str, who: LockOwner) -> None:
        path = folder / FOLDER / name
        try:
            self._file = _open(folder, name)
        except OSError as error:
            raise LockFolderError(f"{path} cannot be used: {error.strerror}", hint="see --lock-dir") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            text = os.pread(self._file, 4096, 0)
            self.close()
            raise LockedError(_holder(text)) from error
        with contextlib.suppress(OSError):  # no room: it is held all the same
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, json.dumps(asdict(who)).encode(), 0)

    def close(self) -> None:
        os.close(self._file)


def _open(folder: Path, name: str) -> int:
    descriptor = _open_folder(folder)
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        file = os.open(name, flags, 0o600, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise OSError(0, "not a regular file")


def _open_folder(folder: Path) -> int:
    """Return a descriptor of `locks`, which is made where it is not there; raises LockFolderError if it is not ours."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (folder / FOLDER).mkdir(OURS_ALONE)
    try:
        descriptor = os.open(folder / FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError as error:  # ... or a link
        raise _refused(folder, "is not a folder") from error
    status = os.fstat(descriptor)
    if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) & 0o777 == OURS_ALONE:
        return descriptor
    os.close(descriptor)
    raise _refused(folder, f"belongs to user {status.st_uid} with mode {stat.S_IMODE(status.st_mode):04o}")


def _refused(folder: Path, why: str) -> LockFolderError:
    uid = os.geteuid()
    owner = "root" if uid == 0 else f"user {uid}"
    hint = f"no lock in it can be trusted: stop what configures PFs here, and remove {folder / FOLDER}"
    return LockFolderError(f"{folder / FOLDER} {why}, and must be {owner}'s alone (0700)", hint=hint)


def _holder(text: bytes) -> str:
    try:
        who = LockOwner(**json.loads(text))
    except (ValueError, TypeError):  # it has the lock and has not written yet
        return "another process configures it"
    return f"{who.holder} (process {who.pid}, {who.mode}) configures it since {who.since}"
