"""The kernel's VFIO modules, which nothing in the guest loads by itself; and a process that uses a VF."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def held(vf: str, *, by_cdev: bool = False) -> Iterator[None]:
    """Have a process use a VF, as one in a pod would, by the probe of guest: by its group, or its own node."""
    command = (os.environ["VFIO_PROBE"], *(["cdev"] if by_cdev else []), "hold", "600")
    with subprocess.Popen(command, env={"QAT0": vf}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            said = next(line for line in process.stdout if '"event": "device"' in line)
            assert '"failed"' not in said, said
            yield
        finally:
            process.kill()
