"""An apt of its own, with one suite of Debian as its source: the system's sources, lists and packages stay."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Apt:
    """Keeps its lists and downloads in one folder, which is made."""

    def __init__(self, folder: Path, suite: str) -> None:
        self._folder = folder
        for name in ("lists/partial", "cache/archives/partial", "debs"):
            (folder / name).mkdir(parents=True)
        source = f"deb [arch=amd64 signed-by={KEYRING}] {_mirror()} {suite} main\n"
        (folder / "sources.list").write_text(source)
        self.run("apt-get", "-qq", "update")

    def run(self, program: str, *words: str) -> str:
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

    def with_dependencies(self, packages: Sequence[str]) -> Sequence[str]:
        """Return what an empty system would get with these packages, each as NAME=VERSION."""
        options = ("-o", "Dir::State::status=/dev/null", "--no-install-recommends")
        answer = self.run("apt-get", "-qq", "--simulate", *options, "install", *packages)
        return ["=".join(found) for found in re.findall(r"^Inst (\S+) \((\S+)", answer, re.M)]

    def download(self, packages: Sequence[str]) -> Sequence[Path]:
        self.run("apt-get", "-qq", "download", *packages)
        return sorted((self._folder / "debs").glob("*.deb"))


def codename() -> str:
    """Return the name of the release that this system is."""
    found = re.search(r"^VERSION_CODENAME=(\S+)", Path("/etc/os-release").read_text(), re.M)
    return found[1] if found else ""


def _mirror() -> str:
    """Return the mirror this Debian takes its own packages from; other systems name one in QATDP_DEBIAN_MIRROR."""
    if named := os.environ.get("QATDP_DEBIAN_MIRROR"):
        return named
    targets = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian", f"Codename: {codename()}"]
    found = _output(targets).split()
    if not found and os.geteuid() == 0:  # an image without package lists
        subprocess.run(["apt-get", "-qq", "update"], check=True)
        found = _output(targets).split()
    if not found:
        raise SystemExit("no Debian mirror among apt's sources: set QATDP_DEBIAN_MIRROR to one (http://HOST/debian)")
    return found[0]


def _output(command: Sequence[str], folder: Path | None = None) -> str:
    return subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE, text=True).stdout
