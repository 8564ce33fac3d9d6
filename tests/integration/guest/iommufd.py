"""Debian's kernel with VFIO's modules built again, with what Debian leaves out: iommufd, and a node for each device
(CONFIG_IOMMUFD, CONFIG_VFIO_DEVICE_CDEV).

All else is the stock kernel. What these two switches change in the kernel itself comes into the module iommufd instead:
a part of lib/interval_tree.c, and iova_bitmap.c, without which only dirty pages are not tracked.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import cache
from apt import Apt
from kernel import Kernel, kernel, suite

HERE = Path(__file__).parent / "vfio"
BUILD = (HERE / "Kbuild", HERE / "span.c")
SWITCHES = ("CONFIG_IOMMUFD=m", "CONFIG_VFIO_DEVICE_CDEV=y")
SOURCES = ("drivers/vfio", "drivers/iommu/iommufd", "drivers/iommu/iommu-priv.h", "lib/interval_tree.c")


def with_iommufd(series: str) -> Kernel:
    """Return the kernel of a series such as 6.12, whose VFIO has iommufd; built if the cache has none."""
    stock = kernel(series)
    name = f"{stock.folder.name}-iommufd-{cache.key(Path(__file__), *BUILD)}"
    return Kernel(cache.entry(name, lambda temporary: _fill(stock, series, temporary)), stock.version)


def _fill(stock: Kernel, series: str, folder: Path) -> None:
    subprocess.run(["cp", "-al", f"{stock.folder}/.", folder], check=True)
    build = folder / "build"
    build.mkdir()
    _unpack(_fetch(stock, series, build / "apt"), build)
    subprocess.run(["make", "-s", "-C", stock.headers, f"M={build}", *SWITCHES, "modules"], check=True)
    updates = folder / "lib/modules" / stock.version / "updates"  # which depmod prefers
    updates.mkdir()
    for module in build.rglob("*.ko"):
        shutil.copy(module, updates)
    shutil.rmtree(build)
    subprocess.run(["depmod", "-b", folder, stock.version], check=True)


def _fetch(stock: Kernel, series: str, folder: Path) -> Path:
    """Return the archive of the source that the kernel was built from."""
    apt = Apt(folder, suite(series))
    package, wanted = f"linux-source-{series}", stock.version.partition("+")[0]
    versions = [line.split("|")[1].strip() for line in apt.run("apt-cache", "madison", package).splitlines()]
    found = next((version for version in versions if version.partition("-")[0] == wanted), None)
    if found is None:
        raise SystemExit(
            f"Debian has {package} of {' and '.join(versions) or 'no version'}, but {wanted} is what runs:"
            f" remove {stock.folder} to have a newer kernel fetched"
        )
    (deb,) = apt.download([f"{package}={found}"])
    subprocess.run(["dpkg", "-x", deb, folder], check=True)
    return next(folder.glob("usr/src/linux-source-*.tar.xz"))


def _unpack(archive: Path, build: Path) -> None:
    """Lay out what is built as the kernel's tree has it, less its upper folders."""
    top = archive.name.removesuffix(".tar.xz")
    subprocess.run(["tar", "-xf", archive, "-C", build, *_members(top)], check=True)
    source = build / top
    shutil.move(source / "drivers/vfio", build / "vfio")
    shutil.move(source / "drivers/iommu", build / "iommu")
    iommufd = build / "iommu/iommufd"
    shutil.move(source / "lib/interval_tree.c", iommufd)
    for file in BUILD:
        shutil.copy(file, build)
    shutil.move(build / "span.c", iommufd)
    with (iommufd / "Makefile").open("a") as makefile:
        makefile.write("iommufd-y += iova_bitmap.o span.o\n")


def _members(top: str) -> Sequence[str]:
    return [f"{top}/{name}" for name in SOURCES]
