"""Daemons come and go beside a kubelet that stays."""

import asyncio
import random
import signal
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from ground.command import Command
from ground.kubelets import minor
from ground.stage import CY, DC, Stage
from ground.two_resources import ALL, VFS, check_offered, furnish
from ground.waiting import now_s, pause, until

from qatdp.simulator.daemon import RunningDaemon
from qatdp.simulator.kubelet import VERSIONS
from qatdp.simulator.kubelet.answers import Counts


@pytest.fixture
def open_node(open_stage: Stage) -> Stage:
    """A node with two resources, on which nothing runs yet; qatdp will be in the kubelet's own folder."""
    return furnish(open_stage)


def counts(resources: Mapping[str, Counts]) -> dict[str, tuple[int, int]]:
    """Return capacity and what of it is allocatable, by resource."""
    return {resource: (of.capacity, of.allocatable) for resource, of in resources.items()}


@pytest.mark.skipif(not VERSIONS[minor()].plugins_by_path, reason="this kubelet knows one plugin a resource")
async def test_a_second_daemon_takes_over_while_capacity_never_moves(open_node: Stage) -> None:
    """As with a rolling update that starts the next one before it ends the one before, on 1.37 and later."""
    async with open_node as node:
        sampling = asyncio.create_task(node.kubelet.sample(duration_s=1.0))
        await pause(0.1)
        async with RunningDaemon(node.settings) as second:
            await until(
                "it serves as well", lambda: len([one for one in second.daemon.endpoints.values() if one.live]) == 2
            )
            await node.end_daemon()
            changes = await sampling
            assert [counts(change.resources) for change in changes] == [{CY: (VFS, VFS), DC: (VFS, VFS)}]
            node.host.remove("0000:6b:00.2")
            await check_offered(node, {**ALL, CY: frozenset({"0000:6b:00.1"})})


async def test_a_daemon_ends_at_whatever_moment_it_is_stopped(open_node: Stage) -> None:
    chance = random.Random(1)
    open_node.settings = replace(open_node.settings, scan_period_s=0.001, tick_s=0.001)
    async with open_node as node:
        for _ in range(30):
            await node.restart_daemon()
            await pause(chance.uniform(0, 0.03))
            async with asyncio.timeout(5):
                await node.end_daemon()
        await node.start_daemon()
        await node.settle()


@pytest.fixture
def command(open_node: Stage, folder: Path, manager_log: Path) -> Command:
    """`qatdp run` on that node, which has not been started."""
    return Command(folder / "stage/host", open_node.kubelet.folder, manager_log.with_suffix(".qatdp.log"))


def sockets(node: Stage) -> set[str]:
    return {path.name for path in (node.kubelet.folder / "device-plugins").glob("qatdp-*.sock")}


async def test_a_killed_daemon_is_missed_at_once_and_its_successor_sweeps_up(
    open_node: Stage, command: Command
) -> None:
    async with open_node.closing() as node:
        await node.start_kubelet()
        async with command:
            await check_offered(node, ALL)
            await command.end(signal.SIGKILL)
            begun_s = now_s()
            await check_offered(node, {})
            assert now_s() - begun_s < 1
            left = sockets(node)
            assert len(left) == 2, "it had no time to remove them"
        async with command:
            await check_offered(node, ALL)
            assert len(sockets(node)) == 2
            assert not sockets(node) & left


async def test_a_daemon_that_is_asked_to_end_closes_its_streams_and_withdraws_nothing(
    open_node: Stage, command: Command
) -> None:
    async with open_node.closing() as node, command:
        await node.start_kubelet()
        await check_offered(node, ALL)
        pod, _ = await node.give({CY: 1})
        assert await command.end(signal.SIGTERM) == 0
        assert command.log().splitlines()[-1].endswith("stopped")
        assert not sockets(node)
        assert counts((await node.kubelet.capacity()).resources) == {CY: (VFS, 0), DC: (VFS, 0)}
        assert (await node.kubelet.options(pod)).devices


async def test_sockets_that_nobody_serves_are_swept_and_others_stay(open_node: Stage) -> None:
    async with open_node.closing() as node:
        await node.start_kubelet()
        plugins = node.kubelet.folder / "device-plugins"
        for name in ("qatdp-cy-dead.sock", "other-dead.sock"):
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(plugins / name))
        with socket.socket(socket.AF_UNIX) as living:
            living.bind(str(plugins / "qatdp-cy-living.sock"))
            living.listen()
            await node.start_daemon()
            await node.settle()
            names = {path.name for path in plugins.glob("*.sock")}
            await node.end_daemon()
    assert "qatdp-cy-dead.sock" not in names
    assert names >= {"other-dead.sock", "qatdp-cy-living.sock", "kubelet.sock"}
