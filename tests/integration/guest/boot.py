"""One life of a guest: boot, one command in the host's own tree, power off. Returns what became of it."""

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kernel import Kernel
from kit import Kit
from machine import Machine

NO_STATUS = 125  # the guest gave none: it crashed, hung, or never came up

# What a kernel prints that gives up. Two such boots in about 200 were seen, both before any command ran: a stray int3
# early on, and a timer test that starved on a busy host. Neither is caused by what is tested.
CRASHES = (b"Oops", b"Kernel panic")


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is the command's exit status, or NO_STATUS; `crashed_early` tells a boot that failed by itself."""

    status: int
    crashed_early: bool


@dataclass(frozen=True, slots=True)
class Guest:
    kernel: Kernel
    kit: Kit
    machine: Machine
    double: str  # arguments of the driver double, "none" to leave it out
    timeout_s: float

    def run(self, command: Sequence[str], environment: Mapping[str, str], share: Path) -> Outcome:
        """Run a command in the current directory of a fresh guest; it sees the folder `share` as /run/guest."""
        for name in ("started", "status"):
            (share / name).unlink(missing_ok=True)
        (share / "command").write_text(_script(command, environment))
        (share / "double").write_text(self.double + "\n")
        (share / "modules").write_text(str(self.kernel.modules.resolve()))
        crashed = self._boot(share)
        if (share / "status").exists():
            return Outcome(int((share / "status").read_text()), crashed_early=False)
        return Outcome(NO_STATUS, crashed_early=crashed and not (share / "started").exists())

    def _boot(self, share: Path) -> bool:
        """Boot, pass the console on, and tell whether a crash was on it."""
        command = self.machine.command(self.kernel.image, self.kit.initramfs, share)
        crashed = False
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as qemu:
            watchdog = threading.Timer(self.timeout_s, qemu.kill)
            watchdog.start()
            assert qemu.stdout is not None
            for line in qemu.stdout:
                crashed = crashed or any(word in line for word in CRASHES)
                sys.stdout.buffer.write(line)
                sys.stdout.flush()
            watchdog.cancel()
        return crashed


def _script(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the first script in the guest's root; its environment is made again, init has none to speak of."""
    words = {
        "HOME": "/root",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "QATDP_GUEST": "1",
        **environment,
    }
    pairs = shlex.join(f"{name}={value}" for name, value in words.items())
    # rshared: a kubelet wants mounts to propagate from its root, as on a system that systemd has set up.
    return f"""\
mount --make-rshared /
cd {shlex.quote(os.getcwd())} || exit 125
exec env -i {pairs} {shlex.join(command)}
"""
