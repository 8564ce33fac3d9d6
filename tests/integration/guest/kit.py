"""What is built for the guest from the sources beside this file: the driver double, the initramfs, the VFIO probe."""

import gzip
import lzma
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cache
from kernel import Kernel

HERE = Path(__file__).parent
SOURCES = (HERE / "driver/qat_double.c", HERE / "driver/Makefile", HERE / "init", Path(__file__))

# What `init` loads, with what these need. The rest comes from the kernel's own folder, in the running guest.
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")


@dataclass(frozen=True, slots=True)
class Kit:
    """A built kit; `initramfs` goes to the boot loader."""

    folder: Path

    @property
    def initramfs(self) -> Path:
        return self.folder / "initramfs.gz"


def kit(kernel: Kernel) -> Kit:
    """Return the kit for a kernel, built if the cache has none of these very sources."""
    name = f"kit-{kernel.version}-{cache.key(kernel.folder.name, *SOURCES)}"
    return Kit(cache.entry(name, lambda temporary: _build(kernel, temporary)))


def vfio_probe() -> Path:
    """Return the static probe that runs inside containers (vfio_probe.c)."""
    source = HERE / "vfio_probe.c"
    compiler = next(name for name in ("gcc-12", "gcc-14", "gcc", "cc") if shutil.which(name))
    flags = ("-O1", "-static", "-Wall", "-Wextra", "-Wconversion", "-Werror")

    def fill(temporary: Path) -> None:
        subprocess.run([compiler, *flags, "-o", temporary / "vfio_probe", source], check=True)

    return cache.entry(f"probe-{cache.key(source, compiler, *flags)}", fill) / "vfio_probe"


def _build(kernel: Kernel, folder: Path) -> None:
    driver = folder / "driver"
    shutil.copytree(HERE / "driver", driver)
    subprocess.run(["make", "-s", "-C", kernel.headers, f"M={driver}", "modules"], check=True)
    tree = folder / "initramfs"
    _fill_initramfs(kernel, driver / "qat_double.ko", tree)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    cpio = ["cpio", "--create", "--format=newc", "--owner=0:0", "--quiet"]
    archive = subprocess.run(cpio, cwd=tree, input=names.encode(), stdout=subprocess.PIPE, check=True).stdout
    (folder / "initramfs.gz").write_bytes(gzip.compress(archive, 1))
    shutil.rmtree(tree)


def _fill_initramfs(kernel: Kernel, double: Path, tree: Path) -> None:
    for name in ("bin", "dev", "proc", "sys"):
        (tree / name).mkdir(parents=True)
    shutil.copy(_busybox(), tree / "bin/busybox")
    shutil.copy(HERE / "init", tree / "init")
    (tree / "init").chmod(0o755)
    modules = tree / "lib/modules" / kernel.version
    modules.mkdir(parents=True)
    for source in {double, *_with_dependencies(kernel, MODULES)}:
        if source.suffix == ".xz":  # busybox's insmod wants them plain
            (modules / source.stem).write_bytes(lzma.decompress(source.read_bytes()))
        else:
            shutil.copy(source, modules)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(kernel.modules / name, modules)
    subprocess.run(["depmod", "-b", tree, kernel.version], check=True)


def _busybox() -> str:
    found = shutil.which("busybox")
    if not found or subprocess.run(["ldd", found], capture_output=True).returncode == 0:  # ldd refuses static ones
        raise SystemExit("the guest needs a static busybox (Debian's package busybox-static)")
    return found


def _with_dependencies(kernel: Kernel, names: Iterable[str]) -> set[Path]:
    """Return the files modprobe would load for these modules; one that is built in has none."""
    command = ["modprobe", "-d", str(kernel.folder), "-S", kernel.version, "--show-depends", "--all", *names]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return {Path(line.split()[1]) for line in lines if line.startswith("insmod ")}
