"""What the kubelet is asked while it admits pods: no List; and yet VFs leave their lists."""

import time
from dataclasses import replace

import pytest
from support.stage import CY, DC, Stage

from qatdp.core.model.pci import PciAddress
from qatdp.core.release.protocol import Step
from qatdp.simulator.kubelet import Call, Pod

PF, DC_PF = "0000:6b:00.0", "0000:70:00.0"
RENAMED = "qat.intel.com/renamed"
RENAME = "version: 1\ndefaultResources: true\nresources: [{name: renamed, services: [sym, asym]}]\n"
NEVER_S = 1e6


def lists(stage: Stage) -> int:
    return len(stage.kubelet.passed(Call.LIST))


@pytest.fixture
async def busy(stage: Stage) -> Stage:
    """A node whose kubelet has never been quiet for long enough; VFs of cy, and of dc for pods to come."""
    stage.host.add_pf(PF, vfs=2)
    stage.host.add_pf(DC_PF, vfs=2, services="dc")
    stage.settings = replace(stage.settings, pace=replace(stage.settings.pace, quiet_s=NEVER_S))
    await stage.start_daemon()
    await stage.offers(CY, stage.host.vfs(PF))
    await stage.offers(DC, stage.host.vfs(DC_PF))
    return stage


def let_be_quiet(stage: Stage) -> None:
    stage.node.clock = lambda: time.monotonic() + 2 * NEVER_S


async def a_pod_comes_and_goes(stage: Stage) -> None:
    pod, _ = await stage.give(DC)
    await stage.kubelet.remove(pod)


async def test_free_vfs_leave_without_a_list(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    stage.configure(RENAME)
    await stage.lists(RENAMED, vfs)
    assert lists(stage) == 0


async def test_ended_pods_vf_leaves_after_one_list(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    pod, _ = await stage.give(CY)
    await stage.kubelet.remove(pod)
    stage.configure(RENAME)
    await stage.lists(RENAMED, vfs)
    assert lists(stage) == 1


async def test_list_waits_for_the_quiet_time(busy: Stage) -> None:
    pod, (held,) = await busy.give(CY)
    await busy.kubelet.remove(pod)
    busy.configure(RENAME)
    await busy.until(lambda: busy.step(held) is Step.CORDONED)
    await busy.scanned(10)
    assert lists(busy) == 0
    let_be_quiet(busy)
    await busy.lists(RENAMED, busy.host.vfs(PF))
    assert lists(busy) > 0


async def test_list_waits_for_a_call_in_flight(busy: Stage) -> None:
    pod, (held,) = await busy.give(CY)
    await busy.kubelet.remove(pod)
    began = busy.node.call_began()  # an Allocate that is not answered yet
    let_be_quiet(busy)
    busy.configure(RENAME)
    await busy.until(lambda: busy.step(held) is Step.CORDONED)
    await busy.scanned(10)
    assert lists(busy) == 0
    busy.node.call_ended(began)
    busy.node.clock = lambda: time.monotonic() + 4 * NEVER_S
    await busy.lists(RENAMED, busy.host.vfs(PF))


async def test_call_in_flight_holds_a_withdrawal_back(busy: Stage) -> None:
    vfs = busy.host.vfs(PF)
    began = busy.node.call_began()
    busy.configure(RENAME)
    await busy.until(lambda: {busy.step(vf) for vf in vfs} == {Step.SEEN_BY_KUBELET})
    await busy.scanned(10)
    assert {busy.step(vf) for vf in vfs} == {Step.SEEN_BY_KUBELET}
    busy.node.call_ended(began)
    await busy.until(lambda: {busy.step(vf) for vf in vfs} == {Step.QUIET})


async def test_one_admission_releases_what_is_free(busy: Stage) -> None:
    vfs = busy.host.vfs(PF)
    busy.configure(RENAME)
    await busy.until(lambda: {busy.step(vf) for vf in vfs} == {Step.QUIET})
    await busy.scanned(5)
    await busy.lists(CY, (), vfs)
    await a_pod_comes_and_goes(busy)
    await busy.lists(RENAMED, vfs)
    assert lists(busy) == 0


async def test_two_admissions_release_what_an_ended_pod_had(busy: Stage) -> None:
    pod, (held,) = await busy.give(CY)
    busy.configure(RENAME)
    await busy.until(lambda: busy.step(held) is Step.CORDONED)
    await a_pod_comes_and_goes(busy)
    await busy.scanned(5)
    assert busy.step(held) is Step.CORDONED, "its pod runs"
    await busy.kubelet.remove(pod)
    await a_pod_comes_and_goes(busy)
    await busy.until(lambda: busy.step(held) is Step.QUIET)
    await a_pod_comes_and_goes(busy)
    await busy.lists(RENAMED, busy.host.vfs(PF))
    assert lists(busy) == 0


async def test_pods_in_bursts_release_all_in_the_end(busy: Stage) -> None:
    pods = [await busy.give(CY) for _ in range(2)]
    busy.configure(RENAME)
    for pod, _ in pods:
        await busy.kubelet.remove(pod)
    while set(busy.kubelet.known(RENAMED)) != set(map(str, busy.host.vfs(PF))):
        await a_pod_comes_and_goes(busy)
    assert lists(busy) == 0


@pytest.fixture
async def unlisted(busy: Stage) -> Stage:
    """A node whose daemon must not call List, with a kubelet that is quiet."""
    busy.settings = replace(busy.settings, lists=False, pace=replace(busy.settings.pace, quiet_s=0.0))
    await busy.restart_daemon()
    await busy.offers(CY, busy.host.vfs(PF))
    await busy.offers(DC, busy.host.vfs(DC_PF))
    return busy


async def test_without_lists_free_vfs_leave(unlisted: Stage) -> None:
    unlisted.configure(RENAME)
    await unlisted.lists(RENAMED, unlisted.host.vfs(PF))


async def test_without_lists_an_ended_pods_vf_waits_for_another_pod(
    unlisted: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    pod, (held,) = await unlisted.give(CY)
    free = [vf for vf in unlisted.host.vfs(PF) if vf != held]
    unlisted.configure(RENAME)
    await unlisted.lists(RENAMED, free)
    await unlisted.kubelet.remove(pod)
    await unlisted.scanned(10)
    await unlisted.lists(CY, [held])
    assert caplog.text.count("withheld until the kubelet admits another pod") == 1
    assert str(held) in caplog.text
    await a_pod_comes_and_goes(unlisted)
    await unlisted.lists(RENAMED, unlisted.host.vfs(PF))
    assert lists(unlisted) == 0


async def test_lists_are_counted_by_cause_and_by_risk(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    pod, _ = await stage.give(CY)
    await stage.kubelet.remove(pod)
    stage.configure(RENAME)
    await stage.lists(RENAMED, vfs)
    text = stage.daemon.status.metrics.text(stage.daemon.status.report()).decode()
    assert f'qatdp_pod_resources_lists_total{{cause="release"}} {lists(stage)}.0' in text
    assert 'qatdp_pod_resources_lists_near_calls_total{timing="after_call"} 0.0' in text


async def test_call_during_a_list_is_counted(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    pod, _ = await stage.give(CY)
    await stage.kubelet.remove(pod)
    with stage.kubelet.held(Call.LIST) as hold:
        stage.configure(
            "version: 1\ndefaultResources: true\nresources: [{name: renamed, services: [sym, asym], limit: 1}]"
        )
        await hold.reached()
        await stage.kubelet.admit(Pod.of(cy=1))
    await stage.until(lambda: 'timing="call_came"} 1.0' in _metrics(stage))
    assert vfs


def _metrics(stage: Stage) -> str:
    return stage.daemon.status.metrics.text(stage.daemon.status.report()).decode()
