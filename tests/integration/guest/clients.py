"""Clients that are not ours: DPDK and qatlib as Debian has built them, unpacked for containers to mount.

A root holds a release's packages with all that they need, and none of it is changed, or configured. What is
built here lies beside: the double of a VF's registers (vf_double.c), and what starts qatlib (qatlib_instances.c).
"""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cache
from apt import Apt

HERE = Path(__file__).parent

# What programs look for in the root of a file system, though all of it lies below usr.
LINKS = ("bin", "lib", "lib64", "sbin")


@dataclass(frozen=True, slots=True)
class Root:
    """A release of Debian, and packages of it."""

    suite: str
    packages: Sequence[str]

    def folder(self) -> Path:
        """Return where it is unpacked, fetched if the cache has none; `packages` there tells the versions."""
        name = f"root-{self.suite}-{cache.key(Path(__file__), HERE / 'apt.py', *self.packages)}"
        return cache.entry(name, self._fetch)

    def _fetch(self, folder: Path) -> None:
        for name in LINKS:
            (folder / "usr" / name).mkdir(parents=True)
            (folder / name).symlink_to(f"usr/{name}")
        apt = Apt(folder / "apt", self.suite)
        packages = [package for package in apt.with_dependencies(self.packages) if self._is_of_use(package)]
        for deb in apt.download(packages):
            _unpack(deb, folder)
        (folder / "packages").write_text("\n".join(packages))
        shutil.rmtree(folder / "apt")

    def _is_of_use(self, package: str) -> bool:
        """Return whether a package is asked for, or holds more than what compilers need."""
        name = package.partition("=")[0]
        return name in self.packages or not name.endswith("-dev")


# dpdk-dev holds DPDK's test programs. By bash, as Intel's image starts them; strace tells what is opened.
DPDK = Root("bookworm", ("dpdk-dev", "librte-common-qat23", "bash", "strace"))

# The first release that has qatlib.
QATLIB = Root("trixie", ("libqat4", "libqat-dev", "qatengine", "openssl", "bash", "strace"))


def built() -> Path:
    """Return the folder with vf_double.so and qatlib_instances."""
    double, starter = HERE / "vf_double.c", HERE / "qatlib_instances.c"
    root = QATLIB.folder()
    compiler = next(name for name in ("gcc-12", "gcc-14", "gcc", "cc") if shutil.which(name))
    strict = ("-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror")
    # Its own library's symbols are of a newer libc than this system's may be.
    library = (root / "usr/lib/x86_64-linux-gnu/libqat.so.4", "-Wl,--allow-shlib-undefined")

    def fill(folder: Path) -> None:
        def compile_as(name: str, *words: str | Path) -> None:
            subprocess.run([compiler, *strict, "-o", folder / "bin" / name, *words], check=True)

        (folder / "bin").mkdir()  # other users may look into this one
        compile_as("vf_double.so", "-shared", "-fPIC", "-pthread", double)
        compile_as("qatlib_instances", "-isystem", root / "usr/include/qat", starter, *library)

    return cache.entry(f"clients-{cache.key(double, starter, compiler, root.name, *strict)}", fill) / "bin"


def _unpack(deb: Path, folder: Path) -> None:
    """Unpack a package; older ones have files in /lib and the like, which stay links."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as packed:
        subprocess.run(
            ["tar", "--extract", "--keep-directory-symlink", "--directory", folder], stdin=packed.stdout, check=True
        )
    if packed.returncode:
        raise subprocess.CalledProcessError(packed.returncode, packed.args)
