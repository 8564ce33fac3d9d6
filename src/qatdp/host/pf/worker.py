"""The process that configures one PF for writer.py: steps on standard input, what came of each on standard output.

A process of its own because a write can hang in the kernel for ever. It has the PF's lock for as long as it lives, so
whoever finds the lock taken leaves that PF alone; and it dies with the one who started it, before its next step.
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from qatdp.core.model.pci import PciAddress
from qatdp.core.provision.steps import Step, What
from qatdp.errors import QatdpError
from qatdp.host.calls.abc import HostCalls
from qatdp.host.calls.choose import host_calls
from qatdp.host.pf.configurator import HeldError, PfConfigurator
from qatdp.host.pf.locks import Lock, LockedError, LockFolderError, LockOwner

PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h


def serve(steps: TextIO, progress: TextIO, calls: HostCalls, open_node: Callable[[Path], int]) -> None:
    """Take the PF's lock, then each step as it comes; a line of JSON for each is the answer."""

    def say(**answer: object) -> None:
        progress.write(json.dumps(answer) + "\n")
        progress.flush()

    job = json.loads(steps.readline() or "null")
    if job is None:
        return
    try:
        lock = Lock(Path(job["locks"]), f"{job['pf']}.lock", LockOwner(**job["who"]))
    except (LockedError, LockFolderError) as error:
        say(error=str(error), held=isinstance(error, LockedError))
        return
    hand = PfConfigurator(Path(job["sysfs"]), Path(job["dev"]), PciAddress.parse(job["pf"]), calls, open_node)
    say(error=None)
    for line in steps:
        say(**_take(hand, json.loads(line)))
    lock.close()


def _take(hand: PfConfigurator, step: Mapping[str, Any]) -> dict[str, object]:
    try:
        hand.take(Step(What(step["what"]), step["value"], step["skip"]))
    except OSError as error:
        return {"error": os.strerror(error.errno or 0), "errno": error.errno, "state": hand.state()}
    except QatdpError as error:
        return {"error": str(error), "held": isinstance(error, HeldError)}
    return {"error": None}


def die_with(parent: int) -> None:
    """Ask for a signal for when the parent ends; end now, where it has ended already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


def main() -> None:
    die_with(int(sys.argv[1]))
    serve(sys.stdin, sys.stdout, host_calls(), lambda node: os.open(node, os.O_RDWR | os.O_CLOEXEC))
