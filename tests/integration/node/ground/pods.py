"""Static pods: manifests put where the kubelet looks, and what became of them."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ground.containerd import IMAGE
from ground.kubelet import NODE_NAME, Kubelet
from ground.waiting import until

UNPRIVILEGED = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True, slots=True)
class Container:
    """A container that runs the VFIO probe, unless told otherwise; `limits` is resource to count.

    `mounts` are folders of the node, read-only, by where the container has them; None is an empty one that it may fill.
    With a `user` it has no privilege at all; None is root, with what the runtime grants. An init container with
    `restarts` is a sidecar: it runs beside the containers after it.
    """

    name: str = "main"
    limits: Mapping[str, int] = field(default_factory=dict)
    command: Sequence[str] = ("/probe", "hold")
    mounts: Mapping[str, Path | None] = field(default_factory=dict)
    user: int | None = None
    restarts: bool = False

    def manifest(self, word: str) -> dict[str, Any]:
        return {
            "name": self.name,
            "image": IMAGE,
            "imagePullPolicy": "Never",
            "command": list(self.command),
            **({"restartPolicy": "Always"} if self.restarts else {}),
            "env": [{"name": "WORD", "value": word}],
            "resources": {"limits": {resource: str(count) for resource, count in self.limits.items()}},
            "securityContext": {} if self.user is None else {"runAsUser": self.user, **UNPRIVILEGED},
            "volumeMounts": [
                {"name": _volume(where), "mountPath": where, "readOnly": folder is not None}
                for where, folder in self.mounts.items()
            ],
        }

    def volumes(self) -> list[dict[str, Any]]:
        return [
            {"name": _volume(where), **({"hostPath": {"path": str(folder)}} if folder else {"emptyDir": {}})}
            for where, folder in self.mounts.items()
        ]


def _volume(where: str) -> str:
    return where.strip("/").replace("/", "-")


ONCE = ("/probe",)  # prove and end
NAMES = ("/probe", "names")  # take, but open nothing: quick for many devices
CGROUPS = Path("/sys/fs/cgroup/kubepods")


class Pods:
    """Where pods are made; `word` goes into the environment of every container."""

    def __init__(self, kubelet: Kubelet, word: str) -> None:
        self._kubelet = kubelet
        self._word = word
        self._numbers = itertools.count(1)

    def put(
        self, *containers: Container, init: Sequence[Container] = (), name: str = "pod", host_network: bool = True
    ) -> "Pod":
        """Put a pod's manifest in place, under a name that no pod had before.

        Not before its resources are known to the kubelet, which runs a pod without those it does not know.
        """
        name = f"{name}-{next(self._numbers)}"
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "hostNetwork": host_network,
                "terminationGracePeriodSeconds": 5,
                "initContainers": [container.manifest(self._word) for container in init],
                "containers": [container.manifest(self._word) for container in containers],
                "volumes": [volume for container in (*init, *containers) for volume in container.volumes()],
            },
        }
        file = self._kubelet.manifests / f"{name}.json"
        temporary = file.with_name(f".{file.name}")  # the kubelet passes over files that begin with a dot
        temporary.write_text(json.dumps(manifest))
        temporary.rename(file)
        return Pod(self._kubelet, file, f"{name}-{NODE_NAME}")

    def delete_all(self) -> None:
        for file in self._kubelet.manifests.glob("*.json"):
            Pod(self._kubelet, file, f"{file.stem}-{NODE_NAME}").delete()


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod; `name` is the kubelet's name for it."""

    _kubelet: Kubelet
    _file: Path
    name: str

    def seen(self) -> dict[str, Any] | None:
        """Return what the kubelet tells of it, None while, or once, it knows no such pod."""
        found = [pod for pod in self._kubelet.pods() if pod["metadata"]["name"] == self.name]
        return found[0] if found else None

    @property
    def uid(self) -> str:
        pod: dict[str, Any] = until(f"the kubelet sees {self.name}", self.seen)
        return str(pod["metadata"]["uid"])

    @property
    def status(self) -> dict[str, Any]:
        return dict((self.seen() or {}).get("status", {}))

    def wait(self, *phases: str, timeout_s: float = 60) -> dict[str, Any]:
        """Wait until the pod is in one of these phases; returns its status.

        Raises AssertionError when it has come to its end in another, for it stays there.
        """

        def look() -> dict[str, Any] | None:
            status = self.status
            assert status.get("phase") in {*phases, "Pending", "Running", None}, json.dumps(status, indent=1)
            return status if status.get("phase") in phases else None

        return until(f"{self.name} is {' or '.join(phases)}", look, timeout_s=timeout_s)

    def containers(self) -> dict[str, tuple[str, int]]:
        """Return ID and restart count of each container that runs."""
        statuses = self.status.get("containerStatuses", [])
        return {one["name"]: (one["containerID"], one["restartCount"]) for one in statuses if "running" in one["state"]}

    def log(self, container: str = "main") -> str:
        """Return what the container's runs wrote, as far as the kubelet keeps it."""
        folders = self._kubelet.pod_logs.glob(f"*_{self.name}_*/{container}/*.log")
        lines = [line for file in sorted(folders) for line in file.read_text().splitlines()]
        return "\n".join(line.split(" ", 3)[3] for line in lines)  # TIME STREAM FLAGS TEXT

    def cgroup(self) -> Path:
        """Return the cgroup of all that runs of it, which `kill` takes."""
        return next(CGROUPS.rglob(f"pod{self.uid}"))

    def kill_container(self, container: str = "main") -> None:
        """End a container as if it had crashed: the kubelet starts another one."""
        identity, _ = self.containers()[container]
        kill(next(self.cgroup().rglob(identity.rpartition("/")[2])))

    def delete(self) -> None:
        """Remove the pod and wait until nothing of it runs and the kubelet has forgotten it."""
        uid = self.uid
        self._file.unlink()
        # The kubelet stops telling of a pod when its manifest goes, and removes its cgroup when all of it has ended.
        until(f"{self.name} is gone", lambda: not self.seen() and not any(CGROUPS.rglob(f"pod{uid}")))


def kill(cgroup: Path) -> None:
    """End all that runs in a cgroup."""
    (cgroup / "cgroup.kill").write_text("1")
