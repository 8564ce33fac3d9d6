"""Reads what the device manager answers (devicemanager/commands.go has the other half) into what a fake one answers."""

from collections.abc import Mapping
from typing import Any

from qatdp.simulator.kubelet.answers import Admission, Counts, DeviceNode, Mount, RunOptions


def read_admission(answer: Mapping[str, Any]) -> Admission:
    devices = {
        container: {resource: frozenset(ids) for resource, ids in given.items()}
        for container, given in answer.get("devices", {}).items()
    }
    return Admission(answer["ok"], answer.get("reason"), answer.get("error"), devices)


def read_options(options: Mapping[str, Any] | None) -> RunOptions:
    """Translate the kubelet's DeviceRunContainerOptions; None is a container it knows no devices of."""
    of = {name: value or () for name, value in (options or {}).items()}
    return RunOptions(
        {env["Name"]: env["Value"] for env in of.get("Envs", ())},
        tuple(DeviceNode(d["PathOnHost"], d["PathInContainer"], d["Permissions"]) for d in of.get("Devices", ())),
        tuple(Mount(m["HostPath"], m["ContainerPath"], m["ReadOnly"]) for m in of.get("Mounts", ())),
        {annotation["Name"]: annotation["Value"] for annotation in of.get("Annotations", ())},
        tuple(device["Name"] for device in of.get("CDIDevices", ())),
    )


def read_counts(resources: Mapping[str, Any]) -> Mapping[str, Counts]:
    return {resource: Counts(of["capacity"], of["allocatable"]) for resource, of in resources.items()}


def read_health(status: Mapping[str, Any]) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """Translate a pod's status into health by container, resource and ID."""
    return {
        container["name"]: {
            resource["name"]: {device["resourceID"]: device["health"] for device in resource["resources"]}
            for resource in container.get("allocatedResourcesStatus", ())
        }
        for container in status.get("containerStatuses", ())
    }
