"""Which attributes of PFs and VFs somebody has written, as inotify tells: it works on sysfs for what processes do."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from ground import pfs
from qatdp.host.calls.portable import PortableCalls

EVENT = struct.Struct("iIII")  # struct inotify_event, without its name
IN_CLOSE_WRITE = 0x8


@contextmanager
def written() -> Iterator[set[str]]:
    """Fill the set, at the end of the context, with the names of files that were opened to be written."""
    pf_folders = [pfs.DEVICES / pf for pf in pfs.pf_addresses()]
    vf_folders = [pfs.DEVICES / vf for pf in pfs.pf_addresses() for vf in pfs.vf_addresses(pf)]
    folders = [*pf_folders, *(folder / "qat" for folder in pf_folders), *vf_folders, pfs.DRIVERS_PROBE.parent]
    descriptor = PortableCalls().notify(folders)
    names: set[str] = set()
    try:
        yield names
        names |= set(_read(descriptor))
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> Iterator[str]:
    while True:
        try:
            content = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return
        while content:
            _, mask, _, length = EVENT.unpack_from(content)
            end = EVENT.size + length
            if mask & IN_CLOSE_WRITE:
                yield content[EVENT.size : end].rstrip(b"\0").decode()
            content = content[end:]
