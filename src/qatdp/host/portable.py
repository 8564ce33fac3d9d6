"""HostCalls in plain Python: works everywhere, and says what the C helper must do."""

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from qatdp.host.abc import ATTRIBUTE_BYTES


class PortableCalls:
    """Stateless; every descriptor is closed before a call returns."""

    name = "python"

    def read(self, path: Path) -> bytes:
        # O_NONBLOCK: the open of a FIFO would wait for its writer, for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(path))
            content = os.pread(descriptor, ATTRIBUTE_BYTES + 1, 0)
        finally:
            os.close(descriptor)
        if len(content) > ATTRIBUTE_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        return content

    def write(self, path: Path, content: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(path))
            os.write(descriptor, content)
        finally:
            os.close(descriptor)

    def link(self, path: Path) -> str:
        return os.path.basename(os.readlink(path))

    def names(self, path: Path) -> Sequence[str]:
        return sorted(os.listdir(path))

    def exists(self, path: Path) -> bool:
        return os.path.exists(path)
