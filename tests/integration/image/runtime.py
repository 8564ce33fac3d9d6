"""Debian's containerd with folders of its own, and containers that have no more rights than a DaemonSet's."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ground.process import Process
from ground.waiting import until

# overlayfs would need care where this machine's root is one itself; "native" copies.
SNAPSHOTTER = ("--snapshotter", "native")

CONFIG = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{folder}/containerd.sock"
[ttrpc]
  address = "{folder}/containerd.sock.ttrpc"
"""

# What ctr gives by default (containerd's oci/spec.go, defaultUnixCaps); it has no word for all of them.
CAPABILITIES = (
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID "
    "SYS_CHROOT"
).split()

# Told from inside, by the image's own Python.
ABOUT = """\
import json, os, platform
status = dict(line.rstrip("\\n").split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
mounts = [line.split() for line in open("/proc/self/mountinfo")]
release = dict(line.rstrip("\\n").split("=", 1) for line in open("/etc/os-release") if "=" in line)
print(json.dumps({
    "word": os.environ["WORD"],
    "kernel": platform.release(),
    "system": release["PRETTY_NAME"].strip('"'),
    "python": platform.python_version(),
    "uid": os.geteuid(),
    "capabilities": {name: status[name] for name in ("CapEff", "CapPrm", "CapBnd")},
    "no_new_privileges": status["NoNewPrivs"],
    "seccomp": status["Seccomp"],
    "resident_kb": int(dict(line.split(":", 1) for line in open("/proc/1/status"))["VmRSS"].split()[0]),
    "root": next(mount[5].split(",")[0] for mount in mounts if mount[4] == "/"),
}))
"""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of the host in a container."""

    source: Path
    target: str
    writable: bool = False

    @property
    def option(self) -> str:
        return f"type=bind,src={self.source},dst={self.target},options=rbind:{'rw' if self.writable else 'ro'}"


class Runtime(Process):
    def __init__(self, folder: Path, logs: Path) -> None:
        self._folder, self._logs = folder, logs
        config = folder / "config.toml"
        config.write_text(CONFIG.format(folder=folder))
        super().__init__("containerd", ["containerd", "-c", config], logs)

    def start(self) -> None:
        """Start and wait until it answers."""
        super().start()
        until("containerd answers", self._answers)

    def _answers(self) -> bool:
        self.check()
        return subprocess.run(self._ctr("version"), capture_output=True).returncode == 0

    def load(self, archive: Path) -> str:
        """Import an image and return its name."""
        command = self._ctr("images", "import", *SNAPSHOTTER, str(archive))
        subprocess.run(command, check=True, capture_output=True)
        (name,) = _output(self._ctr("images", "ls", "--quiet")).split()
        return name

    def run(self, image: str, name: str, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """Run a container to its end; without a command it is the image's own."""
        return subprocess.run(self._run(image, name, command, ()), capture_output=True, text=True, timeout=120)

    def container(self, image: str, name: str, command: Sequence[str], mounts: Sequence[Mount]) -> "Running":
        """Return a container that can be started and stopped. Later mounts may lie in earlier ones."""
        return Running(name, self._run(image, name, command, mounts), self._logs, self._ctr)

    def _run(self, image: str, name: str, command: Sequence[str], mounts: Sequence[Mount]) -> list[str]:
        options = ["--rm", "--read-only", "--seccomp", *SNAPSHOTTER, "--env", f"WORD={os.environ['WORD']}"]
        for capability in CAPABILITIES:
            options += ["--cap-drop", f"CAP_{capability}"]
        for mount in mounts:
            options += ["--mount", mount.option]
        return self._ctr("run", *options, image, name, *command)

    def _ctr(self, *words: str) -> list[str]:
        return ["ctr", "-a", f"{self._folder}/containerd.sock", "-n", "qatdp", *words]

    @property
    def version(self) -> str:
        runc = _output(["runc", "--version"]).splitlines()[0]
        return f"{' '.join(_output(['containerd', '--version']).split()[:3])}, {runc}"


class Running(Process):
    """A container whose process is ctr's, which hands signals on and ends with the container's status."""

    def __init__(self, name: str, command: Sequence[str], logs: Path, ctr: Callable[..., list[str]]) -> None:
        super().__init__(name, command, logs)
        self._ctr = ctr

    def about(self) -> Mapping[str, Any]:
        """Return what the container says of itself."""
        found: Mapping[str, Any] = json.loads(self.python(ABOUT))
        return found

    def python(self, script: str) -> str:
        """Run a script by the image's Python, in the container and with its rights; return what it prints."""
        command = ("tasks", "exec", "--exec-id", "python", self.name, "/usr/bin/python3", "-I", "-c", script)
        return _output(self._ctr(*command))


@dataclass(frozen=True, slots=True)
class Ground:
    """The runtime, and the image that it holds."""

    runtime: Runtime
    image: str

    def record(self, about: Mapping[str, object]) -> None:
        """Keep what a container said of itself, for the run's last lines."""
        with open(os.environ["RECORD"], "a") as file:
            file.write(json.dumps({**about, "runtime": self.runtime.version}) + "\n")


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout
