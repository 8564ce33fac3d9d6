"""What is looked at every second: attributes that change without a uevent (qat/state, qat/cfg_services).

The QAT driver sends none of its own (no kobject_uevent in drivers/crypto/intel/qat, 6.1 to 7.3). What is read here is
compared with what was read before, and nothing else: a difference means that a rescan is due.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from qatdp.core.pci import PciAddress
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
        self._follow(())

    def values(self, snapshot: Snapshot) -> Values:
        """Return each watched attribute's content, or its errno; of VFIO's drivers whether they are loaded."""
        pfs = tuple(pf.address for pf in snapshot.pfs if pf.family.selectable)
        if pfs != self._pfs:
            self.close()
            self._follow(pfs)
        return dict(zip(self._paths, self._watch.look(), strict=True))

    def _follow(self, pfs: Sequence[PciAddress]) -> None:
        attributes = [self._pci / "devices" / str(pf) / name for pf in pfs for name in WATCHED]
        drivers = [self._pci / "drivers" / name for name in sorted(VFIO_DRIVERS)]
        self._pfs, self._paths = pfs, (*attributes, *drivers)
        self._watch = self._calls.watch(attributes, drivers)

    def close(self) -> None:
        self._watch.close()
