"""Binds VFs to VFIO by driver_override, never by new_id: that would take devices of others as well.

Nothing else on the machine is changed. What was done is read back: drivers_probe says yes also where no driver took
the device (drivers/pci/pci-driver.c, device_attach).
"""

import contextlib
import os
from pathlib import Path

from qatdp.core.pools.binding import Binding
from qatdp.core.provision.refusals import Refused
from qatdp.host.calls.abc import HostCalls


class Binder:
    """Binds below `sysfs` (for /sys). Its calls can take as long as a driver's probe does: not for the event loop."""

    def __init__(self, sysfs: Path, calls: HostCalls) -> None:
        self._pci = sysfs / "bus/pci"
        self._calls = calls

    def bind(self, binding: Binding) -> Refused | None:
        """Bind one VF; return None where it is on the driver now, else what came back."""
        if not self._loaded(binding.driver):
            return Refused("no such driver")
        device = self._pci / "devices" / str(binding.address)
        try:
            self._write(device, binding)
            refused = self._check(device, binding.driver)
        except OSError as error:
            refused = _refused(error)
        if refused and binding.release:
            self._give_back(device, binding)
        return refused

    def _write(self, device: Path, binding: Binding) -> None:
        self._calls.write(device / "driver_override", binding.driver.encode() + b"\n")
        if binding.release:
            self._calls.write(device / "driver/unbind", str(binding.address).encode())
        self._calls.write(self._pci / "drivers_probe", str(binding.address).encode())

    def _give_back(self, device: Path, binding: Binding) -> None:
        """Undo what was done: a VF that VFIO does not take is of use to its former driver."""
        with contextlib.suppress(OSError):
            self._calls.write(device / "driver_override", b"\n")
            self._calls.write(self._pci / "drivers_probe", str(binding.address).encode())

    def _loaded(self, driver: str) -> bool:
        return self._calls.exists(self._pci / "drivers" / driver)

    def _check(self, device: Path, driver: str) -> Refused | None:
        try:
            found = self._calls.readlink_name(device / "driver")
        except OSError:
            return self._bind_by_name(device, driver)
        return None if found == driver else Refused(f"it is on {found} afterwards")

    def _bind_by_name(self, device: Path, driver: str) -> Refused | None:
        """Bind a device that drivers_probe left without a driver: only here the kernel says why it is refused."""
        try:
            self._calls.write(self._pci / "drivers" / driver / "bind", device.name.encode())
        except OSError as error:
            return _refused(error)
        return None if self._calls.exists(device / "driver") else Refused("it has no driver afterwards")


def _refused(error: OSError) -> Refused:
    return Refused(os.strerror(error.errno or 0), error.errno)
