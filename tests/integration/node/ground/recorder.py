"""Sees on its way whatever passes between the daemon and the kubelet, by the proxy of tests/integration/kubelet.

It is a process of its own, as both have a package `ground`.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ground.kubelet import FOLDER
from ground.process import Process
from ground.waiting import until

OTHERS = Path(__file__).resolve().parents[2] / "kubelet"


class Recorder(Process):
    """`folder` is the kubelet's for a daemon that is to be seen."""

    def __init__(self, logs: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(dir="/run"))  # short: sockets lie in it
        program = ("env", f"PYTHONPATH={OTHERS}", sys.executable, "-P", "-m", "ground.recorder")
        super().__init__("recorder", [*program, self.folder, FOLDER], logs)

    def start(self) -> None:
        super().start()
        until("the proxy is up", lambda: self._lines("up"))

    def passed(self) -> tuple[int, int]:
        """Return how many lists, and how many allocations, it has seen."""
        self.check()
        return len(self._lines("list ")), len(self._lines("allocation "))

    def violations(self) -> Sequence[str]:
        return self._lines("violation: ", "Traceback")

    def _lines(self, *beginnings: str) -> Sequence[str]:
        return [line for line in self.log().splitlines() if line.startswith(beginnings)]
