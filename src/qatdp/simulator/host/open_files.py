"""Who has VFs of a simulated node open. Removing such a VF waits, as vfio_unregister_group_dev does (vfio_main.c)."""

import errno
import os
import threading
from collections.abc import Iterable

from qatdp.core.model.pci import PciAddress


class Users:
    """`kernel` is the lock under which writes are done; who waits for a user gives it up meanwhile."""

    def __init__(self) -> None:
        self.kernel = threading.Condition(threading.RLock())
        self._open: set[PciAddress] = set()
        self._seen: set[PciAddress] = set()
        self._over = False

    def add(self, vf: PciAddress, *, seen: bool = True) -> None:
        with self.kernel:
            self._open.add(vf)
            self._seen |= {vf} if seen else set()

    def discard(self, vf: PciAddress) -> None:
        with self.kernel:
            self._open.discard(vf)
            self._seen.discard(vf)
            self.kernel.notify_all()

    def shows(self, vf: PciAddress) -> bool:
        """Return whether an open of the VF's group would be refused."""
        return vf in self._seen

    def wait_for(self, vfs: Iterable[PciAddress]) -> None:
        """Wait until nobody has any of them, without end; under `kernel`."""
        wanted = set(vfs)
        self.kernel.wait_for(lambda: self._over or not wanted & self._open)
        if self._over:
            raise OSError(errno.EINTR, os.strerror(errno.EINTR))

    def end(self) -> None:
        """Let all who wait go: the test is over."""
        with self.kernel:
            self._over = True
            self.kernel.notify_all()
