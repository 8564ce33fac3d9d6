"""HostCalls: the few things qatdp asks of the kernel's files, in one place, so that they can be done in C or Python.

`choose.py` picks the implementation; `portable.py` is the Python one, and the specification of the other.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

# A sysfs attribute has at most a page (fs/sysfs/file.c); debugfs texts that qatdp reads are smaller still.
ATTRIBUTE_BYTES = 4096


class HostCalls(Protocol):
    """Every call raises OSError as the kernel gave it, and none blocks on what is not a regular file."""

    name: str

    def read(self, path: Path) -> bytes:
        """Return the content of an attribute, ATTRIBUTE_BYTES at most.

        OSError EINVAL where the path is no regular file, EFBIG where it holds more.
        """

    def write(self, path: Path, content: bytes) -> None:
        """Write an attribute in one call, as sysfs wants it. The kernel's answer comes back as OSError."""

    def link(self, path: Path) -> str:
        """Return the last component of what a symbolic link points to."""

    def names(self, path: Path) -> Sequence[str]:
        """Return the names in a folder, sorted."""

    def exists(self, path: Path) -> bool:
        """Tell whether there is such a path, following links; False also where it cannot be told."""
