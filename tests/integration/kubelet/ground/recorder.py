"""Watches what passes between a daemon and a kubelet that others have started, as a program: node runs it.

    python -m ground.recorder FOLDER KUBELET

In FOLDER the daemon finds what is in the kubelet's own folder, KUBELET. It says each list and each allocation that
passes, and each violation of what must be so (invariants.py); who holds what is read from the kubelet's checkpoint,
just before a list goes on to the kubelet.
"""

import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from ground.gates import Call, Gates, Passage, Way
from ground.invariants import Invariants
from ground.lists import Lists
from ground.pods import Pod
from ground.proxy import Proxy
from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.kubelet import checkpoint
from qatdp.simulator.kubelet.answers import Admission


class Passed:
    """What has passed: Of pods nothing is known but what they hold."""

    def __init__(self) -> None:
        self.lists = Lists()
        self.pods: Mapping[str, tuple[Pod, Admission]] = {}

    def note(self, passage: Passage) -> None:
        self.lists.note(passage)
        if isinstance(passage.message, api.ListAndWatchResponse):
            print(f"list {passage.resource} {len(passage.message.devices)}", flush=True)
        elif (passage.call, passage.way) == (Call.ALLOCATE, Way.ANSWER):
            print(f"allocation {passage.resource}", flush=True)


class OnNode(Invariants):
    """What the kubelet writes down is held, and so is what was allocated until it is written down."""

    def __init__(self, passed: Passed, plugins: Path) -> None:
        super().__init__(passed)
        self._plugins = plugins
        self._told = 0

    def _held(self) -> set[tuple[str, str]]:
        pod_entries = checkpoint.read(self._plugins).pod_entries
        written = {(one.resource, str(device)) for one in pod_entries for device in one.devices}
        self._being_given -= written
        return self._being_given | written

    def watch(self, passage: Passage) -> None:
        super().watch(passage)
        for violation in self.violations[self._told :]:
            print(f"violation: {violation}", flush=True)
        self._told = len(self.violations)


async def main(folder: Path, kubelet: Path) -> None:
    gates, passed = Gates(), Passed()
    gates.watchers += [OnNode(passed, kubelet / "device-plugins").watch, passed.note]
    proxy, ended = Proxy(folder, kubelet, gates), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await proxy.up()
    print("up", flush=True)
    await ended.wait()
    await proxy.down(killed=False)


if __name__ == "__main__":
    asyncio.run(main(*map(Path, sys.argv[1:])))
