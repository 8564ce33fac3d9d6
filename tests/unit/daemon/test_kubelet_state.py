"""A checkpoint is read beside the event loop, however large it is, and in the order in which it was asked for."""

import asyncio
import json
from pathlib import Path

import pytest

from qatdp.daemon.kubelet_state import KubeletState
from qatdp.errors import KubeletStateError
from qatdp.kubelet.checkpoint import FILE

ENTRY = {"PodUID": "u", "ContainerName": "c", "DeviceIDs": {"0": ["0000:6b:00.1"]}, "AllocResp": ""}


def write(folder: Path, count: int) -> None:
    entries = [{**ENTRY, "ResourceName": f"example.com/{number}"} for number in range(count)]
    (folder / "new").write_text(json.dumps({"Data": {"PodDeviceEntries": entries}}))
    (folder / "new").rename(folder / FILE)


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.nightly)])
async def test_loop_turns_while_many_entries_are_read(tmp_path: Path, count: int) -> None:
    write(tmp_path, count)
    reading, turns = asyncio.create_task(KubeletState(tmp_path, tmp_path).checkpoint()), 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    pod_entries = reading.result().pod_entries
    assert (len(pod_entries), pod_entries[-1].resource) == (count, f"example.com/{count - 1}")
    assert turns > 10


async def test_reads_come_back_in_their_order(tmp_path: Path) -> None:
    checkpoints, order = KubeletState(tmp_path, tmp_path), []
    write(tmp_path, 10_000)

    async def read(number: int) -> None:
        order.append((number, len((await checkpoints.checkpoint()).pod_entries)))

    first = asyncio.create_task(read(1))
    await asyncio.sleep(0)
    before = checkpoints.identity()
    write(tmp_path, 1)
    assert checkpoints.identity() != before
    await asyncio.gather(first, read(2))
    assert [number for number, _ in order] == [1, 2]
    assert order[1] == (2, 1)


async def test_error_of_the_file_belongs_to_who_reads(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(KubeletStateError, match="not a regular file"):
        await KubeletState(tmp_path, tmp_path).checkpoint()
