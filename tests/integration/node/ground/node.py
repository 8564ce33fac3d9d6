"""A whole node: PFs with services, containerd, kubelet, pods. Built once for a guest."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ground.containerd import Containerd
from ground.kubelet import FOLDER, Kubelet
from ground.network import Network
from ground.pfs import configure, pf_addresses
from ground.pods import Container, Pod, Pods
from ground.probe import Report, first_report
from ground.record import Record

CY, DC = "qat.intel.com/cy", "qat.intel.com/dc"


class Node:
    """Reads the guest's environment: KUBELET and VFIO_PROBE are paths, WORD must come back out of containers."""

    def __init__(self) -> None:
        folder = Path("/run/ground")  # a tmpfs: sockets cannot lie in the share
        self.share = Path("/run/guest")
        self.logs = self.share / "logs"
        self.logs.mkdir(exist_ok=True)
        folder.mkdir()
        (folder / "containerd").mkdir()
        _mount_tmpfs(FOLDER)
        self.network = Network(folder / "cni")
        self.containerd = Containerd(folder / "containerd", self.logs, self.network)
        self.kubelet = Kubelet(Path(os.environ["KUBELET"]), folder, self.logs, self.containerd)
        self.pods = Pods(self.kubelet, os.environ["WORD"])
        self.record = Record()
        self.services: Mapping[str, str] = {}

    def start(self) -> None:
        """Configure the PFs and start the programs. PFs get sym;asym and dc by halves, on both NUMA nodes alike."""
        pfs = pf_addresses()
        self.services = {pf: ("sym;asym", "dc")[index % 2] for index, pf in enumerate(pfs)}
        configure(self.services)
        self.containerd.start()
        self.containerd.load(Path(os.environ["VFIO_PROBE"]), Path(shutil.which("busybox") or "/bin/busybox"))
        self.kubelet.start()

    def prove(self, pod: Pod, container: str = "main") -> Report:
        """Return what the container's probe found at first, and put it on record."""
        report = first_report(pod, container)
        self.record.add(report)
        return report

    def use_a_vf(self) -> None:
        """Let a pod use a VF, for tests that have none themselves: whichever of them run, there was a real pod."""
        pod = self.pods.put(Container(limits={CY: 1}), name="at-first")
        pod.wait("Running")
        assert not self.prove(pod).failures
        pod.delete()

    def stop(self) -> None:
        self.record.write(self.share / "record.json", self.kubelet.version())
        self.pods.delete_all()
        self.kubelet.close()
        self.containerd.close()


def _mount_tmpfs(folder: Path) -> None:
    # The kubelet's folder lies on an overlay of 9p otherwise, whose usage cadvisor cannot tell.
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
