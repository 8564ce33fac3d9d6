"""The process that configures one PF (qatdp.host.pf.worker), which stumbles just before a certain write.

    stumbling.py FILE PARENT

FILE has JSON: `places`, the number of that write by the PF's address; 1 is the first. Other PFs' processes do not
stumble. `how` says what happens there:

    dies      the writer is killed
    orphaned  whoever started it is killed, and it waits for what the kernel then does to it
    held up   it is stopped between its check and its write; it opens no group, as in a container without device nodes
"""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from qatdp.core.model.pci import PciAddress
from qatdp.host.calls.abc import HostCalls
from qatdp.host.calls.portable import PortableCalls
from qatdp.host.pf import worker
from qatdp.host.pf.configurator import PfConfigurator

_, FILE, PARENT = sys.argv
HOW, PLACES = (json.loads(Path(FILE).read_text())[key] for key in ("how", "places"))


def _stumble() -> None:
    match HOW:
        case "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        case "orphaned":
            os.kill(int(PARENT), signal.SIGKILL)
            signal.pause()
        case "held up":
            os.kill(os.getpid(), signal.SIGSTOP)


def _open_none(node: Path) -> int:
    raise PermissionError(errno.EPERM, "not for this container", node)


class StumblingCalls(PortableCalls):
    def __init__(self, left: int) -> None:
        self._left = left

    def write(self, path: Path, content: bytes) -> None:
        self._left -= 1
        if self._left == 0:
            _stumble()
        super().write(path, content)


class StumblingHand(PfConfigurator):
    def __init__(
        self, sysfs: Path, dev: Path, pf: PciAddress, _calls: HostCalls, open_node: Callable[[Path], int]
    ) -> None:
        calls = StumblingCalls(PLACES.get(str(pf), 0))
        super().__init__(sysfs, dev, pf, calls, _open_none if HOW == "held up" else open_node)


if __name__ == "__main__":
    vars(worker)["PfConfigurator"] = StumblingHand
    sys.argv[1:] = [PARENT]
    worker.main()
