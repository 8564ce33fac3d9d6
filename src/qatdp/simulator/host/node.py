"""FakeHost: a folder that looks as /sys and /dev do on a node with QAT.

It does to its tree what QAT's drivers do (drivers/crypto/intel/qat/, drivers/pci/iov.c), and is as strict. What qatdp
does not look at is not made: telemetry, most of the config space.
"""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from qatdp.core.health.evidence import SEVERITIES
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import FAMILIES, VENDOR, Family, in_order, parse_services
from qatdp.core.model.snapshot import Snapshot
from qatdp.host.calls.abc import HostCalls
from qatdp.host.calls.choose import host_calls
from qatdp.host.scanner import SysfsScanner
from qatdp.simulator.host import families, tree
from qatdp.simulator.host.bus import Address, FakeBus, as_address, kernel_error
from qatdp.simulator.host.groups import Iommu
from qatdp.simulator.host.open_files import Users

FAMILY = {family.name: family for family in FAMILIES}
BUSES = (("6b", "70", "75", "7a"), ("e8", "ed", "f2", "f7"))  # of a machine with two Sapphire Rapids, by NUMA node
QAT_CLASS = 0x0B4000
MEMORY = "/dev/shm"


@contextlib.contextmanager
def fake_host(*, iommu: Iommu = Iommu.ON, cdevs: bool = False) -> Iterator["FakeHost"]:
    """Yield a FakeHost in a folder that goes with it; in memory, as a thousand VFs are 20000 files."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        yield FakeHost(Path(folder), iommu=iommu, cdevs=cdevs)


class FakeHost(FakeBus):
    """A node with vfio-pci loaded, and no device yet.

    `iommu`: whether VFIO can have groups. `cdevs`: the kernel makes /dev/vfio/devices/vfio<n> beside the groups' nodes.
    """

    def __init__(self, folder: Path, *, iommu: Iommu = Iommu.ON, cdevs: bool = False) -> None:
        super().__init__(folder, iommu=iommu, cdevs=cdevs)
        self._families: dict[PciAddress, Family] = {}
        self._numa_nodes: dict[PciAddress, int] = {}  # of PFs
        self._vfs: dict[PciAddress, tuple[PciAddress, int]] = {}  # their PFs, and the n of virtfn<n>
        self.users = Users()
        self.refusals: dict[tuple[PciAddress, str], int] = {}  # by PF and "sriov_numvfs 2", "qat/state up": an errno

    def fill(
        self, pfs: int = 8, vfs: int = 16, *, family: str = "4xxx", vf_driver: str | None = "vfio-pci"
    ) -> tuple[PciAddress, ...]:
        """Add PFs, half of them on NUMA node 0, half on node 1, with sym;asym and dc in turn."""
        near = (pfs + 1) // 2
        places = [(0, n) for n in range(near)] + [(1, n) for n in range(pfs - near)]
        return tuple(
            self.add_pf(
                f"{n // 4:04x}:{BUSES[node][n % 4]}:00.0",
                family,
                ("sym;asym", "dc")[n % 2],
                numa_node=node,
                vfs=vfs,
                vf_driver=vf_driver,
            )
            for node, n in places
        )

    def scan(self, calls: HostCalls | None = None) -> Snapshot:
        """Return what qatdp sees of this node."""
        return SysfsScanner(self.sysfs, self.dev, calls or host_calls()).scan()

    # Functions

    def add_pf(
        self,
        address: Address,
        family: str = "4xxx",
        services: str = "sym;asym",
        *,
        numa_node: int = 0,
        state: str = "up",
        vfs: int = 16,
        vf_driver: str | None = "vfio-pci",
        bound: bool = True,
    ) -> PciAddress:
        """Add a PF on its driver, and its VFs. One that is down, or not `bound` to its driver, has no VFs."""
        at, of = as_address(address), FAMILY[family]
        self._families[at], self._numa_nodes[at] = of, numa_node
        sriov: dict[str, str | int] = {
            "sriov_totalvfs": families.TOTAL_VFS.get(family, 16),
            "sriov_numvfs": 0,
            "sriov_offset": families.vf_offset(of),
            "sriov_stride": 1,
            "sriov_vf_device": f"{of.vf_device:x}",
            "sriov_drivers_autoprobe": 1,
        }
        self.add_device(
            at,
            VENDOR,
            of.pf_device,
            pci_class=QAT_CLASS,
            numa_node=numa_node,
            attributes={**sriov, **{f"aer_dev_{severity}": families.aer_text(severity, 0) for severity in SEVERITIES}},
            driver=of.pf_driver if bound else None,
        )
        self.attribute(at, "config", VENDOR.to_bytes(2, "little") + of.pf_device.to_bytes(2, "little"))
        if bound and not of.selectable:
            self._start(at)
        if bound and of.selectable:
            self._write_services(at, services)
            self.set_state(at, state)
        if bound and state == "up":
            self.add_vfs(at, vfs, driver=vf_driver)
        return at

    def add_vfs(self, pf: Address, count: int = 16, *, driver: str | None = "vfio-pci") -> tuple[PciAddress, ...]:
        """Add VFs, as a write to sriov_numvfs does; that many, while QAT's drivers enable all whatever was written."""
        file = self.path(pf, "sriov_numvfs")
        if self.vfs(pf):
            raise kernel_error(errno.EBUSY, file)
        if count > int(self.path(pf, "sriov_totalvfs").read_text()):
            raise kernel_error(errno.ERANGE, file)
        self.attribute(pf, "sriov_numvfs", str(count))
        return tuple(self.add_vf(pf, index, driver=driver) for index in range(count))

    def add_vf(
        self, pf: Address, index: int, *, driver: str | None = "vfio-pci", address: Address | None = None
    ) -> PciAddress:
        """Add the VF of a PF's link virtfn<index>, in a new IOMMU group; `address` where it is not the usual one."""
        parent = as_address(pf)
        of = self._families[parent]
        at = as_address(address or families.functions_after(parent, families.vf_offset(of) + index))
        self._families[at], self._vfs[at] = of, (parent, index)
        return self.add_device(
            at,
            VENDOR,
            of.vf_device,
            pci_class=QAT_CLASS,
            numa_node=self._numa_nodes[parent],
            vf_of=(parent, index),
            driver=driver,
        )

    def add_lone_vf(self, address: Address, family: str = "4xxx", *, driver: str | None = "vfio-pci") -> PciAddress:
        """Add a VF as a virtual machine sees it that it was passed into: without its PF."""
        of = self._families[as_address(address)] = FAMILY[family]
        return self.add_device(address, VENDOR, of.vf_device, pci_class=QAT_CLASS, driver=driver)

    def remove(self, address: Address) -> None:
        """Take a device away, a PF with its VFs. The links between a VF and its PF go before the VF does."""
        for vf in self.vfs(address):
            self.remove(vf)
        pf, index = self._vfs.pop(as_address(address), (None, 0))
        if pf:
            tree.remove(self.path(pf, f"virtfn{index}"))
            tree.remove(self.path(address, "physfn"))
        super().remove(address)

    def vfs(self, pf: Address) -> tuple[PciAddress, ...]:
        """Return the VFs of a PF by their index."""
        found = {index: vf for vf, (of, index) in self._vfs.items() if of == as_address(pf)}
        return tuple(found[index] for index in sorted(found))

    # Who has a VF

    def open_vf(self, vf: Address, *, seen: bool = True) -> None:
        """Let somebody have a VF open by VFIO: what takes it away waits until it is closed.

        One that is not `seen` came just after whoever looked.
        """
        self.attribute(vf, "enable", "1" if seen else "0")
        self.users.add(as_address(vf), seen=seen)

    def close_vf(self, vf: Address) -> None:
        self.attribute(vf, "enable", "0")
        self.users.discard(as_address(vf))

    # What a PF is configured for

    def set_state(self, pf: Address, state: str) -> None:
        """Write qat/state: `down` takes all VFs away, `up` does not bring them back."""
        if state not in ("up", "down"):
            raise kernel_error(errno.EINVAL, self.path(pf, "qat/state"))
        if state == "down":
            for vf in self.vfs(pf):
                self.remove(vf)
            self.attribute(pf, "sriov_numvfs", "0")
            self._stop(pf)
        else:
            self._start(pf)
        self.attribute(pf, "qat/state", state)

    # Health

    def _start(self, pf: Address) -> None:
        """Make what is there while a PF is up: counters that begin at 0, and its heartbeat."""
        if self._families[as_address(pf)].selectable:
            for severity in SEVERITIES:
                self.attribute(pf, f"qat_ras/errors_{severity}", "0")
        self.beat(pf)

    def _stop(self, pf: Address) -> None:
        tree.remove(self.path(pf, "qat_ras"))
        tree.remove(self.heartbeat(pf))

    def heartbeat(self, pf: Address) -> Path:
        """Return the folder in debugfs that holds a PF's heartbeat."""
        return self.dev_cfg(pf).parent / "heartbeat"

    def beat(self, pf: Address, status: int = 0, *, failed: int = 0, answered: int = 100) -> None:
        """Let the heartbeat read so from now on; each number has a NUL behind, as the kernel's has.

        Numbers that grow are another reader's doing: the made files count nobody.
        """
        for name, value in (("status", status), ("queries_failed", failed), ("queries_sent", answered + failed)):
            self.heartbeat(pf).mkdir(parents=True, exist_ok=True)
            tree.replace(self.heartbeat(pf) / name, f"{value}\n\0".encode())

    def count_errors(self, pf: Address, severity: str, count: int, *, aer: bool = False) -> None:
        """Let a counter of errors read so: the driver's, or that of the PCI core."""
        if aer:
            self.attribute(pf, f"aer_dev_{severity}", families.aer_text(severity, count))
        else:
            self.attribute(pf, f"qat_ras/errors_{severity}", str(count))

    def set_services(self, pf: Address, services: str) -> None:
        """Write qat/cfg_services, which can be done while the PF is down only. It is kept in the order of 6.16."""
        wanted, family = parse_services(services), self._families[as_address(pf)]
        down = self.path(pf, "qat/state").read_text() == "down\n"
        foreign = "cy" in services.split(";")  # the out-of-tree driver's
        if wanted is None or foreign or not down or not families.takes(family, wanted):
            raise kernel_error(errno.EINVAL, self.path(pf, "qat/cfg_services"))
        self._write_services(pf, ";".join(in_order(wanted)))

    def _write_services(self, pf: Address, services: str) -> None:
        self.attribute(pf, "qat/cfg_services", services)
        general = f"[GENERAL]\nServicesEnabled = {services}\nHeartbeatTimer = 200\nSriovEnabled = 1\n"
        tree.put(self.dev_cfg(pf), f"{general}[KERNEL]\nNumberCyInstances = 0\nNumberDcInstances = 0")

    def dev_cfg(self, pf: Address) -> Path:
        """Return where debugfs tells how a PF is configured."""
        return self.sysfs / f"kernel/debug/qat_{self._families[as_address(pf)].pf_driver}_{pf}/dev_cfg"

    # Drivers

    def load_driver(self, name: str, *, disable_denylist: bool = False) -> None:
        """Load a driver; it binds to nothing by itself. `disable_denylist` is an option of vfio-pci, at load time."""
        super().load_driver(name)
        if name == "vfio-pci":
            tree.put(self._denylist, "Y" if disable_denylist else "N")

    def attach(self, address: Address) -> None:
        """Look for a driver as a write to drivers_probe does, which tells of no refusal (drivers/base/dd.c)."""
        if not self.path(address).exists():
            raise kernel_error(errno.ENODEV, self.sysfs / "bus/pci/drivers_probe")
        at = as_address(address)
        driver = self.path(at, "driver_override").read_text().strip()
        of = self._families.get(at)
        if driver == "(null)" and of:
            driver = of.pf_driver if at in self._numa_nodes else of.vf_driver
        if self.driver(at) is None:
            with contextlib.suppress(OSError):
                self.bind(at, driver)

    def probe(self, at: PciAddress, driver: str) -> None:
        """In addition to what others do: vfio-pci refuses what is on its denylist (drivers/vfio/pci/vfio_pci.c)."""
        of = self._families.get(at)
        denied = driver == "vfio-pci" and of is not None and of.denylisted
        if denied and self._denylist.read_text() != "Y\n":
            raise kernel_error(errno.EINVAL, self.drivers / driver / "bind")
        if driver == "qat_vfio_pci" and at not in self._vfs:  # it asks the PF's driver (drivers/vfio/pci/qat/main.c)
            raise kernel_error(errno.ENODEV, self.drivers / driver / "bind")
        if of and at in self._numa_nodes and driver == of.pf_driver:
            self._probe_pf(at, of)
        super().probe(at, driver)

    def release(self, at: PciAddress, driver: str) -> None:
        """In addition to what others do: a PF's driver takes the VFs with it."""
        if at in self._numa_nodes:
            for vf in self.vfs(at):
                self.remove(vf)
            tree.remove(self.path(at, "qat"))
            self._stop(at)
            tree.remove(self.dev_cfg(at).parent)
        super().release(at, driver)

    def _probe_pf(self, pf: PciAddress, family: Family) -> None:
        if family.selectable:
            for name, value in (("state", "up"), ("pm_idle_enabled", "1"), ("num_rps", "64"), ("auto_reset", "off")):
                tree.put(self.path(pf, f"qat/{name}"), value)
            self._write_services(pf, "sym;asym")
            self._start(pf)
        else:
            tree.put(self.dev_cfg(pf), "[GENERAL]\n[KERNEL]\nNumberCyInstances = 0")

    @property
    def _denylist(self) -> Path:
        return self.sysfs / "module/vfio_pci/parameters/disable_denylist"
