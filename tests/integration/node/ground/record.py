"""What the tests really ran on, for tests/integration/node/run to check and print: written as JSON into the share."""

import json
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ground.clients import Run
from ground.probe import Report
from qatdp.host.calls.choose import host_calls


@dataclass(frozen=True, slots=True)
class Delay:
    """Seconds until the kubelet offers what it should: since the kernel was asked, and since it was done.

    Where the kernel takes its time, what it does is told one by one, and is seen before it is done.
    """

    asked_s: float
    done_s: float


@dataclass(slots=True)
class Record:
    words: set[str] = field(default_factory=set)  # as containers gave them back
    kernels: set[str] = field(default_factory=set)  # uname -r, in containers
    vfio_opens: int = 0
    clients: set[str] = field(default_factory=set)  # that are not ours, with their versions
    delays: dict[str, list[Delay]] = field(default_factory=dict)  # from an event to the kubelet's view, by event

    def add(self, report: Report) -> None:
        self.words |= {report.start["word"]} - {""}
        self.kernels.add(report.start["kernel"])
        self.vfio_opens += len(report.of("device")) - len(report.failures)

    def add_runs(self, runs: Iterable[Run]) -> None:
        for run in runs:
            self.clients |= run.versions
            self.vfio_opens += len(run.opened)

    def write(self, file: Path, kubelet: str) -> None:
        content = {
            "words": sorted(self.words),
            "kernels": sorted(self.kernels),
            "guest": os.uname().release,
            "kubelet": kubelet,
            "vfio_opens": self.vfio_opens,
            "host_calls": host_calls().name,
            **({"clients": ", ".join(sorted(self.clients))} if self.clients else {}),
            **{f"the kubelet has seen: {what}": _figures(delays) for what, delays in self.delays.items()},
        }
        file.write_text(json.dumps(content))


def _figures(delays: Sequence[Delay]) -> str:
    asked_s, done_s = [delay.asked_s for delay in delays], [delay.done_s for delay in delays]
    return (
        f"{_median_and_worst(done_s)} after the kernel was done, {_median_and_worst(asked_s)} after it was asked, "
        f"{len(delays)} times"
    )


def _median_and_worst(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.2f} s ({max(seconds):.2f})"
