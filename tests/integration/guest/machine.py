"""The guest's hardware, as QEMU's command line: PFs to be, an IOMMU, and the host's root over 9p.

Each PF is an NVMe controller with SR-IOV (QEMU has no other SR-IOV device that VFIO takes), behind a root port of its
own, so that every VF gets an IOMMU group of its own (PCIe ACS). The driver double makes it look like QAT.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """What can be chosen. With `numa`, PFs lie on two nodes by turns: buses 6c.. are node 0, e9.. node 1."""

    pfs: int = 4
    vfs: int = 16
    numa: bool = False
    memory_mib: int = 2048
    cpus: int = 2
    accelerator: str = "tcg,thread=multi"  # works everywhere; "kvm" where /dev/kvm can be trusted
    root_port: str = ""  # "disable-acs=on" puts all VFs of a PF, and it, into one IOMMU group

    def command(self, kernel: Path, initramfs: Path, share: Path) -> Sequence[str]:
        """Return the command that boots it; `share` is a folder the guest may write to."""
        # no_timer_check: a loaded host can miss the ticks by which the kernel checks its timer, and it panics.
        # panic=-1 with -no-reboot: a panic ends QEMU at once. mitigations=off: a seventh of the time, for no secrets.
        cmdline = "console=ttyS0 quiet intel_iommu=on iommu=nopt no_timer_check mitigations=off oops=panic panic=-1"
        base = f"""
            qemu-system-x86_64 -accel {self.accelerator} -cpu max -smp {self.cpus} -m {self.memory_mib}
            -M q35,kernel-irqchip=split -nodefaults -display none -serial stdio -no-reboot
            -device intel-iommu,intremap=on,caching-mode=on
        """.split()
        shares = (
            "-virtfs", f"local,path={share},mount_tag=share,security_model=none",
            "-virtfs", "local,path=/,mount_tag=hostroot,security_model=none,readonly=on,multidevs=remap",
        )  # fmt: skip
        # The shares come before the PCI buses of _numa(), or QEMU would look for a place for them there.
        pci = f"{self._numa()} {' '.join(self._pf(index) for index in range(self.pfs))}".split()
        return (*base, *shares, *pci, "-kernel", str(kernel), "-initrd", str(initramfs), "-append", cmdline)

    def _numa(self) -> str:
        if not self.numa:
            return ""
        half_mib, half_cpus = self.memory_mib // 2, self.cpus // 2
        return " ".join(
            f"-object memory-backend-ram,id=memory{node},size={half_mib}M"
            f" -numa node,nodeid={node},cpus={node * half_cpus}-{(node + 1) * half_cpus - 1},memdev=memory{node}"
            f" -device pxb-pcie,id=host{node},bus_nr={bus},numa_node={node},bus=pcie.0"
            for node, bus in ((0, 0x6B), (1, 0xE8))
        )

    def _pf(self, index: int) -> str:
        place = f"bus=host{index % 2},addr={index // 2}.0" if self.numa else f"bus=pcie.0,addr={index + 4}.0"
        port = f"pcie-root-port,id=port{index},chassis={index + 1},slot={index + 1},{place}"
        # Each VF wants two queues and an interrupt of its own, the PF has the rest (QEMU, hw/nvme/ctrl.c).
        queues = f"sriov_vq_flexible={2 * self.vfs},sriov_vi_flexible={self.vfs},max_ioqpairs={2 * self.vfs + 2}"
        return (
            f"-device {port}{',' if self.root_port else ''}{self.root_port}"
            f" -device nvme-subsys,id=subsystem{index},nqn=qat{index}"
            f" -device nvme,serial=qat{index},subsys=subsystem{index},bus=port{index},"
            f"sriov_max_vfs={self.vfs},{queues},msix_qsize={2 * self.vfs + 3}"
        )
