"""What the tests really ran on, for tests/node/run to check and print: written as JSON into the share."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from ground.probe import Report
from qatdp.host.choose import host_calls


@dataclass(slots=True)
class Record:
    words: set[str] = field(default_factory=set)  # as containers gave them back
    kernels: set[str] = field(default_factory=set)  # uname -r, in containers
    vfio_opens: int = 0

    def add(self, report: Report) -> None:
        self.words |= {report.start["word"]} - {""}
        self.kernels.add(report.start["kernel"])
        self.vfio_opens += len(report.of("device")) - len(report.failures)

    def write(self, file: Path, kubelet: str) -> None:
        content = {
            "words": sorted(self.words),
            "kernels": sorted(self.kernels),
            "guest": os.uname().release,
            "kubelet": kubelet,
            "vfio_opens": self.vfio_opens,
            "host_calls": host_calls().name,
        }
        file.write_text(json.dumps(content))
