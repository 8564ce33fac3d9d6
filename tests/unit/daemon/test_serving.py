"""The main job: what the node has is what the kubelet offers, and what a pod gets."""

import asyncio
import errno
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from support.stage import CY, DC, Stage

from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.binding import BindMode
from qatdp.core.reasons import Reason, defect
from qatdp.host.calls.portable import PortableCalls
from qatdp.simulator.host.calls import FakeKernelCalls, FaultyCalls, PassingCalls
from qatdp.simulator.kubelet import VERSIONS, Container, Pod
from qatdp.simulator.kubelet.answers import DeviceNode

CY_PF, DC_PF = "0000:6b:00.0", "0000:70:00.0"


def with_pfs(stage: Stage, vfs: int = 4) -> tuple[tuple[PciAddress, ...], tuple[PciAddress, ...]]:
    """Give the node a PF for each of the two resources; return their VFs."""
    stage.host.add_pf(CY_PF, vfs=vfs)
    stage.host.add_pf(DC_PF, services="dc", numa_node=1, vfs=vfs)
    return stage.host.vfs(CY_PF), stage.host.vfs(DC_PF)


@pytest.mark.parametrize("version", VERSIONS)
async def test_each_set_of_services_is_a_resource_that_pods_can_have(stage: Stage) -> None:
    cy, dc = with_pfs(stage)
    await stage.start_daemon()
    await stage.offers(CY, cy)
    await stage.offers(DC, dc)
    for resource, name in ((CY, "cy"), (DC, "dc")):
        pod = Pod(name, (Container(limits={resource: 2}),))
        ids = sorted((await stage.kubelet.admit(pod)).devices["main"][resource])
        options = await stage.kubelet.options(pod)
        assert options.envs[f"PCIDEVICE_QAT_INTEL_COM_{name.upper()}"] == ",".join(ids)
        nodes = {"/dev/vfio/vfio", *(f"/dev/vfio/{stage.host.group(text)}" for text in ids)}
        assert set(options.devices) == {DeviceNode(node, node, "rw") for node in nodes}


async def test_a_container_may_have_several_resources(stage: Stage) -> None:
    cy, dc = with_pfs(stage)
    await stage.start_daemon()
    await stage.offers(CY, cy)
    await stage.offers(DC, dc)
    pod = Pod("pod", (Container("one", {CY: 1, DC: 2}), Container("two", {CY: 1})))
    admission = await stage.kubelet.admit(pod)
    assert len(admission.ids) == 4
    for _ in range(10):  # each time merged in another order
        envs = (await stage.kubelet.options(pod, "one")).envs
        listed = {text for name, value in envs.items() if name.startswith("PCIDEVICE_") for text in value.split(",")}
        assert listed == {value for name, value in envs.items() if name.startswith("QAT")}
        assert listed == {text for ids in admission.devices["one"].values() for text in ids}


async def test_the_list_has_each_vf_once_in_order_with_its_numa_node(stage: Stage) -> None:
    _, dc = with_pfs(stage)
    await stage.start_daemon()
    await stage.offers(DC, dc)
    (first, *_) = stage.kubelet.lists(DC)
    assert [(device.ID, [node.ID for node in device.topology.nodes]) for device in first.devices] == [
        (str(vf), [1]) for vf in sorted(dc)
    ]


async def test_pods_are_given_vfs_of_one_pf_where_one_has_enough(stage: Stage) -> None:
    # What the kubelet takes is what GetPreferredAllocation answered.
    for pf in ("0000:6b:00.0", "0000:70:00.0"):
        stage.host.add_pf(pf, vfs=4)
    await stage.start_daemon()
    await stage.offers(CY, (*stage.host.vfs("0000:6b:00.0"), *stage.host.vfs("0000:70:00.0")))
    for _ in range(2):
        admission = await stage.kubelet.admit(Pod.of(cy=4))
        assert len({PciAddress.parse(text).bus for text in admission.ids}) == 1


async def test_a_resource_that_appears_later_is_served_from_then_on(stage: Stage) -> None:
    stage.host.add_pf(CY_PF, vfs=2)
    await stage.start_daemon()
    await stage.offers(CY, stage.host.vfs(CY_PF))
    stage.host.add_pf(DC_PF, services="dc", vfs=2)
    await stage.offers(DC, stage.host.vfs(DC_PF))
    assert len(stage.kubelet.registrations(CY)) == len(stage.kubelet.registrations(DC)) == 1


async def test_a_node_without_qat_registers_nothing(stage: Stage) -> None:
    await stage.start_daemon()
    await stage.scanned()
    assert (await stage.kubelet.capacity()).resources == {}


async def test_a_resource_without_devices_stays_registered_and_says_so(stage: Stage) -> None:
    cy, _ = with_pfs(stage)
    await stage.start_daemon()
    await stage.offers(CY, cy)
    stage.host.remove(CY_PF)
    await stage.lists(CY, ())
    assert (await stage.kubelet.capacity()).resources[CY].capacity == 0
    assert "no healthy devices present" in ((await stage.kubelet.admit(Pod.of(cy=1))).error or "")
    stage.host.add_pf(CY_PF, vfs=3)
    await stage.offers(CY, stage.host.vfs(CY_PF))
    assert len(stage.kubelet.registrations(CY)) == 1


async def test_lists_that_say_nothing_new_are_not_sent(stage: Stage) -> None:
    cy, dc = with_pfs(stage)
    await stage.start_daemon()
    await stage.offers(CY, cy)
    await stage.offers(DC, dc)
    await stage.kubelet.admit(Pod.of(cy=1))  # that one is held concerns us alone
    stage.host.remove(dc[0])
    await stage.lists(DC, dc[1:])
    await stage.scanned(3)
    assert len(stage.kubelet.lists(CY)) == 1


async def test_nothing_is_asked_of_the_kubelet_while_nothing_is_to_leave(stage: Stage) -> None:
    cy, dc = with_pfs(stage)
    await stage.start_daemon()
    await stage.offers(CY, cy)
    await stage.offers(DC, dc)
    asked = len(stage.kubelet.asked)
    await stage.kubelet.admit(Pod.of(cy=1))
    await stage.scanned(3)
    assert [one.call for one in stage.kubelet.asked[asked:]] == ["GetPreferredAllocation", "Allocate"]


async def test_the_vfs_of_a_pf_that_goes_down_leave_and_come_back_with_it(stage: Stage) -> None:
    cy, _ = with_pfs(stage)
    await stage.start_daemon()
    await stage.offers(CY, cy)
    pod = Pod.of(cy=1)
    (held,) = map(PciAddress.parse, (await stage.kubelet.admit(pod)).ids)
    stage.host.set_state(CY_PF, "down")
    await stage.lists(CY, (), [held])  # the others leave, this one somebody has
    assert stage.node.pools.pools[CY].devices[0].defect == defect(Reason.NOT_PRESENT)
    stage.host.set_state(CY_PF, "up")
    stage.host.add_vfs(CY_PF, 4)
    await stage.kubelet.remove(pod)  # and its group has another number now
    await stage.lists(CY, cy)
    assert DC not in stage.node.pools.pools or not any(
        device.vf_defect for device in stage.node.pools.pools[DC].devices
    )


async def test_a_pf_that_is_configured_anew_takes_its_vfs_to_another_resource(stage: Stage) -> None:
    cy, dc = with_pfs(stage)
    await stage.start_daemon()
    await stage.offers(CY, cy)
    stage.host.set_state(CY_PF, "down")
    stage.host.set_services(CY_PF, "dc")
    stage.host.set_state(CY_PF, "up")
    stage.host.add_vfs(CY_PF, 4)
    await stage.lists(CY, ())
    await stage.offers(DC, (*cy, *dc))


async def test_a_vf_that_goes_and_comes_back_is_offered_again(stage: Stage) -> None:
    cy, _ = with_pfs(stage)
    await stage.start_daemon()
    await stage.offers(CY, cy)
    stage.host.remove(cy[1])
    await stage.lists(CY, [vf for vf in cy if vf != cy[1]])
    stage.host.add_vf(CY_PF, 1)
    await stage.lists(CY, cy)


async def test_a_vf_that_goes_while_a_pod_has_it_stays_in_the_list_until_the_pod_ends(stage: Stage) -> None:
    cy, _ = with_pfs(stage)
    await stage.start_daemon()
    await stage.offers(CY, cy)
    pod = Pod.of(cy=1)
    (held,) = map(PciAddress.parse, (await stage.kubelet.admit(pod)).ids)
    others = [vf for vf in cy if vf != held]
    stage.host.remove(held)
    await stage.lists(CY, others, [held])
    await stage.scanned(5)
    await stage.lists(CY, others, [held])
    await stage.kubelet.remove(pod)
    await stage.lists(CY, others)


async def test_a_vf_that_lost_its_driver_is_unhealthy_until_it_has_it_back(stage: Stage) -> None:
    cy, _ = with_pfs(stage)
    await stage.start_daemon()
    await stage.offers(CY, cy)
    stage.host.unbind(cy[0])
    await stage.lists(CY, cy[1:], cy[:1])
    # A scan in the middle of it sees the node go first.
    await stage.until(lambda: "has no driver" in str(stage.node.pools.pools[CY].devices[0].defect))
    refused = await stage.kubelet.admit(Pod.of(cy=4))
    assert "Requested: 4, Available: 3" in (refused.error or "")
    stage.host.bind(cy[0], "vfio-pci")
    await stage.lists(CY, cy)


async def test_vfs_without_a_driver_are_bound_and_then_offered(stage: Stage) -> None:
    stage.host.add_pf(CY_PF, vfs=2, vf_driver=None)
    stage.settings = replace(stage.settings, bind=BindMode.FREE)
    stage.calls = FakeKernelCalls(stage.host)
    await stage.start_daemon()
    await stage.offers(CY, stage.host.vfs(CY_PF))
    assert {stage.host.driver(vf) for vf in stage.host.vfs(CY_PF)} == {"vfio-pci"}


async def test_vfs_without_a_driver_are_not_touched_unless_it_is_wished(stage: Stage) -> None:
    stage.host.add_pf(CY_PF, vfs=2, vf_driver=None)
    stage.calls = calls = FakeKernelCalls(stage.host)
    await stage.start_daemon()
    await stage.scanned()
    assert calls.written == []
    assert set(stage.node.pools.excluded) == set(stage.host.vfs(CY_PF))


# What is broken


@pytest.mark.parametrize("broken", ["unreadable", "no number", "a FIFO"])
async def test_one_bad_vf_among_128_costs_no_other(stage: Stage, broken: str) -> None:
    vfs = [vf for pf in stage.host.fill(8, 16) for vf in stage.host.vfs(pf)]
    bad = vfs[40]
    if broken == "unreadable":
        stage.calls = FaultyCalls(PortableCalls(), {f"{bad}/numa_node": errno.EIO})
    elif broken == "no number":
        stage.host.attribute(bad, "numa_node", b"\xff\x00")
    else:
        stage.host.fifo(bad, "numa_node")
    await stage.start_daemon()
    await stage.until(lambda: len(stage.kubelet.offered(CY) | stage.kubelet.offered(DC)) == 127)
    assert str(bad) not in stage.kubelet.offered(CY) | stage.kubelet.offered(DC)
    assert set(stage.node.pools.excluded) == {bad}
    assert "numa_node" in str(stage.node.pools.excluded[bad])


async def test_a_pf_of_unknown_services_is_told_once_with_what_to_do(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    for pf in (CY_PF, DC_PF):  # as kernels before 6.0 have them
        stage.host.add_pf(pf, vfs=1)
        stage.host.attribute(pf, "qat", None)
        stage.host.dev_cfg(pf).unlink()
    await stage.start_daemon()
    await stage.offers("qat.intel.com/generic", (*stage.host.vfs(CY_PF), *stage.host.vfs(DC_PF)))
    stage.host.remove(DC_PF)
    await stage.scanned(3)
    told = [text for text in caplog.messages if "services unknown" in text]
    assert [text.split()[2] for text in told] == [f"pf={CY_PF}", f"pf={DC_PF}"]
    assert "kernel 6.0 or later" in told[0] and "/sys/kernel/debug" in told[0]


async def test_unknown_word_of_services_is_logged_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.host.add_pf(CY_PF, services="sym;new", vfs=1)
    await stage.start_daemon()
    await stage.offers("qat.intel.com/generic", stage.host.vfs(CY_PF))
    stage.host.add_pf(DC_PF, services="dc", vfs=1)
    await stage.offers(DC, stage.host.vfs(DC_PF))
    told = [text for text in caplog.messages if "services unknown" in text]
    assert [text.split()[2:4] for text in told] == [[f"pf={CY_PF}", "words='new'"]]


class HangingCalls(PassingCalls):
    """Calls that hang once they are told to, as reads of a driver that waits for its firmware do.

    Not those of `enable`, which asks no driver (enable_show in drivers/pci/pci-sysfs.c).
    """

    def __init__(self) -> None:
        super().__init__(PortableCalls())
        self.hangs, self.released, self.reached = threading.Event(), threading.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def before(self, call: str, path: Path) -> None:
        if self.hangs.is_set() and path.name != "enable":
            self._loop.call_soon_threadsafe(self.reached.set)
            self.released.wait()


async def test_it_ends_while_its_first_scan_hangs(stage: Stage) -> None:
    with_pfs(stage)
    stage.calls = calls = HangingCalls()
    calls.hangs.set()
    await stage.start_daemon()
    async with asyncio.timeout(5):
        await calls.reached.wait()
        await stage.end_daemon()
    calls.released.set()


async def test_it_says_that_its_first_scan_hangs(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("qatdp.daemon.scan_loop.SLOW_S", 0.0)
    cy, _ = with_pfs(stage)
    stage.calls = calls = HangingCalls()
    calls.hangs.set()
    await stage.start_daemon()
    async with asyncio.timeout(5):
        await calls.reached.wait()
        assert "sysfs scan still running, serving the last snapshot after_s=0" in caplog.text
        calls.released.set()
        await stage.offers(CY, cy)


async def test_pods_are_served_while_a_scan_hangs_and_it_ends_all_the_same(stage: Stage) -> None:
    cy, dc = with_pfs(stage)
    stage.calls = calls = HangingCalls()
    await stage.start_daemon()
    await stage.offers(CY, cy)
    await stage.offers(DC, dc)
    calls.hangs.set()
    async with asyncio.timeout(5):
        await calls.reached.wait()
        assert (await stage.kubelet.admit(Pod.of(cy=2, dc=1))).admitted
        await stage.kubelet.restart(kill=True)
        await stage.offers(CY, cy)
        await stage.end_daemon()
    await stage.until(lambda: not stage.kubelet.streams(CY) and not stage.kubelet.streams(DC))
    calls.released.set()


async def test_its_end_closes_streams_and_withdraws_nothing(stage: Stage) -> None:
    cy, dc = with_pfs(stage)
    await stage.start_daemon()
    await stage.offers(CY, cy)
    await stage.offers(DC, dc)
    await stage.end_daemon()
    await stage.until(lambda: not stage.kubelet.streams(CY) and not stage.kubelet.streams(DC))
    assert len(stage.kubelet.lists(CY)) == len(stage.kubelet.lists(DC)) == 1
    counts = (await stage.kubelet.capacity()).resources
    assert {resource: (of.capacity, of.allocatable) for resource, of in counts.items()} == {CY: (4, 0), DC: (4, 0)}
    assert list(stage.kubelet.plugins.glob("qatdp-*")) == []
