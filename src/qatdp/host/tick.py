"""What is looked at every second: attributes that change without a uevent (qat/state, qat/cfg_services).

The QAT driver sends none of its own (no kobject_uevent in drivers/crypto/intel/qat, 6.1 to 7.3). What is read here is
compared with what was read before, and nothing else: a difference means that a rescan is due.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from qatdp.core.qat import VFIO_DRIVERS
from qatdp.core.snapshot import Snapshot
from qatdp.host.abc import HostCalls

WATCHED = ("qat/state", "qat/cfg_services")

Values: TypeAlias = Mapping[Path, bytes | int | bool]


class Tick:
    """Looks by one call; what that keeps open is exchanged when other PFs are there."""

    def __init__(self, sysfs: Path, calls: HostCalls) -> None:
        self._calls = calls
        self._pci = sysfs / "bus/pci"
        self._drivers = [self._pci / "drivers" / name for name in sorted(VFIO_DRIVERS)]
        self._attributes: Sequence[Path] = ()
        self._watch = calls.watch(self._attributes, self._drivers)

    def values(self, snapshot: Snapshot) -> Values:
        """Return each watched attribute's content, or its errno; of VFIO's drivers whether they are loaded."""
        attributes = [
            self._pci / "devices" / str(pf.address) / name
            for pf in snapshot.pfs
            if pf.family.selectable
            for name in WATCHED
        ]
        if attributes != self._attributes:
            self.close()
            self._attributes, self._watch = attributes, self._calls.watch(attributes, self._drivers)
        return dict(zip((*attributes, *self._drivers), self._watch.look(), strict=True))

    def close(self) -> None:
        self._watch.close()
