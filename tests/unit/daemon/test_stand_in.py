"""A daemon that cannot come up keeps the names that pods hold registered, and does no harm with that."""

import asyncio
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from support.stage import CY, DC, Stage

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.api.deviceplugin_v1beta1_pb2_grpc import DevicePluginStub
from qatdp.core.model.pci import PciAddress
from qatdp.core.release.protocol import Step
from qatdp.host.calls.portable import PortableCalls
from qatdp.kubelet.channel import channel
from qatdp.simulator.daemon import RunningDaemon
from qatdp.simulator.host.calls import PassingCalls
from qatdp.simulator.kubelet import Call, FakeKubelet, Pod, RefusedError

PF = PciAddress.parse("0000:6b:00.0")
BROKEN = "version: 2"


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
async def brief(stage: Stage) -> Stage:
    """A stage whose kubelet forgets a plugin at once, not after five minutes, and whose daemon registers names soon."""
    await stage.kubelet.kill()
    stage.kubelet = FakeKubelet(stage.folder / "kubelet", "1.37", dial_s=0.2, stop_grace_s=0)
    stage.settings = replace(stage.settings, stand_in_s=0.1)
    await stage.kubelet.start()
    return stage


@pytest.fixture
async def at_work(brief: Stage) -> tuple[Pod, PciAddress, list[PciAddress]]:
    """Let a daemon give a VF to a pod, and end; return the pod, its VF, and all of them."""
    brief.host.add_pf(PF, vfs=3)
    brief.settings = replace(brief.settings, stand_in_s=10.0)
    await brief.start_daemon()
    vfs = list(brief.host.vfs(PF))
    await brief.offers(CY, vfs)
    pod, (held,) = await brief.give(CY)
    await brief.end_daemon()
    brief.settings = replace(brief.settings, stand_in_s=0.1)
    return pod, held, vfs


async def rounds(stage: Stage, count: int = 2) -> None:
    """Wait until whoever cannot come up has looked that often for names to register."""
    enough = len(stage.kubelet.passed(Call.ALLOCATABLE)) + count + 1
    await stage.until(lambda: len(stage.kubelet.passed(Call.ALLOCATABLE)) >= enough)


async def obstacle(stage: Stage, text: str) -> None:
    """Wait until this is what keeps the daemon from coming up."""
    async with asyncio.timeout(10):
        while text not in (stage.daemon.status.obstacle or ""):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def said(caplog: pytest.LogCaptureFixture, text: str) -> None:
    async with asyncio.timeout(10):
        while text not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def registered(stage: Stage) -> None:
    await stage.until(lambda: bool(stage.kubelet.streams(CY)))


async def test_without_a_plugin_no_container_restarts(brief: Stage, at_work: tuple[Pod, PciAddress, object]) -> None:
    await brief.kubelet.capacity()  # forgets whom it is time to forget
    with pytest.raises(RefusedError, match="endpoint not found in cache"):
        await brief.kubelet.options(at_work[0])


async def test_a_holder_restarts_while_the_daemon_cannot_come_up(
    brief: Stage, at_work: tuple[Pod, PciAddress, list[PciAddress]], hanging: Hanging
) -> None:
    pod, held, vfs = at_work
    brief.calls = hanging
    brief.configure(BROKEN)
    await brief.start_daemon()
    await registered(brief)
    await brief.lists(CY, (), vfs)
    await brief.kubelet.capacity()  # forgets whom it is time to forget
    assert (await brief.kubelet.options(pod)).envs["PCIDEVICE_QAT_INTEL_COM_CY"] == str(held)
    brief.configure("version: 1")
    await obstacle(brief, "the first look")
    await rounds(brief)
    await brief.kubelet.capacity()
    assert (await brief.kubelet.options(pod)).envs
    assert brief.daemon.status.report().not_ready == (brief.daemon.status.obstacle,)
    before = len(brief.kubelet.registrations(CY))
    hanging.released.set()
    await brief.offers(CY, vfs)
    assert len(brief.kubelet.registrations(CY)) == before
    assert brief.step(held) is Step.HELD


async def test_a_provisional_list_grants_nothing_and_says_why(
    brief: Stage, at_work: tuple[Pod, PciAddress, list[PciAddress]]
) -> None:
    _, held, vfs = at_work
    brief.configure(BROKEN)
    await brief.start_daemon()
    await registered(brief)
    assert not (await brief.kubelet.admit(Pod.of(cy=1))).admitted
    ids = [str(vf) for vf in vfs]
    async with channel(brief.kubelet.plugins / brief.kubelet.streams(CY)[0]) as socket:
        plugin = DevicePluginStub(socket)
        for one in (held, vfs[-1]):
            asked = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=[str(one)])])
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await plugin.Allocate(asked)
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert "version: expected 1, got 2" in (refused.value.details() or "")
        spec = api.ContainerPreferredAllocationRequest(available_deviceIDs=ids, allocation_size=2)
        preferred = await plugin.GetPreferredAllocation(api.PreferredAllocationRequest(container_requests=[spec]))
        assert len(preferred.container_responses[0].deviceIDs) == 2
    report = brief.daemon.status.report()
    assert {device.health for device in report.devices} == {"Unhealthy"}
    assert {device.reason for device in report.devices} == {"PluginNotReady"}
    assert {device.message for device in report.devices} == {f"the device plugin has not come up: {report.obstacle}"}


async def test_an_id_once_listed_leaves_by_the_release_protocol(
    brief: Stage, at_work: tuple[Pod, PciAddress, list[PciAddress]]
) -> None:
    pod, held, vfs = at_work
    brief.configure(BROKEN)
    await brief.start_daemon()
    await registered(brief)
    await brief.lists(CY, (), vfs)
    brief.configure("version: 1\nresources: [{name: dc, services: [sym, asym]}]\n")
    await brief.lists(CY, [held])
    await brief.lists(DC, [vf for vf in vfs if vf != held])
    await brief.kubelet.remove(pod)
    await brief.lists(CY, ())
    await brief.lists(DC, vfs)


async def test_what_a_later_checkpoint_forgets_stays_listed(
    brief: Stage, at_work: tuple[Pod, PciAddress, list[PciAddress]]
) -> None:
    pod, _, vfs = at_work
    brief.configure(BROKEN)
    await brief.start_daemon()
    await registered(brief)
    await brief.kubelet.remove(pod)
    await brief.kubelet.restart(kill=True)  # it writes a checkpoint without any ID
    await registered(brief)
    await rounds(brief)
    assert {len(one.devices) for one in brief.kubelet.lists(CY)} == {len(vfs)}


async def test_beside_a_plugin_that_serves_nothing_is_registered(
    brief: Stage, at_work: tuple[Pod, PciAddress, list[PciAddress]], caplog: pytest.LogCaptureFixture
) -> None:
    _, _, vfs = at_work
    await brief.start_daemon()
    await brief.offers(CY, vfs)
    before = len(brief.kubelet.registrations(CY))
    wrong = brief.folder / "wrong.yaml"
    wrong.write_text(BROKEN)
    async with RunningDaemon(replace(brief.settings, config=wrong)):
        await rounds(brief)
        assert "another plugin serves it" in caplog.text
        assert len(brief.kubelet.registrations(CY)) == before
        await brief.end_daemon()  # now nobody serves it
        await registered(brief)
        await brief.lists(CY, (), vfs)


@pytest.mark.parametrize("missing", ["kubelet", "checkpoint", "pod-resources"])
async def test_where_nothing_can_be_known_nothing_is_registered(
    brief: Stage, at_work: tuple[Pod, PciAddress, list[PciAddress]], caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    _, _, vfs = at_work
    before = len(brief.kubelet.registrations(CY))
    checkpoint = brief.kubelet.plugins / "kubelet_internal_checkpoint"
    kept = checkpoint.read_bytes()
    if missing == "kubelet":
        await brief.kubelet.stop()
    elif missing == "checkpoint":
        checkpoint.write_text("{}")
    else:
        brief.settings = replace(brief.settings, pod_resources=brief.folder / "nowhere")
    brief.configure(BROKEN)
    await brief.start_daemon()
    why = {"kubelet": "no kubelet", "checkpoint": "not understood", "pod-resources": "is not there"}[missing]
    await said(caplog, why)
    assert len(brief.kubelet.registrations(CY)) == before
    if missing == "kubelet":
        await brief.kubelet.start()
    checkpoint.write_bytes(kept)
    if missing != "pod-resources":
        await brief.lists(CY, (), vfs)


async def test_a_node_without_books_registers_nothing(brief: Stage, caplog: pytest.LogCaptureFixture) -> None:
    brief.configure(BROKEN)
    await brief.kubelet.stop()
    shutil.rmtree(brief.kubelet.folder)
    await brief.kubelet.start()
    await brief.start_daemon()
    await said(caplog, "knows no resource of ours")
    assert brief.daemon.endpoints == {}


async def test_a_normal_start_registers_nothing_provisionally(
    brief: Stage, at_work: tuple[Pod, PciAddress, list[PciAddress]]
) -> None:
    _, _, vfs = at_work
    brief.settings = replace(brief.settings, stand_in_s=10.0)
    before = len(brief.kubelet.lists(CY))
    await brief.start_daemon()
    await brief.offers(CY, vfs)
    assert len(brief.kubelet.registrations(CY)) == 2
    lists = brief.kubelet.lists(CY)[before:]
    assert {device.health for one in lists for device in one.devices} == {"Healthy"}
