"""The kubelet's checkpoint is read as it is written, and what is not understood is never taken for free."""

import base64
import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.stale import CheckpointEntry
from qatdp.errors import KubeletStateError
from qatdp.kubelet.checkpoint import FILE, MOST_BYTES, Checkpoint, identity, read
from qatdp.simulator.kubelet.checkpoint import dump
from qatdp.simulator.kubelet.ledger import Given

CY, DC = "qat.intel.com/cy", "qat.intel.com/dc"
VFS = tuple(map(PciAddress.parse, ("0000:6b:00.1", "0000:6b:00.2", "0000:70:00.1")))

UIDS = ("5e1d8d4e-3c0f-4b0a-8f77-9f5a1cf0a6f1", "1c0b6d0e-9d5e-4a51-8d0f-6a0b7f0c2d11")

# As 1.37 wrote it. The first answer: env A=B, devices /dev/vfio/7 and /dev/vfio/vfio, both rw.
GOLDEN = (
    b'{"Data":{"PodDeviceEntries":['
    b'{"PodUID":"5e1d8d4e-3c0f-4b0a-8f77-9f5a1cf0a6f1","ContainerName":"main","ResourceName":"qat.intel.com/cy",'
    b'"DeviceIDs":{"1":["0000:70:00.1"],"0":["0000:6b:00.1"]},'
    b'"AllocResp":"CgYKAUESAUIaHgoLL2Rldi92ZmlvLzcSCy9kZXYvdmZpby83GgJydxokCg4vZGV2L3ZmaW8vdmZpbxIOL2Rldi92ZmlvL3'
    b'ZmaW8aAnJ3"},'
    b'{"PodUID":"1c0b6d0e-9d5e-4a51-8d0f-6a0b7f0c2d11","ContainerName":"init","ResourceName":"qat.intel.com/dc",'
    b'"DeviceIDs":{"-1":["0000:6b:00.2"]},"AllocResp":""},'
    b'{"PodUID":"1c0b6d0e-9d5e-4a51-8d0f-6a0b7f0c2d11","ContainerName":"main","ResourceName":"example.com/gpu",'
    b'"DeviceIDs":{"0":["GPU-1","GPU-2"]},"AllocResp":""}],'
    b'"RegisteredDevices":{"example.com/gpu":["GPU-1","GPU-2"],"qat.intel.com/cy":["0000:6b:00.1","0000:70:00.1"]}},'
    b'"Checksum":2741893741}'
)


def write(folder: Path, content: object) -> None:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / FILE).write_bytes(text)


def an_entry(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - what is wrong has any type
    right = {"PodUID": "u", "ContainerName": "c", "ResourceName": CY, "DeviceIDs": {"0": [str(VFS[0])]}}
    return {"Data": {"PodDeviceEntries": [{**right, "AllocResp": "", **fields}], "RegisteredDevices": {}}}


def test_each_entry_is_read_with_its_devices_of_all_numa_nodes_and_the_nodes_of_its_answer(folder: Path) -> None:
    write(folder, GOLDEN)
    assert read(folder).pod_entries == (
        CheckpointEntry(CY, (VFS[0], VFS[2]), frozenset({"/dev/vfio/7", "/dev/vfio/vfio"}), UIDS[0], "main"),
        CheckpointEntry(DC, (VFS[1],), uid=UIDS[1], container="init"),
        CheckpointEntry("example.com/gpu", (), uid=UIDS[1], container="main"),  # the IDs of others are no addresses
    )


def test_checkpoint_knows_the_ids_of_pods_and_of_plugins(folder: Path) -> None:
    write(folder, GOLDEN)
    assert read(folder).known == {
        CY: {str(VFS[0]), str(VFS[2])},
        DC: {str(VFS[1])},  # whose plugin is not there any more
        "example.com/gpu": {"GPU-1", "GPU-2"},
    }


@pytest.mark.parametrize("registered", [None, {}, {CY: None}, {CY: []}])
def test_checkpoint_may_know_no_plugin_or_no_device_of_it(folder: Path, registered: object) -> None:
    content = an_entry()
    content["Data"]["RegisteredDevices"] = registered
    write(folder, content)
    assert read(folder).known == {CY: {str(VFS[0])}}


@pytest.mark.parametrize("registered", [[CY], {CY: "0000:6b:00.1"}, {CY: [1]}])
def test_checkpoint_with_other_plugins_than_known_is_refused(folder: Path, registered: object) -> None:
    content = an_entry()
    content["Data"]["RegisteredDevices"] = registered
    write(folder, content)
    with pytest.raises(KubeletStateError, match="is not understood"):
        read(folder)


def test_where_there_is_no_file_nobody_holds_anything(folder: Path) -> None:
    assert read(folder) == read(folder / "nowhere") == Checkpoint(None)
    assert identity(folder) is identity(folder / "nowhere") is None


@pytest.mark.parametrize("entries", [None, []])
def test_a_kubelet_without_pods_writes_no_entries(folder: Path, entries: object) -> None:
    write(folder, {"Data": {"PodDeviceEntries": entries, "RegisteredDevices": {}}, "Checksum": 1})
    assert read(folder).pod_entries == ()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        GOLDEN[:-200],
        b"null",
        b"[]",
        b"{}",
        {"Data": None},
        {"Data": {}},
        {"Data": {"PodDeviceEntries": {}}},
        {"Data": {"PodDeviceEntries": ""}},
        {"Data": {"PodDeviceEntries": 0}},
        {"Data": {"PodDeviceEntries": [None]}},
        {"Data": {"PodDeviceEntries": [{}]}},
        {"Data": {"PodDeviceEntries": [[]]}},
        an_entry(DeviceIDs=[str(VFS[0])]),  # before 1.20: without NUMA nodes
        an_entry(DeviceIDs=None),
        an_entry(DeviceIDs={"0": str(VFS[0])}),
        an_entry(DeviceIDs={"0": None}),
        an_entry(DeviceIDs={"0": [1]}),
        an_entry(ResourceName=None),
        an_entry(ResourceName=5),
        an_entry(ResourceName=[CY]),
        an_entry(ResourceName=""),
        an_entry(ResourceName="cy"),
        an_entry(ResourceName="qat.intel.com/"),
        an_entry(ResourceName="qat.intel.com/../../etc"),
        an_entry(ResourceName="qat.intel.com/cy\n2026-11-30 INFO all is well"),
        an_entry(ResourceName="qat.intel.com/" + "c" * 64),
        an_entry(ResourceName="QAT.intel.com/cy"),
        an_entry(ResourceName="x" * 254 + "/cy"),
        GOLDEN + b"}",
        GOLDEN.replace(b'"Data"', b"1"),
        an_entry(AllocResp="no base64!"),
        an_entry(AllocResp=base64.b64encode(b"\xff").decode()),
        an_entry(AllocResp=7),
    ],
)
def test_a_format_that_is_not_known_is_never_read_as_nothing_held(folder: Path, content: object) -> None:
    write(folder, content)
    with pytest.raises(KubeletStateError, match="is not understood") as raised:
        read(folder)
    assert "nothing is released meanwhile" in str(raised.value)


def test_a_file_that_cannot_be_read_is_an_error(folder: Path) -> None:
    (folder / FILE).mkdir()
    with pytest.raises(KubeletStateError, match="cannot be read: not a regular file"):
        read(folder)


@pytest.mark.parametrize("kind", ["fifo", "device", "socket"])
def test_read_refuses_what_is_no_file_without_waiting(folder: Path, kind: str) -> None:
    path, server = folder / FILE, socket.socket(socket.AF_UNIX)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        server.bind(str(path))
    else:
        make_device(path)
    with server, pytest.raises(KubeletStateError, match="cannot be read: not a regular file"):
        read(folder)


def test_a_link_is_followed_to_a_file_and_to_nothing_else(folder: Path) -> None:
    (folder / FILE).symlink_to(folder / "other")
    assert read(folder) == Checkpoint(None)
    os.mkfifo(folder / "other")
    with pytest.raises(KubeletStateError, match="cannot be read: not a regular file"):
        read(folder)
    (folder / "other").unlink()
    (folder / "other").write_bytes(GOLDEN)
    assert read(folder).identity == identity(folder)


def make_device(path: Path) -> None:
    """Make a node of /dev/zero's, which would be read for ever."""
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("it takes root to make a device node")


def test_read_refuses_what_is_larger_than_any_checkpoint(folder: Path) -> None:
    with (folder / FILE).open("wb") as file:
        file.truncate(100 << 20)  # of zeros that are nowhere written
    with pytest.raises(KubeletStateError, match=f"larger than {MOST_BYTES} bytes"):
        read(folder)


def test_a_file_is_told_from_the_one_that_is_renamed_into_its_place(folder: Path) -> None:
    write(folder, GOLDEN)
    before = read(folder).identity
    assert before == identity(folder)
    (folder / "new").write_bytes(GOLDEN)
    (folder / "new").rename(folder / FILE)
    assert before != read(folder).identity == identity(folder)


def test_what_the_fake_kubelet_writes_is_read(folder: Path) -> None:
    answer = api.ContainerAllocateResponse(devices=[api.DeviceSpec(host_path="/dev/vfio/7")])
    given = Given({0: (str(VFS[0]),), 1: (str(VFS[2]), "GPU-1")}, answer)
    (folder / FILE).write_bytes(dump({"uid": {"main": {CY: given}}}, {CY: {str(VFS[0])}}))
    assert read(folder).pod_entries == (
        CheckpointEntry(CY, (VFS[0], VFS[2]), frozenset({"/dev/vfio/7"}), "uid", "main"),
    )
    (folder / FILE).write_bytes(dump({}, {}))
    assert read(folder).pod_entries == ()
