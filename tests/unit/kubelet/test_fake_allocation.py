"""The fake kubelet gives devices to pods as the real one does, its crashes included."""

import asyncio
from collections.abc import Collection
from pathlib import Path

import grpc
import pytest
from support.plugin import a_plugin, device

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.simulator.kubelet import VERSIONS, Call, Container, FakeKubelet, KubeletEndedError, Pod, RefusedError
from qatdp.simulator.kubelet.versions import since, up_to

CY, DC = "qat.intel.com/cy", "qat.intel.com/dc"
ALL = pytest.mark.parametrize("version", VERSIONS)


async def test_allocate_gets_one_container_its_ids_in_any_order_and_no_deadline(kubelet: FakeKubelet) -> None:
    ids = [f"{n:02}" for n in range(40)]
    async with a_plugin(kubelet, CY, *ids) as plugin:
        for _ in range(5):
            pod = Pod("pod", (Container("one", {CY: 4}), Container("two", {CY: 4})))
            assert len((await kubelet.admit(pod)).ids) == 8
            await kubelet.remove(pod)
        asked = [one for one in plugin.asked if isinstance(one, tuple)]
        assert [len(request.container_requests) for request, _ in asked] == [1] * 10
        orders = [list(request.container_requests[0].devices_ids) for request, _ in asked]
        assert any(order != sorted(order) for order in orders)
        assert all(remaining_s is None for _, remaining_s in asked)


async def test_a_preference_is_asked_for_with_the_whole_size_and_what_must_be_included(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet) as plugin:
        pod = Pod("pod", (Container("main", {CY: 3}),), init=(Container("init", {CY: 1}),))
        assert (await kubelet.admit(pod)).admitted
        first, second = (
            one.container_requests[0] for one in plugin.asked if isinstance(one, api.PreferredAllocationRequest)
        )
        assert (first.allocation_size, list(first.must_include_deviceIDs)) == (1, [])
        assert second.allocation_size == 3
        assert len(second.must_include_deviceIDs) == 1
        assert set(second.available_deviceIDs) == set("abcd")


@pytest.mark.parametrize(
    ("preference", "among"),
    [("cd", "cd"), ("c", "abcd"), ("abcd", "abcd"), ("", "abcd"), (("nothing", "d", "c"), "cd")],
)
async def test_a_preference_is_followed_as_far_as_it_can_be(
    kubelet: FakeKubelet, preference: Collection[str], among: str
) -> None:
    async with a_plugin(kubelet) as plugin:
        plugin.preference = preference
        ids = (await kubelet.admit(Pod.of(cy=2))).ids
        assert len(ids) == 2
        assert ids <= set(among)
        if preference == "c":
            assert "c" in ids


async def test_a_preference_that_fails_is_a_pod_that_fails(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet) as plugin:
        plugin.no_preference = True
        refused = await kubelet.admit(Pod.of(cy=1))
        text = "device plugin GetPreferredAllocation rpc failed with err: rpc error: code = Internal desc = no idea"
        assert refused.error == f"Allocate failed due to {text}, which is unexpected"


async def test_an_error_of_allocate_is_shown_to_the_pod_s_owner_and_frees_its_devices(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet) as plugin:
        plugin.error = (grpc.StatusCode.FAILED_PRECONDITION, "it is broken")
        refused = await kubelet.admit(Pod.of(cy=4))
        text = "rpc error: code = FailedPrecondition desc = it is broken"
        assert refused.error == f"Allocate failed due to {text}, which is unexpected"
        plugin.error = None
        assert (await kubelet.admit(Pod.of(cy=4))).admitted


async def test_an_answer_without_containers_leaks_its_devices(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet) as plugin:
        plugin.answer = api.AllocateResponse()
        assert "no containers return in allocation response" in ((await kubelet.admit(Pod.of(cy=3))).error or "")
        plugin.answer = None
        refused = await kubelet.admit(Pod.of(cy=2))
        assert f"devices unavailable for {CY}. Requested: 2, Available: 1" in (refused.error or "")


async def test_a_resource_that_nobody_registered_is_ignored(kubelet: FakeKubelet) -> None:
    admission = await kubelet.admit(Pod.of(cy=1))
    assert admission.admitted and not admission.ids
    assert not (kubelet.plugins / "kubelet_internal_checkpoint").exists()


async def test_answers_are_merged_in_any_order_and_the_first_wins(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet), a_plugin(kubelet, DC, "x"):
        pod = Pod.of(cy=1, dc=1)
        ids = (await kubelet.admit(pod)).devices["main"]
        seen = [(await kubelet.options(pod)).envs for _ in range(20)]
        assert {envs["ALL"] for envs in seen} == {CY, DC}  # for one and the same container
        assert {envs[CY] for envs in seen} == ids[CY]
        with pytest.raises(RefusedError):
            await kubelet.options(pod, "nobody")


async def test_a_container_that_starts_again_does_not_ask_the_plugin(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet) as plugin:
        pod = Pod.of(cy=1)
        await kubelet.admit(pod)
        asked = len(plugin.asked)
        await kubelet.options(pod)
        await plugin.close()
        assert (await kubelet.options(pod)).envs["ALL"] == CY
        assert len(plugin.asked) == asked


async def test_admissions_wait_for_one_another(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet):
        with kubelet.held(Call.ALLOCATE) as hold:
            first = asyncio.create_task(kubelet.admit(Pod.of(cy=1)))
            await hold.reached()
            second = asyncio.create_task(kubelet.admit(Pod.of(cy=1)))
            await kubelet.capacity()
            assert hold.waiting == 1
        assert not (await first).ids & (await second).ids


# Crashes


@pytest.mark.parametrize("version", since(34))
@pytest.mark.parametrize("held", [Call.ALLOCATE, Call.PREFERRED])
async def test_from_1_34_it_crashes_when_a_device_leaves_the_list_while_it_is_allocated(
    folder: Path, version: str, held: Call
) -> None:
    async with FakeKubelet(folder, version) as kubelet, a_plugin(kubelet, CY, "a") as plugin:
        with kubelet.held(held) as hold:
            admission = asyncio.create_task(kubelet.admit(Pod.of(cy=1)))
            await hold.reached()
            plugin.send("b")
            await kubelet.offers(CY, "b")
        with pytest.raises(KubeletEndedError, match="nil pointer dereference"):
            await admission
        assert "a has left the list" in await kubelet.wait_for_crash()
        with pytest.raises(grpc.aio.AioRpcError):
            await plugin.register("cy.sock")
        await kubelet.start()
        assert kubelet.crashed() is None


@pytest.mark.parametrize("version", up_to(33))
async def test_up_to_1_33_a_device_that_leaves_while_it_is_allocated_is_given_all_the_same(
    folder: Path, version: str
) -> None:
    async with FakeKubelet(folder, version) as kubelet, a_plugin(kubelet, CY, "a") as plugin:
        with kubelet.held(Call.ALLOCATE) as hold:
            admission = asyncio.create_task(kubelet.admit(Pod.of(cy=1)))
            await hold.reached()
            plugin.send("b")
            await kubelet.offers(CY, "b")
        assert (await admission).ids == {"a"}


@pytest.mark.parametrize("what", ["turns Unhealthy", "is refused", "loses its plugin"])
async def test_it_does_not_crash_over_a_device_that(kubelet: FakeKubelet, what: str) -> None:
    async with a_plugin(kubelet, CY, "a") as plugin:
        with kubelet.held(Call.ALLOCATE) as hold:
            admission = asyncio.create_task(kubelet.admit(Pod.of(cy=1)))
            await hold.reached()
            if what == "turns Unhealthy":
                plugin.send(device("a", "Unhealthy"))
            elif what == "is refused":
                plugin.error = (grpc.StatusCode.NOT_FOUND, "it is not there")
                plugin.send()
            else:
                await plugin.close()
            await kubelet.offers(CY, "")
        assert (await admission).admitted == (what == "turns Unhealthy")
