"""The kubelet's checkpoint, as dm/checkpoint/checkpoint.go writes it."""

import base64
import json
import os
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.simulator.kubelet.ledger import Given, GivenTo, Ledger

FILE = "kubelet_internal_checkpoint"


def dump(given: GivenTo, registered: Mapping[str, set[str]]) -> bytes:
    """Return the file's content. Its checksum is not the kubelet's, which only Go can compute."""
    entries = [
        {
            "PodUID": uid,
            "ContainerName": container,
            "ResourceName": resource,
            "DeviceIDs": {str(node): list(ids) for node, ids in one.ids_by_node.items()},
            "AllocResp": base64.b64encode(one.answer.SerializeToString()).decode(),
        }
        for uid, containers in given.items()
        for container, resources in containers.items()
        for resource, one in resources.items()
    ]
    devices = {resource: sorted(ids) for resource, ids in registered.items()}
    data = {"PodDeviceEntries": entries or None, "RegisteredDevices": devices}  # Go writes null for an empty slice
    return json.dumps({"Data": data, "Checksum": zlib.crc32(json.dumps(data).encode())}).encode()


def write(folder: Path, ledger: Ledger) -> None:
    """Put a new file in the place of the old one: another inode each time. Where it cannot be, the kubelet goes on."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=".", dir=folder)
        with open(descriptor, "wb") as file:
            file.write(dump(ledger.given, ledger.healthy))
        os.rename(name, folder / FILE)
    except OSError:
        pass


def read(folder: Path, ledger: Ledger) -> tuple[str, ...]:
    """Put into the ledger what the file says; return the resources that were registered.

    Their devices it does not know until their lists come. A file that cannot be read is as good as none.
    """
    try:
        data = json.loads((folder / FILE).read_bytes())["Data"]
        entries, registered = data["PodDeviceEntries"] or (), tuple(data["RegisteredDevices"])
    except (OSError, ValueError, KeyError):
        return ()
    for entry in entries:
        answer = api.ContainerAllocateResponse.FromString(base64.b64decode(entry["AllocResp"]))
        ids = {int(node): tuple(of_node) for node, of_node in entry["DeviceIDs"].items()}
        ledger.give(entry["PodUID"], entry["ContainerName"], entry["ResourceName"], Given(ids, answer))
    ledger.recount()
    for resource in registered:
        ledger.healthy[resource], ledger.unhealthy[resource] = set(), set()
    return registered
