"""A VF that is open is handed to nobody, whatever the kubelet believes; who has it legitimately is left in peace."""

import asyncio
import contextlib
from dataclasses import replace

import pytest
from support.stage import CY, Stage

from qatdp.core.model.pci import PciAddress
from qatdp.core.reasons import Reason
from qatdp.core.release.protocol import Step
from qatdp.kubelet import checkpoint
from qatdp.kubelet.podresources import PodResources
from qatdp.simulator.kubelet import Call, Container, Pod, RefusedError

PF = "0000:6b:00.0"
ALL = {CY: 4}


@pytest.fixture
def blind(stage: Stage) -> Stage:
    """Let nothing but Allocate see what is open."""
    stage.settings = replace(stage.settings, opened=replace(stage.settings.opened, poll_s=60))
    return stage


def reason(stage: Stage, vf: PciAddress) -> Reason | None:
    device = stage.node.pools.pools[CY].device(str(vf))
    return device.defect.reason if device and device.defect else None


async def list_pods(stage: Stage) -> None:
    await PodResources(stage.kubelet.folder / "pod-resources").listed()


async def read_by_poller(stage: Stage, spare: PciAddress) -> None:
    """Wait until the poller has seen what is open now, and what the checkpoint says of it: by a VF opened just now."""
    stage.host.open_vf(spare)
    await stage.until(lambda: reason(stage, spare) == Reason.OPEN)
    stage.host.close_vf(spare)
    await stage.until(lambda: reason(stage, spare) is None)


# An open VF that no pod has


async def test_open_vf_that_no_pod_has_is_unhealthy_until_closed(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    stage.host.open_vf(vfs[1])
    await stage.lists(CY, [vfs[0], *vfs[2:]], [vfs[1]])
    assert reason(stage, vfs[1]) == Reason.OPEN
    stage.host.close_vf(vfs[1])
    await stage.lists(CY, vfs)


async def test_vf_that_its_pod_has_open_stays_healthy(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    _, (held,) = await stage.give(CY)
    stage.host.open_vf(held)
    await read_by_poller(stage, vfs[3])
    assert reason(stage, held) is None
    await stage.restart_daemon()
    await stage.offers(CY, vfs)
    await read_by_poller(stage, vfs[3])
    assert reason(stage, held) is None


async def test_vf_of_ended_pod_that_is_open_is_unhealthy(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    """Our own ledger have it as held still: only a release proves the opposite."""
    pod, (held,) = await stage.give(CY)
    stage.host.open_vf(held)
    await stage.kubelet.remove(pod)
    await list_pods(stage)  # forgets the pod
    stage.node.feeds[CY].again()  # lets the kubelet write that down
    await stage.until(lambda: reason(stage, held) == Reason.OPEN)
    assert stage.step(held) is Step.HELD
    _, others = await stage.give(CY, 3)
    assert held not in others
    stage.host.close_vf(held)
    await stage.lists(CY, vfs)


async def test_open_function_of_the_group_makes_its_device_unhealthy(stage: Stage) -> None:
    stage.host.add_pf(PF, vfs=3)
    first, second, third = stage.host.vfs(PF)
    stage.host.share_group(first, second)
    await stage.start_daemon()
    await stage.offers(CY, [first, third])
    stage.host.open_vf(second)
    await stage.lists(CY, [third], [first])


# Allocate


async def test_allocate_refuses_open_vf_and_books_stay(blind: Stage, vfs: tuple[PciAddress, ...]) -> None:
    blind.host.open_vf(vfs[2])
    admission = await blind.kubelet.admit(Pod("pod", (Container(limits=ALL),)))
    assert not admission.admitted
    assert f"{vfs[2]} of {CY} is open" in (admission.error or "")
    assert {blind.step(vf) for vf in vfs} == {Step.AVAILABLE}
    blind.host.close_vf(vfs[2])
    await blind.give(CY, 4)


async def test_allocate_of_unreadable_enable_is_granted(blind: Stage, vfs: tuple[PciAddress, ...]) -> None:
    blind.host.attribute(vfs[2], "enable", None)
    await blind.give(CY, 4)


async def test_vf_that_allocate_found_open_is_followed(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    """The checkpoint names the pod that the kubelet has forgotten, until the kubelet writes another."""
    pod, held = await stage.give(CY, 4)
    for vf in held:
        stage.host.open_vf(vf)
    await stage.kubelet.remove(pod)
    assert not (await stage.kubelet.admit(Pod.of(cy=1))).admitted
    await stage.lists(CY, (), vfs)
    for vf in held:
        stage.host.close_vf(vf)
    await stage.lists(CY, vfs)


async def test_vf_of_waiting_allocate_is_kept_in_list(blind: Stage, vfs: tuple[PciAddress, ...]) -> None:
    blind.settings = replace(blind.settings, closing=replace(blind.settings.closing, wait_s=60))
    await blind.restart_daemon()
    await blind.offers(CY, vfs)
    blind.host.open_vf(vfs[0])
    admission = asyncio.create_task(blind.kubelet.admit(Pod("pod", (Container(limits=ALL),))))
    await blind.until(lambda: bool(blind.kubelet.passed(Call.ALLOCATE, CY)))
    blind.configure("version: 1\nresources: [{name: renamed, services: [sym, asym]}]\n")
    await blind.until(lambda: {blind.step(vf) for vf in vfs} == {Step.SEEN_BY_KUBELET})
    await blind.scanned(5)
    assert {blind.step(vf) for vf in vfs} == {Step.SEEN_BY_KUBELET}
    blind.host.close_vf(vfs[0])
    assert (await admission).ids == set(map(str, vfs))
    await blind.until(lambda: {blind.step(vf) for vf in vfs} <= {Step.CORDONED, Step.CORDONED_NOT_IN_PODS})


# Who may have a VF open when Allocate is called


async def test_force_deleted_pod_that_still_ends_keeps_its_vfs(blind: Stage, vfs: tuple[PciAddress, ...]) -> None:
    """The pod that comes in its place is refused; or granted, where the VFs are closed in time."""
    pod, held = await blind.give(CY, 4)
    for vf in held:
        blind.host.open_vf(vf)
    await blind.kubelet.remove(pod)
    admission = await blind.kubelet.admit(Pod.of(cy=4))
    assert not admission.admitted
    assert "is open" in (admission.error or "")
    blind.settings = replace(blind.settings, closing=replace(blind.settings.closing, wait_s=60))
    await blind.restart_daemon()
    await blind.offers(CY, vfs)
    asked = len(blind.kubelet.passed(Call.ALLOCATE, CY))
    in_place = asyncio.create_task(blind.kubelet.admit(Pod.of(cy=4)))
    await blind.until(lambda: len(blind.kubelet.passed(Call.ALLOCATE, CY)) > asked)
    for vf in held:
        blind.host.close_vf(vf)
    assert (await in_place).ids == set(map(str, vfs))


async def lose_checkpoint(stage: Stage, *running: str) -> None:
    """Start the kubelet again without its checkpoint, beside containers that run."""
    await stage.kubelet.kill()
    (stage.kubelet.plugins / checkpoint.FILE).unlink()
    await stage.kubelet.start(sources_ready=False, running=running)


async def test_kubelet_that_lost_its_checkpoint_gives_no_open_vf(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    pod, (held,) = await stage.give(CY)
    stage.host.open_vf(held)
    await lose_checkpoint(stage, f"{pod.uid}/main")
    assert (await stage.kubelet.admit(pod)).admitted
    await stage.kubelet.set_sources(ready=True)
    await stage.lists(CY, [vf for vf in vfs if vf != held], [held])
    _, others = await stage.give(CY, 3)
    assert held not in others
    assert not (await stage.kubelet.admit(Pod.of(cy=1))).admitted
    stage.host.close_vf(held)
    await stage.lists(CY, vfs)


async def test_start_of_container_whose_entry_is_lost_is_retried(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    """The kubelet asks again for it, and may choose what another container of the pod has open."""
    pod = Pod("pod", tuple(Container(name, {CY: 2}) for name in ("runs", "restarts")))
    admission = await stage.kubelet.admit(pod)
    opened = sorted(map(PciAddress.parse, admission.devices["runs"][CY]))
    for vf in opened:
        stage.host.open_vf(vf)
    await lose_checkpoint(stage, f"{pod.uid}/runs", f"{pod.uid}/restarts")
    assert (await stage.kubelet.admit(pod)).admitted
    await stage.kubelet.set_sources(ready=True)
    await stage.until(lambda: bool(stage.kubelet.offered(CY)))
    with contextlib.suppress(RefusedError):  # unless it has been told now
        await stage.kubelet.options(pod, "restarts")
    await stage.until(lambda: not stage.kubelet.offered(CY) & set(map(str, opened)))
    options = await stage.kubelet.options(pod, "restarts")
    given = set(options.envs["PCIDEVICE_QAT_INTEL_COM_CY"].split(","))
    assert given == {str(vf) for vf in vfs if vf not in opened}


async def test_pod_and_its_containers_start_without_refusal(blind: Stage, vfs: tuple[PciAddress, ...]) -> None:
    """A plain init container, a sidecar, and the restart of a container and of the kubelet."""
    init = (Container("init", {CY: 1}), Container("sidecar", {CY: 1}, restartable=True))
    pod = Pod("pod", (Container(limits={CY: 2}),), init)
    admission = await blind.kubelet.admit(pod)
    assert admission.admitted, admission.error
    for name in ("init", "sidecar", "main"):
        await blind.kubelet.options(pod, name)
        for text in admission.devices[name][CY]:
            (blind.host.open_vf if name != "init" else blind.host.close_vf)(text)
    await blind.kubelet.restart(kill=True, sources_ready=False, running=(f"{pod.uid}/sidecar", f"{pod.uid}/main"))
    await blind.offers(CY, vfs)
    assert (await blind.kubelet.admit(pod)).admitted
    await blind.kubelet.set_sources(ready=True)
    await blind.kubelet.options(pod, "sidecar")
    assert len(blind.kubelet.passed(Call.ALLOCATE, CY)) == 3


# The kubelet gives one VF to two pods (kubernetes/kubernetes PR 137534)


async def forgotten(stage: Stage) -> tuple[Pod, list[PciAddress]]:
    """Let the kubelet forget what it gives to a pod, as somebody calls List meanwhile and another pod has ended."""
    other, _ = await stage.give(CY)
    first = Pod.of("first", cy=3)
    with stage.kubelet.held(Call.ALLOCATE, CY) as hold:
        admission = asyncio.create_task(stage.kubelet.admit(first))
        await hold.reached()
        await stage.kubelet.remove(other)
        await list_pods(stage)
    return first, sorted(map(PciAddress.parse, (await admission).ids))


async def test_pod_that_is_given_an_open_vf_as_well_is_refused(blind: Stage, vfs: tuple[PciAddress, ...]) -> None:
    _, held = await forgotten(blind)
    for vf in held:
        blind.host.open_vf(vf)
    second = await blind.kubelet.admit(Pod.of("second", cy=4))
    assert not second.admitted
    assert "is open" in (second.error or "")


async def test_vf_that_two_pods_were_given_starts_in_one(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    """Neither has opened it when the second is admitted; whichever does so first keeps it."""
    first, held = await forgotten(stage)
    second = Pod.of("second", cy=4)
    assert (await stage.kubelet.admit(second)).admitted
    await stage.until(lambda: stage.node.shared == set(held))
    await stage.until(lambda: stage.kubelet.registrations(CY)[-1].options.pre_start_required)
    await stage.until(lambda: stage.daemon.endpoints[CY].live and len(stage.kubelet.streams(CY)) == 1)
    await stage.kubelet.options(first)
    stage.host.open_vf(held[0])
    with pytest.raises(RefusedError, match="the kubelet has given it to two pods"):
        await stage.kubelet.options(second)
    await stage.kubelet.remove(first)
    stage.host.close_vf(held[0])
    await stage.kubelet.options(second)
