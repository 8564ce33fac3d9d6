"""The guest's kernel: a stock Debian one, fetched with its modules and headers from the Debian mirror into the cache.

No version is written here, because versions leave the mirror: the newest of the series is taken when it is fetched, and
kept.
"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cache
from apt import Apt, codename

HERE = Path(__file__).parent

# Where a series is a release's own kernel, whatever Debian this is.
SUITES = {"6.1": "bookworm"}


@dataclass(frozen=True, slots=True)
class Kernel:
    """A fetched kernel: `folder` holds the unpacked packages, `version` is what its uname -r says."""

    folder: Path
    version: str

    @property
    def image(self) -> Path:
        return self.folder / "boot" / f"vmlinuz-{self.version}"

    @property
    def modules(self) -> Path:
        return self.folder / "lib/modules" / self.version

    @property
    def headers(self) -> Path:
        return self.folder / "usr/src" / f"linux-headers-{self.version}"


def kernel(series: str) -> Kernel:
    """Return the kernel of a series such as 6.12, fetched if the cache has none."""
    name = f"kernel-{series}-{cache.key(Path(__file__), HERE / 'apt.py', suite(series))}"
    folder = cache.entry(name, lambda temporary: _fetch(series, temporary, final=cache.root() / name))
    return Kernel(folder, (folder / "version").read_text())


def suite(series: str) -> str:
    """Return the Debian suite that has the series, built by a compiler that this system has.

    Debian 13's own 6.12 is built by Debian 13's gcc-14. Everywhere else bookworm-backports serves: its kernels are
    built by bookworm's gcc-12, which Ubuntu 24.04 and Debian 13 have as well.
    """
    return SUITES.get(series) or ("trixie" if codename() == "trixie" else "bookworm-backports")


def compiler(series: str) -> str:
    """Return the compiler that the kernel's headers want: the one that built it."""
    return "gcc-14" if suite(series) == "trixie" else "gcc-12"


def _fetch(series: str, temporary: Path, final: Path) -> None:
    apt = _Kernels(temporary / "apt", suite(series))
    version = apt.newest(series)
    for deb in apt.download([f"linux-image-{version}", *apt.headers(version)]):
        subprocess.run(["dpkg", "-x", deb, temporary], check=True)
    shutil.rmtree(temporary / "apt")
    if not (temporary / "lib").exists():  # Debian 13 installs into /usr/lib
        (temporary / "lib").symlink_to("usr/lib")
    # The headers' Makefile includes its other half by the path it expects to be installed at.
    makefile = temporary / "usr/src" / f"linux-headers-{version}" / "Makefile"
    makefile.write_text(makefile.read_text().replace("include /usr/src/", f"include {final}/usr/src/"))
    subprocess.run(["depmod", "-b", temporary, version], check=True)
    (temporary / "version").write_text(version)


class _Kernels(Apt):
    def newest(self, series: str) -> str:
        """Return the newest `uname -r` of the series that has headers, such as 6.12.95+deb12-amd64."""
        names = self.run("apt-cache", "pkgnames", f"linux-headers-{series}.").split()
        shape = re.compile(rf"linux-headers-({re.escape(series)}\.\d[\w.+-]*-amd64)$")
        found = [
            match[1] for name in names if (match := shape.match(name)) and "-rt-" not in name and "cloud" not in name
        ]
        if not found:
            raise SystemExit(f"{suite(series)} on the Debian mirror has no kernel {series} with headers")
        return max(found, key=lambda version: [int(digits) for digits in re.findall(r"\d+", version)])

    def headers(self, version: str) -> Sequence[str]:
        """Return the headers' package and those it needs: the common half and the build programs."""
        package = f"linux-headers-{version}"
        depends = re.findall(r"Depends: (linux-(?:headers|kbuild)-\S+)", self.run("apt-cache", "depends", package))
        return (package, *depends)
