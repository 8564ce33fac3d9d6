"""The kubelet's coming and going is seen whatever happens to its socket, or of the folder around it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from qatdp.kubelet.lifecycle import Event
from qatdp.kubelet.watch import identity, watch
from qatdp.simulator.kubelet import FakeKubelet

UP, GONE = Event.KUBELET_UP, Event.KUBELET_GONE


@pytest.fixture
async def events(folder: Path) -> AsyncIterator[AsyncIterator[Event]]:
    seen = watch(folder / "device-plugins", period_s=0.001)
    async with asyncio.timeout(10):
        yield seen


async def test_a_kubelet_that_runs_is_up(kubelet: FakeKubelet, events: AsyncIterator[Event]) -> None:
    assert await anext(events) is UP


async def test_a_kubelet_comes_and_goes_in_a_folder_that_was_not_there(
    folder: Path, events: AsyncIterator[Event]
) -> None:
    kubelet = FakeKubelet(folder / "later")
    seen = asyncio.ensure_future(anext(events))
    await kubelet.start()
    assert not seen.done()
    (folder / "later/device-plugins").rename(folder / "device-plugins")
    assert await seen is UP
    (folder / "device-plugins").rename(folder / "away")
    assert await anext(events) is GONE
    await kubelet.kill()


@pytest.mark.parametrize("kill", [True, False])
async def test_a_restart_is_a_kubelet_that_is_up_again(
    kubelet: FakeKubelet, events: AsyncIterator[Event], *, kill: bool
) -> None:
    assert await anext(events) is UP
    await kubelet.restart(kill=kill)
    assert await anext(events) is UP


async def test_a_kill_changes_nothing_until_the_next_start(kubelet: FakeKubelet, folder: Path) -> None:
    before = identity(folder / "device-plugins")
    await kubelet.kill()
    assert identity(folder / "device-plugins") == before is not None
    await kubelet.start()
    assert identity(folder / "device-plugins") not in (None, before)


async def test_a_stop_is_seen(kubelet: FakeKubelet, events: AsyncIterator[Event]) -> None:
    assert await anext(events) is UP
    await kubelet.stop()
    assert await anext(events) is GONE


async def test_a_socket_that_is_new_with_the_old_one_s_inode_number_is_another_kubelet(
    kubelet: FakeKubelet, events: AsyncIterator[Event]
) -> None:
    socket = kubelet.plugins / "kubelet.sock"
    assert await anext(events) is UP
    inode = socket.stat().st_ino
    socket.chmod(0o700)  # which changes its ctime, as if it had been made again
    assert await anext(events) is UP
    assert socket.stat().st_ino == inode
