"""The guest's kernel: a stock Debian one, fetched with its modules and headers from the Debian mirror into the cache.

It uses an apt configuration of its own: the system's sources, lists and packages stay as they are. No version is
written here, because versions leave the mirror: the newest of the series is taken when it is fetched, and kept.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cache

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

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
    name = f"kernel-{series}-{cache.key(Path(__file__), suite(series))}"
    folder = cache.entry(name, lambda temporary: _fetch(series, temporary, final=cache.root() / name))
    return Kernel(folder, (folder / "version").read_text())


def suite(series: str) -> str:
    """Return the Debian suite that has the series, built by a compiler that this system has.

    Debian 13's own 6.12 is built by Debian 13's gcc-14. Everywhere else bookworm-backports serves: its kernels are
    built by bookworm's gcc-12, which Ubuntu 24.04 and Debian 13 have as well.
    """
    return SUITES.get(series) or ("trixie" if _codename() == "trixie" else "bookworm-backports")


def compiler(series: str) -> str:
    """Return the compiler that the kernel's headers want: the one that built it."""
    return "gcc-14" if suite(series) == "trixie" else "gcc-12"


def _codename() -> str:
    found = re.search(r"^VERSION_CODENAME=(\S+)", Path("/etc/os-release").read_text(), re.M)
    return found[1] if found else ""


def _mirror() -> str:
    """Return the mirror this Debian takes its own packages from; other systems name one in QATDP_DEBIAN_MIRROR."""
    if named := os.environ.get("QATDP_DEBIAN_MIRROR"):
        return named
    targets = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian", f"Codename: {_codename()}"]
    found = _output(targets).split()
    if not found and os.geteuid() == 0:  # an image without package lists
        subprocess.run(["apt-get", "-qq", "update"], check=True)
        found = _output(targets).split()
    if not found:
        raise SystemExit("no Debian mirror among apt's sources: set QATDP_DEBIAN_MIRROR to one (http://HOST/debian)")
    return found[0]


def _fetch(series: str, temporary: Path, final: Path) -> None:
    apt = _Apt(temporary / "apt", f"deb [arch=amd64 signed-by={KEYRING}] {_mirror()} {suite(series)} main")
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


class _Apt:
    """An apt of its own: one source, and its lists and downloads in one folder."""

    def __init__(self, folder: Path, source: str) -> None:
        self._folder = folder
        for name in ("lists/partial", "cache/archives/partial", "debs"):
            (folder / name).mkdir(parents=True)
        (folder / "sources.list").write_text(source + "\n")
        self._run("apt-get", "-qq", "update")

    def _run(self, program: str, *words: str) -> str:
        # The sandbox user could not read below root's home.
        options = (
            f"Dir::Etc::SourceList={self._folder}/sources.list",
            "Dir::Etc::SourceParts=/dev/null",
            "Dir::Etc::Preferences=/dev/null",
            "Dir::Etc::PreferencesParts=/dev/null",
            f"Dir::State::Lists={self._folder}/lists",
            f"Dir::Cache={self._folder}/cache",
            "APT::Sandbox::User=",
            "Acquire::Languages=none",
        )
        flags = [word for option in options for word in ("-o", option)]
        return _output([program, *flags, *words], self._folder / "debs")

    def newest(self, series: str) -> str:
        """Return the newest `uname -r` of the series that has headers, such as 6.12.95+deb12-amd64."""
        names = self._run("apt-cache", "pkgnames", f"linux-headers-{series}.").split()
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
        depends = re.findall(r"Depends: (linux-(?:headers|kbuild)-\S+)", self._run("apt-cache", "depends", package))
        return (package, *depends)

    def download(self, packages: Sequence[str]) -> Sequence[Path]:
        self._run("apt-get", "-qq", "download", *packages)
        return sorted((self._folder / "debs").glob("*.deb"))


def _output(command: Sequence[str], folder: Path | None = None) -> str:
    return subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE, text=True).stdout
