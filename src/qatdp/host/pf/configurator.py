"""The hand that configures one PF: takes one step by writing, and reads back what came of it.

For a process of its own (child.py): a write that takes a VF away does not fail while somebody has that VF, it waits for
ever (drivers/vfio/vfio_main.c, vfio_unregister_group_dev). So each one is asked for just before.
"""

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import FAMILY_OF_PF, VFIO_DRIVERS, Family, parse_services
from qatdp.core.pools.binding import Binding
from qatdp.core.provision.refusals import Refused, bind_refusal
from qatdp.core.provision.steps import Step, What, may_take
from qatdp.errors import QatdpError
from qatdp.host.calls.abc import HostCalls
from qatdp.host.enabled import enable_of, is_open
from qatdp.host.pf.binder import Binder

VIRTFN = re.compile(r"virtfn(\d+)")
# What a container is told that may not open device nodes: then a VF's `enable` decides alone.
NOT_FOR_US = frozenset({errno.ENOENT, errno.EPERM, errno.EACCES, errno.ENXIO, errno.ENODEV})


class HeldError(QatdpError):
    """Somebody has a VF that would be taken away."""


class RefusedError(QatdpError):
    """A write did not do what it should have; the kernel said nothing, or what the message tells."""


class PfConfigurator:
    """`open_node` opens a group's node and returns a descriptor: only one process at a time can (vfio/group.c)."""

    def __init__(
        self, sysfs: Path, dev: Path, pf: PciAddress, calls: HostCalls, open_node: Callable[[Path], int]
    ) -> None:
        self._devices, self._dev = sysfs / "bus/pci/devices", dev
        self._pf, self._calls, self._open = self._devices / str(pf), calls, open_node
        self._binder = Binder(sysfs, calls)

    def state(self) -> str | None:
        """Return what the PF says of itself; None where it does not."""
        try:
            return self._read("qat/state")
        except OSError:
            return None

    def take(self, step: Step) -> None:
        """Take a step. Raises HeldError, RefusedError, or OSError as the kernel gave it."""
        match step.what:
            case What.DOWN | What.UP:
                with self._nobody_has_any():  # none where it comes up
                    self._write("qat/state", step.what)
                self._check(self._read("qat/state") == step.what, f"it is not {step.what} afterwards")
                self._check(step.what is What.UP or not self._vfs(), "it still has VFs")
            case What.SERVICES:
                self._write("qat/cfg_services", step.value)
                found = self._read("qat/cfg_services")
                self._check(parse_services(found) == parse_services(step.value), f"its services are {found} afterwards")
            case What.AUTO_RESET:
                self._write("qat/auto_reset", step.value)
                self._check(self._read("qat/auto_reset") == step.value, "auto_reset is what it was")
            case What.NO_PROBE:
                self._write("sriov_drivers_autoprobe", "0")
            case What.VFS:
                total = self._read("sriov_totalvfs")
                self._write("sriov_numvfs", total)
                self._check(str(len(self._vfs())) == total, f"it has {len(self._vfs())} VFs of {total} afterwards")
            case What.BIND:
                self._bind(step.value, step.skip)

    def _write(self, attribute: str, text: str) -> None:
        self._calls.write(self._pf / attribute, f"{text}\n".encode())

    def _read(self, attribute: str) -> str:
        return self._calls.read(self._pf / attribute).decode("ascii", "replace").strip("\0 \n\t")

    def _check(self, right: object, problem: str) -> None:
        if not right:
            raise RefusedError(problem)

    def _vfs(self) -> dict[int, PciAddress]:
        """Return the VFs by their links: to read sriov_numvfs would wait as long as a write hangs."""
        links = {int(match[1]): name for name in self._calls.listdir(self._pf) if (match := VIRTFN.fullmatch(name))}
        return {n: PciAddress.parse(self._calls.readlink_name(self._pf / links[n])) for n in sorted(links)}

    def _driver(self, vf: PciAddress) -> str | None:
        try:
            return self._calls.readlink_name(self._devices / str(vf) / "driver")
        except OSError:
            return None

    # Who has a VF

    @contextlib.contextmanager
    def _nobody_has_any(self) -> Iterator[None]:
        """Open the groups of VFs that VFIO has, so that nobody else can, for as long as the context is.

        An open group alone keeps no VF from being removed: that takes the IOMMU group away from it (vfio/group.c,
        vfio_device_remove_group; tried on 6.1 and 6.12). A write waits for open devices only.
        """
        with contextlib.ExitStack() as open_now:
            seen: set[Path] = set()
            for vf in self._on_vfio():
                self._check_enable(vf)
                node = self._node(vf)
                if node not in seen:
                    seen.add(node)
                    self._occupy(node, vf, open_now)
            yield

    def _on_vfio(self) -> list[PciAddress]:
        return [vf for vf in self._vfs().values() if self._driver(vf) in VFIO_DRIVERS]

    def _check_enable(self, vf: PciAddress) -> None:
        if is_open(self._calls.read(enable_of(self._devices, vf))):
            raise HeldError(f"{vf} is open: somebody uses it")

    def _occupy(self, node: Path, vf: PciAddress, open_now: contextlib.ExitStack) -> None:
        try:
            descriptor = self._open(node)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise HeldError(f"{node} of {vf} is open: somebody uses it") from error
            if error.errno not in NOT_FOR_US:
                raise
            return
        open_now.callback(os.close, descriptor)

    def _node(self, vf: PciAddress) -> Path:
        group = self._calls.readlink_name(self._devices / str(vf) / "iommu_group")
        node = self._dev / "vfio" / group
        return node if self._calls.exists(node) else self._dev / "vfio" / f"noiommu-{group}"

    # Binding

    def _bind(self, driver: str, skip: int) -> None:
        refused: dict[PciAddress, Refused] = {}
        for index, vf in self._vfs().items():
            has = self._driver(vf)
            if index >= skip and has != driver and may_take(has, self._vf_driver()):
                if has in VFIO_DRIVERS:
                    self._check_enable(vf)
                if error := self._binder.bind(Binding(vf, driver, has)):
                    refused[vf] = error
        for vf, error in refused.items():
            raise RefusedError(f"{len(refused)} VFs are not bound, {vf} first: {self._why_not(vf, driver, error)}")

    def _why_not(self, vf: PciAddress, driver: str, error: Refused) -> str:
        if (family := self._family()) is None:
            return error.text
        loaded = self._calls.exists(self._devices.parent / "drivers" / driver)
        has_group = self._calls.exists(self._devices / str(vf) / "iommu_group")
        return bind_refusal(family, driver, error, loaded=loaded, has_group=has_group)

    def _family(self) -> Family | None:
        return FAMILY_OF_PF.get(int(self._read("device"), 16))

    def _vf_driver(self) -> str:
        family = self._family()
        return family.vf_driver if family else ""
