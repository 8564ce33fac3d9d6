"""The process that configures one PF (qatdp.host.child), which gets a signal just before a certain write.

    stumbling.py SIGNAL PLACES PARENT

PLACES is JSON, the number of that write by the PF's address; 1 is the first. Other PFs' processes do not stumble.
SIGKILL is a writer that dies there, SIGSTOP one that is held up between its check and its write.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from qatdp.core.pci import PciAddress
from qatdp.host import child
from qatdp.host.abc import HostCalls
from qatdp.host.hand import Hand
from qatdp.host.portable import PortableCalls

_, SIGNAL, PLACES, PARENT = sys.argv


class StumblingCalls(PortableCalls):
    def __init__(self, left: int) -> None:
        self._left = left

    def write(self, path: Path, content: bytes) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), int(SIGNAL))
        super().write(path, content)


class StumblingHand(Hand):
    def __init__(
        self, sysfs: Path, dev: Path, pf: PciAddress, _calls: HostCalls, open_node: Callable[[Path], int]
    ) -> None:
        super().__init__(sysfs, dev, pf, StumblingCalls(json.loads(PLACES).get(str(pf), 0)), open_node)


if __name__ == "__main__":
    vars(child)["Hand"] = StumblingHand
    sys.argv[1:] = [PARENT]
    child.main()
