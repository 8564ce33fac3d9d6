"""HostCalls: the few things qatdp asks of the kernel's files, in one place, so that they can be done in C or Python.

`choose.py` picks the implementation; `portable.py` is the Python one, and the specification of the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

# A sysfs attribute has at most a page (fs/sysfs/file.c); debugfs texts that qatdp reads are smaller still.
ATTRIBUTE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class BusDump:
    """What came back of many paths, by path; an int is an errno. What is not in here has not been asked."""

    contents: Mapping[str, bytes | int]
    links: Mapping[str, str | int]
    names: Mapping[str, Sequence[str] | int]
    present: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """`viable`: each device in the group may be handed out. `in_use`: somebody has given it a container."""

    viable: bool
    in_use: bool


class Watch(Protocol):
    """Paths that are looked at over and over. Used by one thread at a time."""

    def read(self) -> Sequence[bytes | int | bool]:
        """Return what each path holds now, in their order: a content or its errno; whether there is such a path.

        Files that are kept open leave descriptors to others (descriptors.keep_below): the rest is opened each time.
        """

    def close(self) -> None:
        """Let go of what is kept open."""


class SingleCalls(Protocol):
    """Questions about one path each. Every call raises OSError as the kernel gave it, and none blocks on what is not a
    regular file."""

    def read(self, path: Path) -> bytes:
        """Return the content of an attribute, ATTRIBUTE_BYTES at most.

        OSError EINVAL where the path is no regular file, EFBIG where it holds more.
        """

    def readlink_name(self, path: Path) -> str:
        """Return the last component of what a symbolic link points to."""

    def listdir(self, path: Path) -> Sequence[str]:
        """Return the names in a folder, sorted."""

    def exists(self, path: Path) -> bool:
        """Return whether there is such a path, following links; False also where it cannot be told."""


class BulkCalls(Protocol):
    """All that a scan or a tick asks, by one call each."""

    def read_bus(self, sysfs: Path, dev: Path) -> BusDump:
        """Return all that tells of the node's QAT functions, their IOMMU groups and nodes; each path is asked once.

        Paths are those of `sysfs` and `dev` with more behind. An error is an answer as well: nothing is raised.
        """

    def watch(self, contents: Sequence[Path], present: Sequence[Path]) -> Watch:
        """Return a watch of attributes' contents, and behind them of whether paths are there."""


class HostCalls(SingleCalls, BulkCalls, Protocol):
    """All of them: what a single call raises and does not block on holds for these as well."""

    name: str

    def read_prefix(self, path: Path, count: int) -> bytes:
        """Return the first bytes of a file, as a PCI configuration space is, of which no more than that is read."""

    def write(self, path: Path, content: bytes) -> None:
        """Write an attribute in one call, as sysfs wants it. The kernel's answer comes back as OSError."""

    def notify(self, folders: Sequence[Path]) -> int:
        """Return a descriptor that can be read when something changes in these folders; the caller closes it."""

    # VFIO's own answers (linux/vfio.h). To ask is to open: OSError EBUSY for a group that is open elsewhere, and a pod
    # that starts meanwhile fails by it, so nobody asks about a VF that is offered.

    def vfio_version(self, container: Path) -> int:
        """Return the version of VFIO's interface, which is 0."""

    def vfio_extension(self, container: Path, extension: int) -> bool:
        """Return whether VFIO knows an extension, such as 3, the IOMMU of type 1 in its second version."""

    def vfio_group(self, group: Path) -> GroupStatus:
        """Return what VFIO says of a group, by its node."""
