"""The device manager's checkpoint: what the kubelet has written down of who has which device. Read only.

It is the kubelet's internal file, without a version of its own. The format read here is that of 1.26 to 1.37
(dm/checkpoint/checkpoint.go); anything else is a BooksError, and then everything is held.
"""

import base64
import binascii
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

from qatdp.core.pci import PciAddress
from qatdp.core.stale import Holding
from qatdp.errors import BooksError
from qatdp.kubelet.convert import nodes_of_answer

FILE = "kubelet_internal_checkpoint"

T = TypeVar("T")
Identity: TypeAlias = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one version of the file says; `identity` tells it from the next, None where there is no file."""

    identity: Identity
    holdings: tuple[Holding, ...] = ()


def identity(folder: Path) -> Identity:
    """Return what tells one checkpoint from the next: it is renamed into place, so it is another file each time."""
    try:
        status = (folder / FILE).stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_ctime_ns)


def read(folder: Path) -> Checkpoint:
    """Return the checkpoint of a device-plugins folder; an empty one where no kubelet has written any."""
    try:
        with open(folder / FILE, "rb") as file:
            status = os.fstat(file.fileno())
            content = file.read()
    except FileNotFoundError:
        return Checkpoint(None)
    except OSError as error:
        raise BooksError(f"{folder / FILE} cannot be read: {os.strerror(error.errno or 0)}") from error
    try:
        holdings = tuple(_holdings(content))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        hint = "this kubelet writes another format than 1.26 to 1.37: nothing is released meanwhile"
        raise BooksError(f"{folder / FILE} is not understood: {error!r}", hint=hint) from error
    return Checkpoint((status.st_dev, status.st_ino, status.st_ctime_ns), holdings)


def _holdings(content: bytes) -> Iterator[Holding]:
    entries = json.loads(content)["Data"]["PodDeviceEntries"]
    for entry in () if entries is None else _a(list, entries):  # Go writes null for an empty slice
        devices = tuple(sorted(_devices(entry["DeviceIDs"])))
        yield Holding(_a(str, entry["ResourceName"]), devices, _nodes(entry["AllocResp"]))


def _devices(ids: object) -> set[PciAddress]:
    """Read the IDs, which are sorted by NUMA node. One that is no address is another plugin's."""
    texts = (_a(str, text) for of_node in _a(dict, ids).values() for text in _a(list, of_node))
    return {address for text in texts if (address := PciAddress.parse_or_none(text))}


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
