"""What must be so at every moment, whatever happens in whichever order."""

from collections.abc import Mapping
from typing import Protocol

from ground.gates import Call, Passage, Way
from ground.pods import Pod
from ground.stage import HEALTHY
from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.simulator.kubelet.answers import Admission

Held = frozenset[tuple[str, str]]  # of a resource and an ID


class Watched(Protocol):
    """The last list of each resource that has reached the kubelet, health by ID; and the pods that are active."""

    @property
    def lists(self) -> Mapping[str, Mapping[str, str]]: ...

    @property
    def pods(self) -> Mapping[str, tuple[Pod, Admission]]: ...


class Invariants:
    """Watches a stage. `violations` says what was not as it must be.

    - No VF is offered under two resources: not in lists as they pass, and not by what the kubelet says.
    - No VF is in two pods that are active.
    - A held VF is in each list of the resource that it was allocated by, and in no other.
    """

    def __init__(self, stage: Watched) -> None:
        self.violations: list[str] = []
        self._stage = stage
        self._being_given: set[tuple[str, str]] = set()
        self._named: dict[str, tuple[str, ...]] = {}  # what the Allocate that is on its way names, by resource

    def watch(self, passage: Passage) -> None:
        if isinstance(passage.message, api.ListAndWatchResponse):
            self._check_list(passage.resource, {device.ID: device.health for device in passage.message.devices})
        elif isinstance(passage.message, api.AllocateRequest):
            (one,) = passage.message.container_requests
            self._named[passage.resource] = tuple(one.devices_ids)
        elif (passage.call, passage.way) == (Call.ALLOCATE, Way.ANSWER):
            self._being_given |= {(passage.resource, text) for text in self._named.pop(passage.resource, ())}

    def _held(self) -> set[tuple[str, str]]:
        return self._being_given.union(*(held(admission) for _, admission in self._stage.pods.values()))

    def _check_list(self, resource: str, sent: Mapping[str, str]) -> None:
        for of, text in sorted(self._held()):
            if of == resource and text not in sent:
                self.violations.append(f"{text} is held, and is missing from a list of {resource}")
            if of != resource and text in sent:
                self.violations.append(f"{text} is held under {of}, and is in a list of {resource}")
        lists = {**self._stage.lists, resource: sent}
        self.check_offers(
            {name: frozenset(text for text, health in of.items() if health == HEALTHY) for name, of in lists.items()}
        )

    def check_offers(self, healthy: Mapping[str, frozenset[str]]) -> None:
        seen: dict[str, str] = {}
        for resource, ids in sorted(healthy.items()):
            for text in sorted(ids):
                if text in seen:
                    self.violations.append(f"{text} is offered under {seen[text]} and under {resource}")
                seen[text] = resource

    def admission_ended(self, pod: Pod, admission: Admission | None) -> None:
        """Judge an admission, None where the kubelet ended over it. The stage knows the pod already."""
        self._being_given.clear()
        self._named.clear()
        if admission is None:
            return
        for other, given in self._stage.pods.values():
            if other.uid != pod.uid and (twice := given.ids & admission.ids):
                self.violations.append(f"{', '.join(sorted(twice))}: given to {other.name} and to {pod.name}")


def held(admission: Admission) -> Held:
    return frozenset(
        (resource, text)
        for of_container in admission.devices.values()
        for resource, ids in of_container.items()
        for text in ids
    )
