"""The container runtime: containerd with folders of its own, and the one image that all pods use."""

import subprocess
from pathlib import Path

import oci

from ground.network import Network
from ground.process import Process
from ground.waiting import until

IMAGE = "localhost/qatdp/probe:1"

# overlayfs on the guest's overlay root would need care, "native" copies. The one image is its own pause image. Nodes
# belong to the user that a container runs as, which deploy/README.md asks for where that is not root.
CONFIG = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  device_ownership_from_security_context = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{network.bin}"
    conf_dir = "{network.conf}"
"""

# What each process in a pod may lock, as LimitMEMLOCK= of containerd's unit would have it. Maps for DMA count: qatlib's
# are 16 MiB for a cy VF and 8 MiB for a dc one, of which a pod here has two at most. The kernel's own limit is 8 MiB.
MEMLOCK_BYTES = 64 << 20


class Containerd(Process):
    def __init__(self, folder: Path, logs: Path, network: Network) -> None:
        self._folder = folder
        self.socket = folder / "containerd.sock"
        config = folder / "config.toml"
        config.write_text(CONFIG.format(folder=folder, socket=self.socket, image=IMAGE, network=network))
        limits = ["prlimit", f"--memlock={MEMLOCK_BYTES}"]
        super().__init__("containerd", [*limits, "containerd", "-c", config], logs)

    def start(self) -> None:
        """Start and wait until it answers."""
        super().start()
        until("containerd answers", self._answers)

    def _answers(self) -> bool:
        self.check()
        return self.socket.exists() and subprocess.run(self._ctr("version"), capture_output=True).returncode == 0

    def load(self, probe: Path, busybox: Path) -> None:
        """Import the image, which holds the VFIO probe and a static busybox and pauses by default."""
        archive = self._folder / "image.tar"
        layer = oci.layer_of_files({"/probe": probe, "/bin/busybox": busybox})
        oci.write_image(archive, IMAGE, layer, {"Entrypoint": ["/probe", "hold"]})
        self.import_image(archive)

    def import_image(self, archive: Path) -> None:
        subprocess.run(self._ctr("-n", "k8s.io", "images", "import", str(archive)), check=True, capture_output=True)

    def _ctr(self, *words: str) -> list[str]:
        return ["ctr", "-a", str(self.socket), *words]
