"""Files of others, read without waiting for what is no file, and no more than a bound; how long a socket's path may
be.
"""

import errno
import os
import stat
from pathlib import Path

PART_BYTES = 1 << 20
# sun_path holds 108 bytes, the last of which is NUL (linux/un.h).
SOCKET_PATH_BYTES = 107


def read_regular(path: Path, most: int) -> tuple[bytes, os.stat_result]:
    """Return a regular file's content, of so many bytes at most, and its status.

    Raises OSError with EINVAL for anything else and EFBIG for more. Links are followed.
    """
    # O_NONBLOCK: the open of a FIFO would wait for its writer, for ever.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    _check_regular(os.stat(path), path)  # first: to open a device may do anything
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        _check_regular(status, path)
        content = bytearray()
        while part := os.read(descriptor, min(most + 1 - len(content), PART_BYTES)):
            content += part
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most} bytes", str(path))
    return bytes(content), status


def _check_regular(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def too_long(path: Path) -> str | None:
    """Return why a Unix socket cannot have this path; None where it can."""
    length = len(os.fsencode(path))
    return (
        f"{path} has {length} bytes, the path of a socket at most {SOCKET_PATH_BYTES}"
        if length > SOCKET_PATH_BYTES
        else None
    )
