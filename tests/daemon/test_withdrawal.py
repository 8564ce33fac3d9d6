"""A VF leaves its list when nobody can have it any more, and comes up elsewhere only then, whatever happens."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from google.protobuf.message import Message

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.core.holders import LEAVING, Step
from qatdp.core.pci import PciAddress
from qatdp.testing.kubelet import KINDS, Call, Container, Pod
from qatdp.testing.stage import CY, Stage

PF = "0000:6b:00.0"
RENAMED = "qat.intel.com/renamed"
RENAME = "version: 1\nresources: [{name: renamed, services: [sym, asym]}]\n"
EACH_KIND = pytest.mark.parametrize("version", KINDS)


@pytest.fixture
async def vfs(stage: Stage) -> AsyncIterator[tuple[PciAddress, ...]]:
    """Let the daemon offer a PF's four VFs as cy."""
    stage.host.add_pf(PF, vfs=4)
    await stage.start_daemon()
    await stage.offers(CY, stage.host.vfs(PF))
    yield stage.host.vfs(PF)
    if len(stage.kubelet.registrations(CY)) == 1:  # else one of the two was started again, and had forgotten lists
        assert never_healthy_in_two_lists(stage)


def lists_without(message: Message, at: PciAddress) -> bool:
    """Tell whether it is a list that a device is not in."""
    return isinstance(message, api.ListAndWatchResponse) and str(at) not in {device.ID for device in message.devices}


def calls_between(stage: Stage, call: Call, at: PciAddress) -> set[Call]:
    """Return what was asked after the last such call of cy, before a device had left its list."""
    passed = stage.kubelet.asked
    last = max(n for n, one in enumerate(passed) if (one.call, one.resource) == (call, CY))
    gone = next(n for n, one in enumerate(passed) if n > last and one.resource == CY and lists_without(one.message, at))
    return {one.call for one in passed[last:gone]}


async def given(stage: Stage, count: int = 1, name: str = "pod") -> tuple[Pod, list[PciAddress]]:
    """Admit a pod; return it with its VFs."""
    pod = Pod(name, (Container(limits={CY: count}),))
    admission = await stage.kubelet.admit(pod)
    assert admission.admitted, admission.error
    return pod, sorted(map(PciAddress.parse, admission.ids))


def never_healthy_in_two_lists(stage: Stage) -> bool:
    """Tell whether the kubelet could never have handed out an ID as two resources.

    Two lists that follow one another come to it by two streams, in any order.
    """
    last: dict[str, set[str]] = {}
    for one in stage.kubelet.asked:
        if isinstance(one.message, api.ListAndWatchResponse):
            last[one.resource] = {device.ID for device in one.message.devices if device.health == "Healthy"}
            if sum(map(len, last.values())) != len(set().union(*last.values())):
                return False
    return True


# Configuration


@EACH_KIND
async def test_free_vfs_follow_a_new_name(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    stage.configure(RENAME)
    await stage.lists(RENAMED, vfs)
    await stage.lists(CY, ())


@EACH_KIND
async def test_a_vf_that_a_pod_has_stays_under_its_name_and_healthy_until_the_pod_ends(
    stage: Stage, vfs: tuple[PciAddress, ...]
) -> None:
    pod, held = await given(stage)
    stage.configure(RENAME)
    free = [vf for vf in vfs if vf not in held]
    await stage.lists(RENAMED, free)
    await stage.lists(CY, held)
    await stage.scanned(5)
    await stage.lists(CY, held)
    await stage.kubelet.remove(pod)
    await stage.lists(RENAMED, vfs)
    await stage.lists(CY, ())


async def test_the_vf_of_a_plain_init_container_stays_although_list_does_not_name_it(
    stage: Stage, vfs: tuple[PciAddress, ...]
) -> None:
    pod = Pod("pod", (Container(),), init=(Container("init", {CY: 1}),))
    (held,) = map(PciAddress.parse, (await stage.kubelet.admit(pod)).ids)
    stage.configure(RENAME)
    await stage.lists(RENAMED, [vf for vf in vfs if vf != held])
    await stage.scanned(5)
    await stage.lists(CY, [held])
    await stage.kubelet.remove(pod)
    await stage.lists(RENAMED, vfs)


async def test_a_limit_withdraws_free_vfs_first(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    _, held = await given(stage, 2)
    stage.configure("version: 1\ndefaults: true\nresources: [{name: cy, services: [sym, asym], limit: 3}]\n")
    free = [vf for vf in vfs if vf not in held]
    await stage.lists(CY, sorted([*held, free[0]]))
    assert "over the limit" in stage.node.pools.left_out[free[1]]
    stage.configure("version: 1")
    await stage.lists(CY, vfs)


async def test_what_no_resource_selects_any_more_leaves_when_it_is_free(
    stage: Stage, vfs: tuple[PciAddress, ...]
) -> None:
    pod, held = await given(stage)
    stage.configure("version: 1\nresources: [{name: dc, services: [dc]}]\n")
    await stage.lists(CY, held)
    await stage.kubelet.remove(pod)
    await stage.lists(CY, ())
    assert set(stage.node.pools.left_out) == set(vfs)


@pytest.mark.parametrize(
    "wrong", ["version: 2", "version: 1\nresources: [{}]", "{", "", "version: 1\nresource: []", "\x00"]
)
async def test_a_configuration_that_is_wrong_changes_nothing(
    stage: Stage, vfs: tuple[PciAddress, ...], caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    stage.configure(wrong)
    await stage.until(lambda: "the configuration is wrong, the last good one stays" in caplog.text)
    await stage.scanned()
    await stage.lists(CY, vfs)
    assert len(stage.kubelet.lists(CY)) == 1
    stage.configure(RENAME)
    await stage.lists(RENAMED, vfs)


async def test_a_configuration_that_goes_away_changes_nothing(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    stage.config.unlink()
    await stage.scanned(3)
    assert len(stage.kubelet.lists(CY)) == 1
    stage.configure(RENAME)
    await stage.lists(RENAMED, vfs)


async def test_a_config_map_that_is_swapped_is_seen(stage: Stage) -> None:
    # As kubelet's atomic writer does it: config.yaml -> ..data/config.yaml, ..data -> ..2024_1, and ..data is swapped.
    volume = stage.folder / "volume"
    for name, text in (("..1", "version: 1\n"), ("..2", RENAME)):
        (volume / name).mkdir(parents=True)
        (volume / name / "config.yaml").write_text(text)
    (volume / "..data").symlink_to("..1")
    (volume / "config.yaml").symlink_to("..data/config.yaml")
    stage.host.add_pf(PF, vfs=2)
    stage.settings = replace(stage.settings, config=volume / "config.yaml")
    await stage.start_daemon()
    await stage.offers(CY, stage.host.vfs(PF))
    (volume / "..data_tmp").symlink_to("..2")
    (volume / "..data_tmp").rename(volume / "..data")
    await stage.offers(RENAMED, stage.host.vfs(PF))


async def test_a_wish_that_is_taken_back_in_time_leaves_everything_where_it_was(
    stage: Stage, vfs: tuple[PciAddress, ...]
) -> None:
    with stage.kubelet.held(Call.ALLOCATABLE) as hold:
        stage.configure(RENAME)
        await hold.reached()
        await stage.lists(CY, (), vfs)
        stage.configure("version: 1")
        await stage.lists(CY, vfs)
    await stage.scanned()
    await stage.lists(CY, vfs)
    assert stage.kubelet.registrations(RENAMED) == []


# Calls that come in between


async def test_an_allocate_that_was_on_its_way_is_granted_and_ends_the_withdrawal(
    stage: Stage, vfs: tuple[PciAddress, ...]
) -> None:
    with stage.kubelet.held(Call.ALLOCATE) as hold, stage.kubelet.held(Call.ALLOCATABLE):
        admission = asyncio.create_task(stage.kubelet.admit(Pod.of(cy=1)))
        await hold.reached()  # the kubelet has chosen
        stage.configure(RENAME)
        await stage.lists(CY, (), vfs)
        hold.release()
        (held,) = map(PciAddress.parse, (await admission).ids)
        assert stage.step(held) is Step.AWAITED
        await stage.lists(CY, [held], [vf for vf in vfs if vf != held])
    await stage.lists(RENAMED, [vf for vf in vfs if vf != held])
    await stage.lists(CY, [held])


async def test_a_list_that_the_kubelet_has_not_read_yet_is_no_step(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    with stage.kubelet.held(Call.READ, CY) as hold:
        stage.configure(RENAME)
        await hold.reached()
        await stage.until(lambda: {stage.step(vf) for vf in vfs} == {Step.SENT})
        asked = len(stage.kubelet.passed(Call.ALLOCATABLE))
        await stage.until(lambda: len(stage.kubelet.passed(Call.ALLOCATABLE)) > asked + 2)
        assert {stage.step(vf) for vf in vfs} == {Step.SENT}
        (held,) = map(PciAddress.parse, (await stage.kubelet.admit(Pod.of(cy=1))).ids)  # it offers them still
    await stage.lists(RENAMED, [vf for vf in vfs if vf != held])
    await stage.lists(CY, [held])


async def test_a_preference_that_is_asked_for_makes_the_withdrawal_begin_again(
    stage: Stage, vfs: tuple[PciAddress, ...]
) -> None:
    # What the kubelet chooses from is what it knew when it began to ask.
    with stage.kubelet.held(Call.PREFERRED) as asks:
        admission = asyncio.create_task(stage.kubelet.admit(Pod.of(cy=1)))
        await asks.reached()
        with stage.kubelet.held(Call.CHECKPOINT):
            stage.configure(RENAME)
            await stage.until(lambda: {stage.step(vf) for vf in vfs} == {Step.REWRITTEN})
            asks.release()
            (held,) = map(PciAddress.parse, (await admission).ids)
    others = [vf for vf in vfs if vf != held]
    await stage.lists(RENAMED, others)
    await stage.lists(CY, [held])
    assert {Call.ALLOCATABLE, Call.LIST} <= calls_between(stage, Call.PREFERRED, others[0])


async def test_a_pod_is_told_why_it_cannot_have_what_has_left(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    stage.configure(RENAME)
    await stage.lists(CY, ())
    await stage.lists(RENAMED, vfs)
    refused = await stage.kubelet.admit(Pod.of(cy=1))
    assert "no healthy devices present; cannot allocate unhealthy devices qat.intel.com/cy" in (refused.error or "")
    assert (await stage.kubelet.admit(Pod.of(renamed=4))).admitted


@pytest.mark.parametrize("call", [Call.ALLOCATABLE, Call.LIST, Call.CHECKPOINT])
async def test_while_the_kubelet_does_not_answer_or_write_nothing_leaves(
    stage: Stage, vfs: tuple[PciAddress, ...], call: Call
) -> None:
    with stage.kubelet.held(call) as hold:
        stage.configure(RENAME)
        await hold.reached()
        await stage.lists(CY, (), vfs)
        await stage.scanned(3)
        await stage.lists(CY, (), vfs)
    await stage.lists(RENAMED, vfs)


async def test_a_checkpoint_that_cannot_be_read_holds_everything_loudly(
    stage: Stage, vfs: tuple[PciAddress, ...], caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = stage.kubelet.plugins / "kubelet_internal_checkpoint"
    with stage.kubelet.held(Call.CHECKPOINT) as hold:
        stage.configure(RENAME)
        await hold.reached()
        new = checkpoint.with_name("new")
        new.write_text('{"Data": {"Version": 3}}')
        await stage.until(lambda: Step.REWRITTEN in {stage.step(vf) for vf in vfs})
        new.rename(checkpoint)
        await stage.until(lambda: "is not understood" in caplog.text)
        assert {stage.step(vf) for vf in vfs} <= LEAVING
        await stage.lists(CY, (), vfs)
    await stage.lists(RENAMED, vfs)


@EACH_KIND
@pytest.mark.parametrize("kill", [True, False])
async def test_a_kubelet_that_restarts_in_between_makes_the_withdrawal_begin_again(
    stage: Stage, vfs: tuple[PciAddress, ...], *, kill: bool
) -> None:
    pod, held = await given(stage)
    free = [vf for vf in vfs if vf not in held]
    with stage.kubelet.held(Call.CHECKPOINT):
        stage.configure(RENAME)
        await stage.until(lambda: {stage.step(vf) for vf in free} == {Step.REWRITTEN})
        running = [f"{pod.uid}/main"]
        await stage.kubelet.restart(kill=kill, sources_ready=False, running=running)
    assert {PciAddress.parse(text) for text in (await stage.kubelet.admit(pod)).ids} == set(held)
    await stage.kubelet.set_sources(ready=True)
    await stage.lists(RENAMED, free)
    await stage.lists(CY, held)
    assert {Call.ALLOCATABLE, Call.LIST} <= calls_between(stage, Call.REGISTER, free[0])
    await stage.kubelet.remove(pod)
    await stage.lists(RENAMED, vfs)


async def test_a_daemon_that_restarts_in_between_goes_on_from_what_the_kubelet_s_books_say(
    stage: Stage, vfs: tuple[PciAddress, ...]
) -> None:
    pod, held = await given(stage)
    with stage.kubelet.held(Call.ALLOCATABLE) as hold:
        stage.configure(RENAME)
        await hold.reached()
        await stage.restart_daemon()
    await stage.lists(RENAMED, [vf for vf in vfs if vf not in held])
    await stage.lists(CY, held)
    await stage.kubelet.remove(pod)
    await stage.lists(RENAMED, vfs)
    await stage.lists(CY, ())


async def test_what_was_unhealthy_before_leaves_as_well(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    # Its withdrawal changes nothing in the list, which is sent again nevertheless.
    stage.host.unbind(vfs[0])
    await stage.lists(CY, vfs[1:], vfs[:1])
    stage.host.remove(vfs[0])
    await stage.lists(CY, vfs[1:])
