"""Clients that are not ours, in pods without privilege: DPDK and qatlib, from roots of Debian's that are mounted.

Each runs under strace, with the double of a VF's registers preloaded (tests/integration/guest/clients.py). What they
say, and what they open, is in the container's log, a section for each run. The VFIO probe stays behind and keeps the
pod running.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ground.pods import Container, Pod
from ground.probe import names
from ground.waiting import until

USER = 1000

# A run of DPDK takes 10 s in a guest that has the machine for itself.
LONGEST_S = 180

VERSIONS = {
    "DPDK": r"RTE Version: 'DPDK ([^']+)'",
    "qatlib": r'"event": "instance".* "version": "Version ([^"]+)"',
    "qatengine": r"^\(qatengine\) .* v(\S+)",
}

# The addresses go to DPDK as Intel's image does it (demo/crypto-perf/run-dpdk-test of its plugin): each value of a
# variable whose name begins with QAT, whatever it is.
PRELUDE = """\
PATH=/usr/bin:/clients
run() {
	echo "== $1"; shift
	strace -f --seccomp-bpf -e trace=openat -E LD_PRELOAD=/clients/vf_double.so -o /tmp/opened "$@" 2>&1
	/bin/busybox grep /dev/vfio/ /tmp/opened
}
dpdk() {
	title=$1; shift
	echo quit | run "$title" dpdk-test -l 0 --no-huge -m 8 --no-shconf --no-telemetry -v '--log-level=*:debug' "$@"
}
for name in ${!QAT*}; do allowed+=" -a ${!name}"; done
echo "== limits $(ulimit -l)"
/bin/busybox grep -E '^(Uid|CapEff|NoNewPrivs):' /proc/self/status
"""


def dpdk(limits: Mapping[str, int], foreign: str) -> Container:
    """Return a container that starts DPDK with what it was given, then with a VF that it was not."""
    return _container("DPDK", limits, f"dpdk given $allowed\ndpdk foreign -a {foreign}\n")


def qatlib(limits: Mapping[str, int]) -> Container:
    """Return a container that starts qatlib, then OpenSSL with the engine that uses it."""
    return _container("QATLIB", limits, "run qatlib qatlib_instances\nrun openssl openssl engine -t qatengine\n")


def _container(root: str, limits: Mapping[str, int], script: str) -> Container:
    folder = Path(os.environ[root])
    mounts = {f"/{name}": folder / name for name in ("usr", "lib", "lib64")}
    command = ("/usr/bin/bash", "-c", f"{PRELUDE}{script}exec /probe names")
    return Container("main", limits, command, {**mounts, "/clients": Path(os.environ["CLIENTS"]), "/tmp": None}, USER)


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a client printed, followed by what it opened below /dev/vfio."""

    text: str

    def found(self, pattern: str) -> frozenset[str]:
        return frozenset(re.findall(pattern, self.text, re.M))

    @property
    def opened(self) -> frozenset[str]:
        """Return the names of the groups that it could open."""
        return self.found(r'openat\([^,]+, "/dev/vfio/(\d+)", O_RDWR[^)]*\)\s+= \d+')

    @property
    def versions(self) -> frozenset[str]:
        """Return what the client says that it is."""
        return frozenset(f"{name} {version}" for name, pattern in VERSIONS.items() for version in self.found(pattern))


def runs(pod: Pod) -> Mapping[str, Run]:
    """Return all runs of a pod's clients, by title, once they have ended and the probe has its turn."""
    until(f"the clients in {pod.name} have ended", lambda: '{"event": "start"' in pod.log(), timeout_s=LONGEST_S)
    names(pod)
    _, *sections = re.split(r"^== ", pod.log(), flags=re.M)
    return {title: Run(text) for title, _, text in (section.partition("\n") for section in sections)}
