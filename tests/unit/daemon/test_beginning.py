"""A daemon that starts finds pods at work: what they have stays what it was, whatever has changed meanwhile."""

import asyncio
import os
import shutil
import socket
from pathlib import Path

import pytest
from support.stage import CY, Stage

from qatdp.core.model.pci import PciAddress
from qatdp.core.release.protocol import Step
from qatdp.host.calls.portable import PortableCalls
from qatdp.simulator.host.calls import PassingCalls
from qatdp.simulator.kubelet import KINDS, Call, Container, Pod, RefusedError

PF, OTHER_PF = "0000:6b:00.0", "0000:70:00.0"
RENAMED = "qat.intel.com/renamed"
RENAME = "version: 1\nresources: [{name: renamed, services: [sym, asym]}]\n"
EACH_KIND = pytest.mark.parametrize("version", KINDS)


async def at_work(stage: Stage, count: int = 1) -> tuple[Pod, list[PciAddress], list[PciAddress]]:
    """Let a daemon give VFs to a pod and then end; return the pod, its VFs and the others."""
    stage.host.add_pf(PF, vfs=4)
    await stage.start_daemon()
    vfs = stage.host.vfs(PF)
    await stage.offers(CY, vfs)
    pod = Pod.of(cy=count)
    held = sorted(map(PciAddress.parse, (await stage.kubelet.admit(pod)).ids))
    await stage.end_daemon()
    return pod, held, [vf for vf in vfs if vf not in held]


async def test_what_a_pod_has_is_held_and_nothing_else_changes(stage: Stage) -> None:
    pod, held, free = await at_work(stage)
    await stage.start_daemon()
    await stage.offers(CY, [*held, *free])
    assert [stage.step(vf) for vf in held] == [Step.HELD]
    assert {stage.step(vf) for vf in free} == {Step.AVAILABLE}
    assert (await stage.kubelet.admit(Pod.of(cy=3))).ids == set(map(str, free))
    assert (await stage.kubelet.options(pod)).envs["PCIDEVICE_QAT_INTEL_COM_CY"] == str(held[0])


@EACH_KIND
async def test_what_a_pod_has_keeps_a_name_that_the_configuration_no_longer_has(stage: Stage) -> None:
    pod, held, free = await at_work(stage)
    stage.configure(RENAME)
    await stage.start_daemon()
    await stage.lists(CY, held)
    await stage.lists(RENAMED, free)
    await stage.kubelet.remove(pod)
    await stage.lists(RENAMED, sorted([*held, *free]))
    await stage.lists(CY, ())


async def test_what_a_pod_has_and_is_gone_is_listed_as_unhealthy(stage: Stage) -> None:
    pod, held, free = await at_work(stage)
    stage.host.remove(held[0])
    await stage.start_daemon()
    await stage.lists(CY, free, held)
    await stage.kubelet.remove(pod)
    await stage.lists(CY, free)


@pytest.mark.parametrize("held_too", [True, False])
async def test_a_pf_that_is_down_when_it_starts_is_judged_before_the_books_but_listed_by_them(
    stage: Stage, *, held_too: bool
) -> None:
    _, held, free = await at_work(stage)
    stage.host.add_pf(OTHER_PF, vfs=2)
    stage.host.attribute(PF if held_too else OTHER_PF, "qat/state", "down")
    stage.configure(RENAME)
    await stage.start_daemon()
    await stage.lists(CY, () if held_too else held, held if held_too else ())
    await stage.lists(RENAMED, stage.host.vfs(OTHER_PF) if held_too else free)


async def test_what_pods_have_is_listed_on_a_node_whose_pfs_are_all_gone(stage: Stage) -> None:
    pod, held, _ = await at_work(stage, 2)
    stage.host.remove(PF)
    stage.configure(RENAME)
    await stage.start_daemon()
    await stage.lists(CY, (), held)
    await stage.kubelet.remove(pod)
    await stage.lists(CY, ())


@pytest.mark.parametrize("name", ["init", "sidecar"])
async def test_what_init_containers_have_is_held_as_well(stage: Stage, name: str) -> None:
    stage.host.add_pf(PF, vfs=2)
    await stage.start_daemon()
    await stage.offers(CY, stage.host.vfs(PF))
    pod = Pod("pod", (Container(),), init=(Container(name, {CY: 1}, restartable=name == "sidecar"),))
    (held,) = map(PciAddress.parse, (await stage.kubelet.admit(pod)).ids)
    await stage.end_daemon()
    stage.configure(RENAME)
    await stage.start_daemon()
    await stage.lists(CY, [held])
    await stage.lists(RENAMED, [vf for vf in stage.host.vfs(PF) if vf != held])


@EACH_KIND
async def test_while_the_kubelet_is_down_its_checkpoint_tells_what_is_held(stage: Stage) -> None:
    pod, held, free = await at_work(stage)
    await stage.kubelet.kill()
    stage.configure(RENAME)
    await stage.start_daemon()
    await stage.scanned()
    assert [stage.step(vf) for vf in held] == [Step.CORDONED]
    await stage.kubelet.start(sources_ready=False, running=[f"{pod.uid}/main"])
    assert {*map(PciAddress.parse, (await stage.kubelet.admit(pod)).ids)} == set(held)
    await stage.kubelet.set_sources(ready=True)
    await stage.lists(CY, held)
    await stage.lists(RENAMED, free)
    await stage.kubelet.remove(pod)
    await stage.lists(RENAMED, sorted([*held, *free]))


async def test_where_no_kubelet_ever_ran_it_waits_for_one(stage: Stage) -> None:
    await stage.kubelet.stop()
    shutil.rmtree(stage.kubelet.folder)
    stage.host.add_pf(PF, vfs=2)
    await stage.start_daemon()
    await stage.scanned()
    await stage.kubelet.start()
    await stage.offers(CY, stage.host.vfs(PF))


async def test_start_offers_nothing_while_the_checkpoint_is_unreadable(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    # Any VF may be held under any name. All are in a list all the same, as Unhealthy: the kubelet rewrites its
    # checkpoint after a list, and only then.
    pod, held, free = await at_work(stage)
    (stage.kubelet.plugins / "kubelet_internal_checkpoint").write_text('{"Data": {"Version": 3}}')
    stage.configure(RENAME)
    with stage.kubelet.held(Call.CHECKPOINT):
        await stage.start_daemon()
        await stage.lists(RENAMED, (), sorted([*held, *free]))
        await stage.scanned(3)
        await stage.lists(RENAMED, (), sorted([*held, *free]))
        assert "kubelet_internal_checkpoint is not understood" in caplog.text
    await stage.lists(RENAMED, free)
    await stage.lists(CY, held)
    await stage.kubelet.remove(pod)
    await stage.lists(RENAMED, sorted([*held, *free]))


@pytest.mark.parametrize("restarted", [True, False])
async def test_a_corrupt_checkpoint_is_written_anew_although_no_other_plugin_is_there(
    stage: Stage, *, restarted: bool
) -> None:
    stage.host.add_pf(PF, vfs=4)
    vfs = stage.host.vfs(PF)
    (stage.kubelet.plugins / "kubelet_internal_checkpoint").write_text("{}")
    if restarted:
        await stage.kubelet.restart(kill=True)
    await stage.start_daemon()
    await stage.offers(CY, vfs)


@EACH_KIND
async def test_what_only_a_corrupt_checkpoint_named_goes_back_to_its_list(stage: Stage) -> None:
    stage.host.add_pf(PF, vfs=2)
    await stage.start_daemon()
    vfs = stage.host.vfs(PF)
    await stage.offers(CY, vfs)
    pod = Pod("pod", (Container(),), init=(Container("init", {CY: 1}),))
    held = set(map(PciAddress.parse, (await stage.kubelet.admit(pod)).ids))
    await stage.end_daemon()
    (stage.kubelet.plugins / "kubelet_internal_checkpoint").write_text("{}")
    stage.configure(RENAME)
    await stage.start_daemon()
    await stage.lists(CY, held)
    await stage.lists(RENAMED, set(vfs) - held)


async def test_daemon_begins_beside_a_checkpoint_that_is_a_fifo(stage: Stage) -> None:
    """An open of it would wait for its writer for ever. The kubelet renames a new one over it after the first list."""
    _, held, free = await at_work(stage)
    checkpoint = stage.kubelet.plugins / "kubelet_internal_checkpoint"
    checkpoint.unlink()
    os.mkfifo(checkpoint)
    await stage.start_daemon()
    await stage.offers(CY, [*held, *free])
    assert [stage.step(vf) for vf in held] == [Step.HELD]
    assert checkpoint.is_file()


async def test_what_another_plugin_gave_to_a_pod_is_not_offered_before_that_is_gone(stage: Stage) -> None:
    pod, held, free = await at_work(stage)
    checkpoint = stage.kubelet.plugins / "kubelet_internal_checkpoint"
    await stage.kubelet.kill()
    checkpoint.write_bytes(checkpoint.read_bytes().replace(b"qat.intel.com/cy", b"example.com/sriov"))
    stage.configure(RENAME)
    await stage.start_daemon()
    await stage.kubelet.start(sources_ready=False, running=[f"{pod.uid}/main"])
    await stage.lists(RENAMED, free)
    assert "from another plugin" in str(stage.node.pools.excluded[held[0]])
    await stage.kubelet.remove(pod)
    await stage.kubelet.set_sources(ready=True)
    await stage.lists(RENAMED, sorted([*held, *free]))
    assert stage.kubelet.registrations("example.com/sriov") == []


async def test_sockets_that_a_killed_daemon_left_behind_are_removed(stage: Stage) -> None:
    await at_work(stage)
    dead = stage.kubelet.plugins / "qatdp-cy-0123456789ab.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(dead))
    await stage.start_daemon()
    await stage.until(lambda: bool(stage.kubelet.streams(CY)))
    assert [path.name for path in stage.kubelet.plugins.glob("qatdp-*")] == stage.kubelet.streams(CY)


async def obstacle(stage: Stage, text: str) -> None:
    """Wait until the daemon says that this keeps it from coming up; no kubelet sees anything of that."""
    async with asyncio.timeout(10):
        while text not in (stage.daemon.status.obstacle or ""):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_configuration_that_is_wrong_is_waited_for(stage: Stage) -> None:
    stage.host.add_pf(PF, vfs=2)
    stage.configure("version: 2")
    await stage.start_daemon()
    await obstacle(stage, "version: expected 1")
    report = stage.daemon.status.report()
    assert report.not_ready == (report.obstacle,)
    assert [problem.where for problem in report.problems] == [str(stage.config)]
    assert stage.kubelet.registrations(CY) == []
    stage.configure("version: 1")
    await stage.offers(CY, stage.host.vfs(PF))
    report = stage.daemon.status.report()
    assert (report.obstacle, report.problems) == (None, ())


async def test_configuration_that_comes_later_is_taken(stage: Stage) -> None:
    stage.host.add_pf(PF, vfs=2)
    stage.config.unlink()
    await stage.start_daemon()
    await obstacle(stage, "No such file")
    stage.configure(RENAME)
    await stage.offers(RENAMED, stage.host.vfs(PF))
    assert stage.kubelet.registrations(CY) == []


async def test_start_that_fails_is_tried_again_and_says_why(stage: Stage) -> None:
    stage.host.add_pf(PF, vfs=2)
    stage.calls = calls = _Breaking()
    await stage.start_daemon()
    await obstacle(stage, "broken")
    calls.broken = False
    await stage.offers(CY, stage.host.vfs(PF))
    assert stage.daemon.status.obstacle is None


class _Breaking(PassingCalls):
    """Raises what nobody expects, on the first call of each scan."""

    def __init__(self) -> None:
        super().__init__(PortableCalls())
        self.broken = True

    def before(self, call: str, path: Path) -> None:
        if self.broken:
            raise RuntimeError("broken")


# Stale allocations


async def rebooted(stage: Stage) -> tuple[Pod, PciAddress, PciAddress]:
    """Reboot a node with other group numbers while a pod has a VF; return both, and the VF that owns its node now."""
    stage.host.add_pf(PF, vfs=2)
    stage.host.add_pf(OTHER_PF, vfs=2)
    await stage.start_daemon()
    await stage.offers(CY, [*stage.host.vfs(PF), *stage.host.vfs(OTHER_PF)])
    pod = Pod.of(cy=1)
    (held,) = map(PciAddress.parse, (await stage.kubelet.admit(pod)).ids)
    number = stage.host.group(held)
    await stage.end_daemon()
    stage.reboot()
    stage.host.add_pf(OTHER_PF, vfs=2)
    stage.host.add_pf(PF, vfs=2)
    (owner,) = (vf for pf in (PF, OTHER_PF) for vf in stage.host.vfs(pf) if stage.host.group(vf) == number)
    assert owner != held
    await stage.start_daemon()
    return pod, held, owner


async def test_neither_a_vf_with_a_stale_answer_nor_the_one_that_owns_its_node_now_is_offered(stage: Stage) -> None:
    pod, held, owner = await rebooted(stage)
    others = [vf for pf in (PF, OTHER_PF) for vf in stage.host.vfs(pf) if vf not in (held, owner)]
    await stage.offers(CY, others)
    reason = stage.node.pools.pools[CY].devices
    assert "was given /dev/vfio/" in next(str(device.defect) for device in reason if device.address == held)
    assert "still runs" in str(stage.node.pools.excluded[owner])
    refused = await stage.kubelet.admit(Pod.of(cy=3))
    assert "Requested: 3, Available: 2" in (refused.error or "")
    await stage.kubelet.remove(pod)
    await stage.offers(CY, [*others, held, owner])


def is_asked_before_starts(stage: Stage) -> bool:
    """Return whether the kubelet has its one stream with a server that it asks before it starts a container."""
    last = stage.kubelet.registrations(CY)[-1]
    return stage.kubelet.streams(CY) == [last.endpoint] and last.options.pre_start_required


async def test_a_hand_over_becomes_stale_while_the_daemon_runs(stage: Stage) -> None:
    stage.host.add_pf(PF, vfs=2)
    await stage.start_daemon()
    vfs = stage.host.vfs(PF)
    await stage.offers(CY, vfs)
    pod = Pod.of(cy=1)
    (held,) = map(PciAddress.parse, (await stage.kubelet.admit(pod)).ids)
    stage.host.share_group(held)  # in a new group, by itself
    await stage.lists(CY, [vf for vf in vfs if vf != held], [held])
    assert (await stage.kubelet.admit(Pod.of(cy=2))).admitted is False
    await stage.until(lambda: is_asked_before_starts(stage))
    with pytest.raises(RefusedError, match="another node than this pod was given"):
        await stage.kubelet.options(pod)
    await stage.kubelet.remove(pod)
    await stage.lists(CY, vfs)
    await stage.restart_daemon()
    await stage.until(lambda: bool(stage.kubelet.streams(CY)) and not is_asked_before_starts(stage))


async def test_a_pod_that_ends_over_the_reboot_leaves_nothing_stale(stage: Stage) -> None:
    await rebooted(stage)
    await stage.kubelet.restart(kill=True)  # and nobody brings the pod again
    await stage.offers(CY, [*stage.host.vfs(PF), *stage.host.vfs(OTHER_PF)])


async def one_of_each(stage: Stage) -> tuple[list[Pod], list[PciAddress], list[PciAddress]]:
    """Let a pod have a VF of each of two PFs, to be swapped; return the pods, what they have, and the rest."""
    pods, vfs = [Pod.of(cy=1), Pod.of(cy=1)], [vf for pf in (PF, OTHER_PF) for vf in stage.host.vfs(pf)]
    held: list[PciAddress] = []
    for pod, pf in zip(pods, (PF, OTHER_PF), strict=True):
        # Which of them the kubelet takes is its own affair, so it has no other choice.
        hidden = [vf for vf in vfs if vf not in stage.host.vfs(pf)]
        for vf in hidden:
            stage.host.unbind(vf)
        await stage.offers(CY, [vf for vf in vfs if vf not in hidden])
        held += map(PciAddress.parse, (await stage.kubelet.admit(pod)).ids)
        for vf in hidden:
            stage.host.bind(vf, "vfio-pci")
        await stage.offers(CY, vfs)
    return pods, held, [vf for vf in vfs if vf not in held]


def make_anew(stage: Stage) -> None:
    """Take all VFs away and bring them back in the other order, so that they have one another's group numbers."""
    stage.host.reuse_group_numbers()
    numbers = {vf: stage.host.group(vf) for pf in (PF, OTHER_PF) for vf in stage.host.vfs(pf)}
    for pf in (PF, OTHER_PF):
        stage.host.set_state(pf, "down")
    for pf in (OTHER_PF, PF):
        stage.host.set_state(pf, "up")
        stage.host.add_vfs(pf, 2)
    assert set(numbers.values()) == {stage.host.group(vf) for vf in numbers}
    assert all(stage.host.group(vf) != number for vf, number in numbers.items())


@pytest.mark.parametrize("lost", [False, True], ids=["checkpoint", "no checkpoint any more"])
async def test_vfs_that_swapped_their_groups_are_offered_again_once_both_pods_are_gone(
    stage: Stage, *, lost: bool
) -> None:
    stage.host.add_pf(PF, vfs=2)
    stage.host.add_pf(OTHER_PF, vfs=2)
    await stage.start_daemon()
    pods, held, free = await one_of_each(stage)
    await stage.restart_daemon()  # so that it knows what was answered from the checkpoint alone
    await stage.offers(CY, [*held, *free])
    if lost:
        (stage.kubelet.plugins / "kubelet_internal_checkpoint").unlink()
    make_anew(stage)
    await stage.lists(CY, free, held)
    assert not (await stage.kubelet.admit(Pod.of(cy=3))).admitted
    for pod in pods:
        await stage.kubelet.remove(pod)
    await stage.offers(CY, [*held, *free])
