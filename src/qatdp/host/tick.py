"""What is looked at every second: attributes that change without a uevent (qat/state, qat/cfg_services).

The QAT driver sends none of its own (no kobject_uevent in drivers/crypto/intel/qat, 6.1 to 7.3). What is read here is
compared with what was read before, and nothing else: a difference means that a rescan is due.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from qatdp.core.qat import VFIO_DRIVERS
from qatdp.core.snapshot import Snapshot
from qatdp.host.abc import HostCalls

WATCHED = ("qat/state", "qat/cfg_services")

Values: TypeAlias = Mapping[Path, bytes | int | bool | None]


def read_watched(snapshot: Snapshot, sysfs: Path, calls: HostCalls) -> Values:
    """Return each watched attribute's content, or its errno; of VFIO's drivers whether they are loaded."""
    attributes = (
        sysfs / "bus/pci/devices" / str(pf.address) / name
        for pf in snapshot.pfs
        if pf.family.selectable
        for name in WATCHED
    )
    drivers = [sysfs / "bus/pci/drivers" / name for name in VFIO_DRIVERS]
    return {path: _value(path, calls) for path in attributes} | {path: calls.exists(path) for path in drivers}


def _value(path: Path, calls: HostCalls) -> bytes | int | None:
    try:
        return calls.read(path)
    except OSError as error:
        return error.errno
