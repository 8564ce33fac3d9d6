"""The device manager's checkpoint: what the kubelet has written down of who has which device. Read only.

It is the kubelet's internal file, without a version of its own. The format read here is that of 1.26 to 1.37
(dm/checkpoint/checkpoint.go); anything else is a KubeletStateError, and then everything is held.
"""

import base64
import binascii
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, TypeVar

from qatdp.core.config.model import is_extended_resource
from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.stale import CheckpointEntry
from qatdp.core.text import shown
from qatdp.errors import KubeletStateError
from qatdp.files import read_regular
from qatdp.kubelet.convert import nodes_of_answer
from qatdp.kubelet.walk import Walk

FILE = "kubelet_internal_checkpoint"
# An entry has 200 to 400 bytes, and a node some hundred pods. It is in memory twice while it is read.
MOST_BYTES = 48 << 20

T = TypeVar("T")
Identity: TypeAlias = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one version of the file says; `identity` tells it from the next, None where there is no file.

    `written_s` is when it was written, as Unix time. `known` are all IDs that it names, by resource: of pods, and of
    plugins that were registered.
    """

    identity: Identity
    pod_entries: tuple[CheckpointEntry, ...] = ()
    written_s: float | None = None
    known: Mapping[str, frozenset[str]] = field(default_factory=dict)


def identity(folder: Path) -> Identity:
    """Return what tells one checkpoint from the next: it is renamed into place, so it is another file each time."""
    try:
        return _identity((folder / FILE).stat())
    except OSError:
        return None


def _identity(status: os.stat_result) -> Identity:
    return (status.st_dev, status.st_ino, status.st_ctime_ns)


def read(folder: Path) -> Checkpoint:
    """Return the checkpoint of a device-plugins folder; an empty one where no kubelet has written any.

    A large one takes seconds: not on an event loop (daemon/kubelet_state.py).
    """
    try:
        content, status = read_regular(folder / FILE, MOST_BYTES)
    except FileNotFoundError:
        return Checkpoint(None)
    except OSError as error:
        raise KubeletStateError(f"{folder / FILE} cannot be read: {error.strerror}") from error
    try:
        pod_entries, known = _data(Walk(content.decode()))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        hint = "this kubelet writes another format than 1.26 to 1.37: nothing is released meanwhile"
        raise KubeletStateError(f"{folder / FILE} is not understood: {shown(error)}", hint=hint) from error
    return Checkpoint(_identity(status), pod_entries, status.st_mtime, known)


def _data(walk: Walk) -> tuple[tuple[CheckpointEntry, ...], Mapping[str, frozenset[str]]]:
    """Read who has what, and all IDs by resource; KeyError where there is no list of who has what."""
    pod_entries: list[CheckpointEntry] | None = None
    known: dict[str, set[str]] = {}
    for _ in _members(walk, "Data"):
        for key in _members(walk, "PodDeviceEntries", "RegisteredDevices"):
            if key == "PodDeviceEntries":
                pod_entries = [*(pod_entries or ()), *(_pod_entry(_a(dict, entry), known) for entry in _elements(walk))]
            else:
                _registered(walk, known)
    walk.end()
    if pod_entries is None:
        raise KeyError("PodDeviceEntries")
    return tuple(pod_entries), {resource: frozenset(ids) for resource, ids in known.items()}


def _elements(walk: Walk) -> Iterator[object]:
    if walk.is_next("n"):  # Go writes null for an empty slice
        walk.value()
    else:
        yield from walk.elements()


def _members(walk: Walk, *wanted: str) -> Iterator[str]:
    """Yield where the object that comes next has a value by one of these keys, to be read then; pass by all others."""
    for key in walk.members():
        if key in wanted:
            yield key
        else:
            walk.value()


def _pod_entry(entry: Mapping[str, object], known: dict[str, set[str]]) -> CheckpointEntry:
    """Read who has what. An ID that is no address is another plugin's."""
    resource, ids = _resource(entry["ResourceName"]), frozenset(_ids(entry["DeviceIDs"]))
    known.setdefault(resource, set()).update(ids)
    devices = tuple(sorted({address for text in ids if (address := PciAddress.parse_or_none(text))}))
    uid, container = _a(str, entry["PodUID"]), _a(str, entry["ContainerName"])
    return CheckpointEntry(resource, devices, _nodes(entry["AllocResp"]), uid, container)


def _registered(walk: Walk, known: dict[str, set[str]]) -> None:
    """Read what plugins have registered: the IDs of each resource's last list."""
    if walk.is_next("n"):
        walk.value()
        return
    for resource in walk.members():
        known.setdefault(_resource(resource), set()).update(_a(str, text) for text in _elements(walk))


def _resource(value: object) -> str:
    """Read a name. One that no kubelet can have registered must not become a resource, or get into the log."""
    name = _a(str, value)
    if not is_extended_resource(name):
        raise ValueError(f"{shown(name)} is not a resource name")
    return name


def _ids(by_numa_node: object) -> Iterator[str]:
    """Read the IDs, which are sorted by NUMA node."""
    return (_a(str, text) for of_node in _a(dict, by_numa_node).values() for text in _a(list, of_node))


def _a(kind: type[T], value: object) -> T:
    """Return a value that must be of a kind. Anything else is not known, and must not be read as nothing held."""
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _nodes(answer: object) -> frozenset[str]:
    try:
        return nodes_of_answer(base64.b64decode("" if answer is None else _a(str, answer), validate=True))
    except binascii.Error as error:
        raise ValueError(f"AllocResp: {error}") from error
