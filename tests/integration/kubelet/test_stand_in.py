"""A daemon that cannot come up, on the kubelet's own device manager: the names that it registers meanwhile."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ground.gates import Call, Way
from ground.kubelets import minor
from ground.stage import CY, Stage
from ground.two_resources import ALL, VFS, check_offered, furnish
from ground.waiting import pause, until
from support.plugin import ScriptedPlugin

from qatdp.daemon.app import Daemon
from qatdp.host.calls.portable import PortableCalls
from qatdp.simulator.daemon import RunningDaemon
from qatdp.simulator.host.calls import PassingCalls
from qatdp.simulator.kubelet import VERSIONS
from qatdp.simulator.kubelet.answers import RefusedError

OTHER = "example.com/other"
GRACE_S = 300.0  # endpointStopGracePeriod, which is compiled into the kubelet (devicemanager/types.go)
SOON_S = 0.2


class Hanging(PassingCalls):
    """Each question to /sys hangs until released."""

    def __init__(self) -> None:
        super().__init__(PortableCalls())
        self.released = threading.Event()

    def before(self, call: str, path: Path) -> None:
        if call != "notify":
            self.released.wait()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    calls = Hanging()
    yield calls
    calls.released.set()


@pytest.fixture
def broken(folder: Path) -> Path:
    """A configuration that is wrong."""
    path = folder / "broken.yaml"
    path.write_text("version: 2\n")
    return path


async def stands_in(daemon: Daemon) -> None:
    """Wait until it has registered the names that the kubelet knew, although it cannot come up."""
    endpoints = daemon.endpoints
    await until("its names are registered", lambda: {name for name in endpoints if endpoints[name].live} == ALL.keys())
    assert daemon.status.obstacle


@pytest.mark.nightly
@pytest.mark.skipif(minor() != max(VERSIONS), reason="it waits for five minutes: on the newest kubelet alone")
@pytest.mark.parametrize("kubelet", ["real"], indirect=True)
async def test_a_holder_restarts_after_five_minutes_without_the_daemon(
    open_stage: Stage, broken: Path, hanging: Hanging
) -> None:
    """Takes 305 s. Another plugin, which does not come back, shows what would be without it."""
    async with furnish(open_stage) as node:
        other = ScriptedPlugin(node.kubelet.folder, OTHER)
        await other.serve("other.sock")
        await other.register("other.sock")
        await check_offered(node, {**ALL, OTHER: frozenset("abcd")})
        pod, held = await node.give({CY: 1})
        lost, _ = await node.give({OTHER: 1}, "lost")
        await node.end_daemon()
        await other.close()
        settings = replace(node.settings, stand_in_s=SOON_S)
        # The checkpoint names what is Healthy or held: the second one cannot know of the other VF, which is free.
        for calls, config, known in ((PortableCalls(), broken, VFS), (hanging, node.config, 1)):
            async with RunningDaemon(replace(settings, config=config), calls) as daemon:
                await stands_in(daemon.daemon)
                await pause((GRACE_S + 5) / 2)
                counted = (await node.kubelet.capacity()).resources[CY]  # it forgets whom it is time to forget
                assert (counted.capacity, counted.allocatable) == (known, 0)
                assert (await node.kubelet.options(pod)).devices
                assert not (await node.kubelet.admit(replace(pod, uid="new", name="new"))).admitted
        with pytest.raises(RefusedError, match="endpoint not found in cache"):
            await node.kubelet.options(lost)
        await node.start_daemon()
        await check_offered(node, ALL)
        assert held <= ALL[CY]


async def test_a_second_daemon_that_cannot_come_up_disturbs_nobody(
    stage: Stage, broken: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with furnish(stage) as node:
        before = {one.resource for one in node.gates.passed if one.call is Call.REGISTER}
        registered = sum(one.call is Call.REGISTER for one in node.gates.passed)
        sampling = asyncio.create_task(node.kubelet.sample(duration_s=10 * SOON_S))
        with node.gates.held(Call.ALLOCATE, Way.ANSWER, CY) as hold:
            giving = asyncio.create_task(node.give({CY: VFS}))
            await hold.until_held()
            async with RunningDaemon(replace(node.settings, config=broken, stand_in_s=SOON_S)):
                await until("it has looked", lambda: caplog.text.count("another plugin serves it") == len(before))
                await pause(3 * SOON_S)
                hold.release()
                pod, ids = await giving
        assert ids == ALL[CY]
        assert (await node.kubelet.options(pod)).devices
        assert sum(one.call is Call.REGISTER for one in node.gates.passed) == registered
        changes = await sampling
        assert {(one.capacity, one.allocatable) for change in changes for one in change.resources.values()} == {
            (VFS, VFS)
        }
