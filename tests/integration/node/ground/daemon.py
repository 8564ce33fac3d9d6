"""The product: `qatdp run --bind`, started as on a node, from the virtual environment that runs these tests."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ground.configmap import ConfigMap
from ground.kubelet import FOLDER, Kubelet, ListTaken
from ground.process import Process
from ground.waiting import until_equal

QATDP = (Path(sys.executable).with_name("qatdp"),)
UNGUARDED = (Path(sys.executable), Path(__file__).with_name("unguarded.py"))


class Daemon(Process):
    def __init__(
        self,
        kubelet: Kubelet,
        logs: Path,
        name: str,
        config: ConfigMap | None = None,
        *,
        program: Sequence[str | Path] = QATDP,
        options: Sequence[str] = (),
    ) -> None:
        where: list[str | Path] = ["--sysfs", "/sys", "--dev", "/dev", "--kubelet-dir", FOLDER]
        if config:
            where += ["--config", config.file]
        super().__init__(name, [*program, "run", "--bind", *where, *options], logs)
        self._kubelet = kubelet
        self.since = 0  # what the log of the kubelet held when it started

    def start(self) -> None:
        self.since = len(self._kubelet.log())
        super().start()

    def lists(self) -> dict[str, ListTaken]:
        """Return the last list of each resource that the kubelet took since this start of the daemon."""
        self.check()
        return dict(self._kubelet.lists(self.since))

    def wait_for_lists(self, wanted: dict[str, ListTaken]) -> None:
        """Wait until the kubelet has taken lists of just these sizes for these resources."""

        def look() -> dict[str, ListTaken]:
            return {resource: taken for resource, taken in self.lists().items() if resource in wanted}

        until_equal("the kubelet has taken the daemon's lists", look, wanted)
