"""What is looked at every second: attributes that change without a uevent, and counters of errors.

The QAT driver sends none of its own (no kobject_uevent in drivers/crypto/intel/qat, 6.1 to 7.3). Of qat/state,
qat/cfg_services and VFIO's drivers a difference means that a rescan is due. The counters (qat_ras, aer_dev_*) are
numbers in the kernel's memory: reading them asks no hardware, so they come with the same call. Those that decide
nothing at once, all but the fatal ones, are looked at every fifth time, and whenever something else has changed.
"""

import errno
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from qatdp.core.health.evidence import AER, RAS, SEVERITIES, CounterSample
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import VFIO_DRIVERS
from qatdp.core.model.snapshot import PhysicalFunction, Snapshot
from qatdp.host.calls.abc import BulkCalls

WATCHED = ("qat/state", "qat/cfg_services")
COUNTERS = {f"{RAS}_{severity}": f"qat_ras/errors_{severity}" for severity in SEVERITIES}
AER_COUNTERS = {f"{AER}_{severity}": f"aer_dev_{severity}" for severity in SEVERITIES}
# The last line of aer_dev_* (drivers/pci/pcie/aer.c); an attribute of qat_ras is a number alone.
TOTAL = re.compile(rb"(?:^|\nTOTAL_ERR_\w+ )([0-9]{1,18})\s*\Z")
SLOW_ATTRIBUTES = {
    f"{prefix}_{severity}" for prefix in ("errors", "aer_dev") for severity in SEVERITIES if severity != "fatal"
}
SELDOM_EACH = 5  # looks
ABSENT = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR})

Values: TypeAlias = Mapping[Path, bytes | int | bool]


class AttributePoller:
    """Looks by one call; what that keeps open is exchanged when other PFs are there."""

    _often: Values
    _seldom: Values

    def __init__(self, sysfs: Path, calls: BulkCalls) -> None:
        self._calls = calls
        self._pci = sysfs / "bus/pci"
        self._follow(())

    def values(self, snapshot: Snapshot) -> Values:
        """Return each watched attribute's content, or its errno; of VFIO's drivers whether they are loaded.

        What is looked at seldom is as it was when it was looked at.
        """
        pfs = tuple((pf.address, pf.family.selectable) for pf in snapshot.pfs)
        if pfs != self._pfs:
            self.close()
            self._follow(pfs)
        before = self._often
        self._often = dict(zip(self._paths, self._watch.read(), strict=True))
        # A PF that has come up has counters again.
        if self._looks % SELDOM_EACH == 0 or self._often != before:
            self._seldom = dict(zip(self._seldom_paths, self._seldom_watch.read(), strict=True))
        self._looks += 1
        return {**self._often, **self._seldom}

    def hints(self, values: Values) -> Values:
        """Return those of which a difference means that a rescan is due."""
        return {path: value for path, value in values.items() if path in self._hints}

    def readings(self, values: Values, snapshot: Snapshot) -> Mapping[PciAddress, CounterSample]:
        """Return what the values tell of the health of each PF that was looked at."""
        return {
            pf.address: _reading(pf, self._paths_of[pf.address], values)
            for pf in snapshot.pfs
            if pf.address in self._paths_of
        }

    def _follow(self, pfs: Sequence[tuple[PciAddress, bool]]) -> None:
        self._paths_of = {
            pf: {
                name: self._pci / "devices" / str(pf) / name
                for name in (*((*WATCHED, *COUNTERS.values()) if selectable else ()), *AER_COUNTERS.values())
            }
            for pf, selectable in pfs
        }
        every = [path for paths in self._paths_of.values() for path in paths.values()]
        seldom = [path for path in every if path.name in SLOW_ATTRIBUTES]
        attributes = [path for path in every if path.name not in SLOW_ATTRIBUTES]
        drivers = [self._pci / "drivers" / name for name in sorted(VFIO_DRIVERS)]
        self._pfs, self._paths = tuple(pfs), (*attributes, *drivers)
        self._hints = frozenset((*drivers, *(path for path in attributes if path.parent.name == "qat")))
        self._seldom_paths, self._looks = tuple(seldom), 0
        self._often, self._seldom = {}, {}
        self._watch, self._seldom_watch = self._calls.watch(attributes, drivers), self._calls.watch(seldom, ())

    def close(self) -> None:
        self._watch.close()
        self._seldom_watch.close()


def files_of(pf: PhysicalFunction) -> int:
    """Return how many attributes of a PF are looked at."""
    return len(AER_COUNTERS) + (len(WATCHED) + len(COUNTERS) if pf.family.selectable else 0)


def _reading(pf: PhysicalFunction, paths: Mapping[str, Path], values: Values) -> CounterSample:
    state = _state(pf, values.get(paths["qat/state"]) if "qat/state" in paths else None)
    expected = {**(COUNTERS if pf.family.selectable else {}), **AER_COUNTERS}
    counters: dict[str, int] = {}
    unseen: dict[str, str] = {}
    for name, attribute in expected.items():
        value = values.get(paths[attribute])
        if isinstance(value, bytes) and (match := TOTAL.search(value)):
            counters[name] = int(match[1])
        elif state == "up":  # a PF that is down has no qat_ras
            why = os.strerror(value) if isinstance(value, int) else "no number"
            unseen.setdefault(name.partition("_")[0], f"{attribute}: {why}")
    return CounterSample(state, counters, unseen)


def _state(pf: PhysicalFunction, value: bytes | int | None) -> str | None:
    """Return what is known of the PF's state; None where it cannot be told. Before gen4 it is up on its own driver."""
    if isinstance(value, bytes):
        return value.decode("ascii", "replace").strip()
    if not pf.family.selectable or (value in ABSENT and pf.state is None):  # or before 6.0
        return "up" if pf.on_own_driver else f"on driver {pf.driver}" if pf.driver else "without a driver"
    return "without its driver" if value in ABSENT else None
