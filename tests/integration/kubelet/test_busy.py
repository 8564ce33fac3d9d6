"""A node that gets a pod every half second is never quiet for a second: its VFs leave their lists all the same.

At the daemon's real pace, so that the time it takes is that of a node. The pods that come prove what a List would.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from ground.gates import Call, Way
from ground.kubelets import Kubelet
from ground.pods import Container, Pod
from ground.stage import CY, DC, RENAMED, Stage
from ground.waiting import now_s, pause, until_equal

from qatdp.daemon.timing import ReleaseTiming

EVERY_S = 0.5
# Two admissions, two rounds, a grace and a look at who has VFs open: 3.5 s. The rest is for a machine that is busy.
LONGEST_S = 8.0
RENAME = "version: 1\ndefaultResources: true\nresources: [{name: renamed, services: [sym, asym]}]\n"
PF, DC_PF = "0000:6b:00.0", "0000:70:00.0"


@pytest.fixture
async def busy(stage: Stage) -> AsyncIterator[Stage]:
    """A node with three VFs of cy, and a pod for dc that comes and goes every half second."""
    stage.host.add_pf(PF, vfs=3)
    stage.host.add_pf(DC_PF, vfs=2, services="dc")
    stage.settings = replace(stage.settings, pace=ReleaseTiming())
    stage.configure("version: 1\n")
    async with stage:
        coming = asyncio.create_task(_pods(stage))
        yield stage
        coming.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await coming


async def _pods(stage: Stage) -> None:
    while True:
        pod, _ = await stage.give({DC: 1}, "passing")
        await stage.end(pod)
        await pause(EVERY_S)


def lists(stage: Stage) -> int:
    return sum((one.call, one.way) == (Call.LIST, Way.REQUEST) for one in stage.gates.passed)


async def test_withdrawal_ends_on_a_node_that_gets_a_pod_every_half_second(busy: Stage, kubelet: Kubelet) -> None:
    ended, _ = await busy.give({CY: 1}, "ended")
    stays, (held,) = await busy.give({CY: 1}, "stays")
    vfs = {str(vf) for vf in busy.host.vfs(PF)}
    at_s = now_s()
    busy.configure(RENAME)
    await busy.end(ended)
    moved = {RENAMED: vfs - {held}, CY: {held}}
    await until_equal("all but one have moved", lambda: _lists(busy, moved), moved, timeout_s=LONGEST_S)
    print(f"on {type(kubelet).__name__} what was free, and what an ended pod had, moved in {now_s() - at_s:.2f} s")
    at_s = now_s()
    await busy.end(stays)
    moved = {RENAMED: vfs, CY: set()}
    await until_equal("all have moved", lambda: _lists(busy, moved), moved, timeout_s=LONGEST_S)
    print(f"on {type(kubelet).__name__} what another ended pod had moved in {now_s() - at_s:.2f} s")
    assert lists(busy) == 0


def _lists(stage: Stage, of: dict[str, set[str]]) -> dict[str, set[str]]:
    return {resource: set(stage.lists.get(resource, ())) for resource in of}


async def test_list_waits_for_a_second_without_pods(stage: Stage) -> None:
    stage.host.add_pf(PF, vfs=2)
    stage.settings = replace(stage.settings, pace=ReleaseTiming())
    stage.configure("version: 1\n")
    async with stage:
        pod = Pod("ended", (Container(limits={CY: 1}),))
        await stage.admit(pod)
        await stage.end(pod)
        stage.configure(RENAME)
        moved = {RENAMED: {str(vf) for vf in stage.host.vfs(PF)}}
        await until_equal("all have moved", lambda: _lists(stage, moved), moved, timeout_s=2 * LONGEST_S)
    allocated = [one.went_s for one in stage.gates.passed if (one.call, one.way) == (Call.ALLOCATE, Way.ANSWER)]
    asked = [one.came_s for one in stage.gates.passed if (one.call, one.way) == (Call.LIST, Way.REQUEST)]
    assert len(asked) == 1 and asked[0] > allocated[-1] + ReleaseTiming().quiet_s
