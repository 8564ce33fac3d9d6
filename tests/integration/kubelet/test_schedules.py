"""Seeded schedules of all that can happen at once, with each message between qatdp and the kubelet on its way for a
while, in an order of chance (ground/schedule.py). SEED=<number> in the environment runs that one alone,
SCHEDULES=<number> so many.

A message may wait for a part of the daemon's grace only: that bound is the contract (ground/shuffler.py), and a
schedule in which this machine was slower is run again.
"""

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from ground import record
from ground.gates import Call, Way
from ground.kubelets import Kubelet, forget
from ground.manager import Policy
from ground.schedule import Outcome, Schedule
from ground.stage import CY, Stage, only
from ground.waiting import bounded, pause

from qatdp.core.release import protocol
from qatdp.core.release.protocol import Fact, Step
from qatdp.kubelet.podresources import PodResources

SCHEDULES = int(os.environ.get("SCHEDULES", "200"))
ON_THE_FAKE = 50
UNGUARDED = 20
SEVERE = ("crashed", "is offered under", "given to")
TRIES = 5
LONGEST_S = 90.0  # of one, which takes 1 to 2 s

ONCE_FAILED = (1118,)  # beyond the usual ones: a VF moved while a list with it was being written

ONE = os.environ.get("SEED")
SEEDS = [int(ONE)] if ONE else [*range(SCHEDULES), *ONCE_FAILED]
# The topology manager's policies take turns on the real kubelet: with another than none the kubelet asks for hints too.
POLICIES = (Policy.NONE, Policy.SINGLE_NUMA_NODE, Policy.NONE, Policy.BEST_EFFORT)


async def run(kubelet: Kubelet, folder: Path, seed: int, *, to_the_end: bool = False) -> Outcome:
    """Run a schedule, again where the machine was too slow. Skips where it always is."""
    for number in range(TRIES):
        forget(kubelet)
        stage = Stage(kubelet, folder / f"{seed}-{number}")
        async with bounded(f"SEED={seed}", LONGEST_S):
            outcome = await Schedule(stage, seed, to_the_end=to_the_end).run()
        record.note_schedule(void=outcome.void)
        if not outcome.void:
            return outcome
    pytest.skip("this machine was too slow, each time")


@pytest.mark.parametrize(
    ("kubelet", "policy", "seed"),
    [("real", POLICIES[seed % len(POLICIES)], seed) for seed in SEEDS]
    + [("fake", None, seed) for seed in SEEDS[:ON_THE_FAKE]],
    indirect=["kubelet"],
)
async def test_whatever_happens_nothing_is_given_twice_or_lost_or_crashes(
    kubelet: Kubelet, policy: Policy | None, seed: int, folder: Path
) -> None:
    outcome = await run(kubelet, folder, seed)
    assert not outcome.violations, str(outcome)


@pytest.mark.crash
@pytest.mark.skipif(SCHEDULES <= UNGUARDED, reason="with few schedules none need fail")
@pytest.mark.parametrize("kubelet", ["real"], indirect=True)
async def test_with_the_guard_taken_out_some_of_these_schedules_fail(
    kubelet: Kubelet, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ID that belongs elsewhere leaves its list at once: this is what the release protocol is good for."""
    unguarded = {step: {**protocol.TABLE[step], Fact.LEAVE: Step.GONE} for step in Step}
    monkeypatch.setattr(protocol, "TABLE", MappingProxyType(unguarded))
    outcomes = [await run(kubelet, folder, seed, to_the_end=True) for seed in range(UNGUARDED)]
    violations = [(one.seed, what.splitlines()[0]) for one in outcomes for what in one.violations]
    severe = [(seed, what) for seed, what in violations if any(one in what for one in SEVERE)]
    failed = {seed for seed, _ in violations}
    print(
        f"without the guard {len(failed)} of {UNGUARDED} schedules fail; of those {len({one for one, _ in severe})} so:"
    )
    print(*(f"SEED={seed}: {what}" for seed, what in severe), sep="\n")
    assert severe


async def test_the_kubelet_itself_gives_a_device_twice_when_it_forgets_a_pod_while_another_is_admitted(
    stage: Stage,
) -> None:
    """Why no pod ends in these schedules while another one is being admitted; seen on 1.37.2.

    List makes it forget ended pods, and then it takes for allocated what its pods have. That does not have what it has
    chosen for an Allocate that is still on its way (devicemanager/manager.go, UpdateAllocatedDevices).
    """
    stage.host.add_pf("0000:6b:00.0", vfs=3)
    stage.configure(only(CY))
    async with stage:
        ended, _ = await stage.give({CY: 1}, "ended")
        with stage.gates.held(Call.ALLOCATE, Way.REQUEST) as allocate:
            coming = asyncio.create_task(stage.give({CY: 1}, "first"))
            await allocate.until_held()
            await stage.end(ended)
            await PodResources(stage.kubelet.folder / "pod-resources").listed()
        _, first = await coming
        _, second = await stage.give({CY: 2}, "second")
    assert first < second


async def test_reading_the_pages_during_an_admission_gives_nothing_twice(stage: Stage) -> None:
    """The same admission, and whoever likes looks at the daemon meanwhile."""
    stage.host.add_pf("0000:6b:00.0", vfs=3)
    socket = stage.config.with_name("s")
    stage.settings = replace(stage.settings, socket=socket)
    stage.configure(only(CY))
    async with stage:
        ended, _ = await stage.give({CY: 1}, "ended")
        with stage.gates.held(Call.ALLOCATE, Way.REQUEST) as allocate:
            coming = asyncio.create_task(stage.give({CY: 1}, "first"))
            await allocate.until_held()
            await stage.end(ended)
            pages = [page(socket, path) for path in ("/status", "/metrics") * 8]
            assert all("200" in answer for answer in await asyncio.gather(*pages))
            await pause(10 * stage.settings.tick_s)
        _, first = await coming
        _, second = await stage.give({CY: 2}, "second")
    assert first.isdisjoint(second)
    assert Call.LIST not in {passage.call for passage in stage.gates.passed}


async def page(socket: Path, path: str) -> str:
    """Return the first line of a page's answer."""
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.decode().splitlines()[0]
