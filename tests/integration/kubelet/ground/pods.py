"""Pods on paper: what the API would say of them, as far as devices go."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Container:
    """A container; `limits` is resource to count. `restartable` is for init containers and makes a sidecar of one."""

    name: str = "main"
    limits: Mapping[str, int] = field(default_factory=dict)
    restartable: bool = False

    def manifest(self) -> dict[str, object]:
        # Extended resources are not overcommitted: the API server sees to it that requests equal limits.
        counts = {resource: str(count) for resource, count in self.limits.items()}
        policy = {"restartPolicy": "Always"} if self.restartable else {}
        return {"name": self.name, "resources": {"limits": counts, "requests": counts}, **policy}


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod; another object with the same UID is the same pod."""

    name: str
    containers: tuple[Container, ...]
    init: tuple[Container, ...] = ()
    namespace: str = "default"
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))

    def manifest(self) -> dict[str, object]:
        return {
            "metadata": {"name": self.name, "namespace": self.namespace, "uid": self.uid},
            "spec": {
                "initContainers": [container.manifest() for container in self.init],
                "containers": [container.manifest() for container in self.containers],
            },
            "status": {"phase": "Running"},
        }
