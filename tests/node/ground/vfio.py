"""The kernel's VFIO modules, which nothing in the guest loads by itself."""

import subprocess
from pathlib import Path


def load() -> None:
    """Load vfio-pci, and with it the type 1 IOMMU driver (a soft dependency of vfio.ko)."""
    subprocess.run(["modprobe", "vfio-pci"], check=True)


def unload() -> None:
    """Take the modules out again, which unbinds every VF; fails while one is held open."""
    if loaded():
        subprocess.run(["modprobe", "-r", "vfio-pci", "vfio_iommu_type1"], check=True)


def loaded() -> bool:
    return Path("/sys/bus/pci/drivers/vfio-pci").exists()
