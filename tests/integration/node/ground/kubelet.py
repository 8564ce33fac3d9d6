"""The kubelet: the real program, standalone (no API server), with pods from a folder of manifests.

What it says of itself is read from its read-only port, from its log (counts of each list of devices it took) and from
the checkpoint it keeps of who has which device.
"""

import json
import re
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ground.containerd import Containerd
from ground.process import Process
from ground.waiting import until

FOLDER = Path("/var/lib/kubelet")  # compiled into the kubelet, whatever its --root-dir
CHECKPOINT = FOLDER / "device-plugins/kubelet_internal_checkpoint"
PODS = "http://127.0.0.1:10255/pods"
NODE_NAME = "node"

CONFIG = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
enableServer: false
address: 127.0.0.1
readOnlyPort: 10255
staticPodPath: {manifests}
containerRuntimeEndpoint: unix://{socket}
cgroupDriver: cgroupfs
failSwapOn: false
makeIPTablesUtilChains: false
localStorageCapacityIsolation: false
podLogsDir: {pod_logs}
"""

# pkg/kubelet/cm/devicemanager/manager.go, at -v=2: one line for each message of a ListAndWatch stream.
LIST_TAKEN = re.compile(
    r'"Processed device updates for resource" resourceName="(?P<resource>[^"]+)" '
    r"totalCount=(?P<total>\d+) healthyCount=(?P<healthy>\d+)"
)


@dataclass(frozen=True, slots=True)
class ListTaken:
    """Sizes of a list the kubelet took of a resource: what it then calls capacity and allocatable."""

    total: int
    healthy: int


class Kubelet(Process):
    def __init__(self, binary: Path, folder: Path, logs: Path, containerd: Containerd) -> None:
        self.manifests, self.pod_logs = folder / "manifests", folder / "pod-logs"
        self.manifests.mkdir()
        config = folder / "kubelet.yaml"
        config.write_text(CONFIG.format(manifests=self.manifests, socket=containerd.socket, pod_logs=self.pod_logs))
        flags = [f"--config={config}", f"--cert-dir={folder}/certs", f"--hostname-override={NODE_NAME}", "-v=2"]
        super().__init__("kubelet", [binary, *flags], logs)

    def start(self) -> None:
        """Start and wait until it answers and takes device plugins."""
        # Where it was killed its socket stays, until the next one makes its own.
        before = _identity(FOLDER / "device-plugins/kubelet.sock")
        super().start()
        until("the kubelet answers", self._answers)
        until(
            "the kubelet takes device plugins",
            lambda: _identity(FOLDER / "device-plugins/kubelet.sock") not in (None, before),
        )

    def _answers(self) -> bool:
        try:
            self.pods()
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    def pods(self) -> list[dict[str, Any]]:
        """Return the pods as the kubelet tells them, with their status."""
        self.check()
        with urllib.request.urlopen(PODS, timeout=10) as answer:
            items = json.load(answer)["items"]
        return list(items or [])

    def lists(self, since: int = 0) -> list[tuple[str, ListTaken]]:
        """Return resource and size of each list it took since its log had that many characters, in order."""
        found = LIST_TAKEN.finditer(self.log()[since:])
        return [(line["resource"], ListTaken(int(line["total"]), int(line["healthy"]))) for line in found]

    def version(self) -> str:
        return subprocess.run(
            [self._command[0], "--version"], check=True, capture_output=True, text=True
        ).stdout.strip()


def _identity(path: Path) -> tuple[int, int] | None:
    # The same inode number can come again, hence the time as well.
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_ctime_ns
