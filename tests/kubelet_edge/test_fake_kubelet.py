"""The fake kubelet is as unkind as the real one, in each version's own way."""

import asyncio
import base64
import json
import stat
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.api import podresources_v1_pb2 as pods_api
from qatdp.api.deviceplugin_v1beta1_pb2_grpc import (
    DevicePluginServicer,
    RegistrationStub,
    add_DevicePluginServicer_to_server,
)
from qatdp.api.podresources_v1_pb2_grpc import PodResourcesListerStub
from qatdp.kubelet.channel import channel
from qatdp.testing.kubelet import VERSIONS, Call, Container, FakeKubelet, KubeletEndedError, Pod, RefusedError

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

CY, DC = "qat.intel.com/cy", "qat.intel.com/dc"
NEWEST = "1.37"
ALL = pytest.mark.parametrize("version", VERSIONS)


def versions(choose: Callable[[int], bool]) -> pytest.MarkDecorator:
    """Return the parameters of a test for the minor versions that are chosen."""
    chosen = [version for version in VERSIONS if choose(int(version.partition(".")[2]))]
    return pytest.mark.parametrize("version", chosen)


def device(text: str, health: str = "Healthy", *nodes: int) -> api.Device:
    topology = api.TopologyInfo(nodes=[api.NUMANode(ID=node) for node in nodes]) if nodes else None
    return api.Device(ID=text, health=health, topology=topology)


class Plugin(DevicePluginServicer):
    """A plugin of one resource that does what a test says; `asked` are the requests that it got."""

    def __init__(self, folder: Path, resource: str, ids: Iterable[str] = ("a", "b", "c", "d")) -> None:
        self.resource, self.folder = resource, folder / "device-plugins"
        self.options = api.DevicePluginOptions(get_preferred_allocation_available=True)
        self.answer: api.AllocateResponse | None = None
        self.preference: Collection[str] = ()
        self.error: tuple[grpc.StatusCode, str] | None = None  # of Allocate
        self.no_preference = False
        self.asked: list[Any] = []
        self._devices = [device(text) for text in ids]
        self._changed = asyncio.Event()
        self._over = False
        self._server: grpc.aio.Server | None = None

    async def serve(self, name: str) -> None:
        self._server = grpc.aio.server()
        add_DevicePluginServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self.folder / name}")
        await self._server.start()

    async def register(self, name: str, request: api.RegisterRequest | None = None) -> None:
        """Register a socket; whatever a request says overrides what is right."""
        right = api.RegisterRequest(version="v1beta1", endpoint=name, resource_name=self.resource)
        right.MergeFrom(request or api.RegisterRequest())
        async with channel(self.folder / "kubelet.sock") as kubelet:
            await RegistrationStub(kubelet).Register(right)

    async def close(self) -> None:
        if self._server:
            await self._server.stop(None)

    def send(self, *devices: api.Device | str) -> None:
        """Send another list."""
        self._devices = [device(one) if isinstance(one, str) else one for one in devices]
        self._changed.set()

    def end_stream(self) -> None:
        """Return from ListAndWatch, without any error."""
        self._over = True
        self._changed.set()

    async def GetDevicePluginOptions(self, request: api.Empty, context: Context) -> api.DevicePluginOptions:
        return self.options

    async def ListAndWatch(self, request: api.Empty, context: Context) -> AsyncIterator[api.ListAndWatchResponse]:
        self.asked.append(request)
        while not self._over:
            self._changed.clear()
            yield api.ListAndWatchResponse(devices=self._devices)
            await self._changed.wait()

    async def GetPreferredAllocation(
        self, request: api.PreferredAllocationRequest, context: Context
    ) -> api.PreferredAllocationResponse:
        self.asked.append(request)
        if self.no_preference:
            await context.abort(grpc.StatusCode.INTERNAL, "no idea")
        answer = api.ContainerPreferredAllocationResponse(deviceIDs=self.preference)
        return api.PreferredAllocationResponse(container_responses=[answer])

    async def Allocate(self, request: api.AllocateRequest, context: Context) -> api.AllocateResponse:
        self.asked.append((request, context.time_remaining()))
        if self.error:
            await context.abort(*self.error)
        if self.answer:
            return self.answer
        envs = {"ALL": self.resource, self.resource: ",".join(request.container_requests[0].devices_ids)}
        return api.AllocateResponse(container_responses=[api.ContainerAllocateResponse(envs=envs)])

    async def PreStartContainer(
        self, request: api.PreStartContainerRequest, context: Context
    ) -> api.PreStartContainerResponse:
        raise NotImplementedError


@asynccontextmanager
async def a_kubelet(
    folder: Path, version: str = NEWEST, *, dial_s: float = 10, stop_grace_s: float = 300
) -> AsyncIterator[FakeKubelet]:
    async with FakeKubelet(folder, version, dial_s=dial_s, stop_grace_s=stop_grace_s) as kubelet:
        yield kubelet


@asynccontextmanager
async def a_plugin(kubelet: FakeKubelet, resource: str = CY, *ids: str, name: str = "") -> AsyncIterator[Plugin]:
    """Yield a plugin whose list the kubelet has read."""
    plugin = Plugin(kubelet.folder, resource, ids or ("a", "b", "c", "d"))
    name = name or resource.rpartition("/")[2] + ".sock"
    await plugin.serve(name)
    try:
        await plugin.register(name)
        await kubelet.until(lambda: bool(kubelet.known(resource)))
        yield plugin
    finally:
        await plugin.close()


async def counts(kubelet: FakeKubelet, resource: str = CY) -> tuple[int, int] | None:
    found = (await kubelet.capacity()).resources.get(resource)
    return (found.capacity, found.allocatable) if found else None


async def listed(kubelet: FakeKubelet) -> dict[str, set[str]]:
    """Return what PodResources List names, by pod."""
    async with channel(kubelet.folder / "pod-resources/kubelet.sock") as books:
        answer = await PodResourcesListerStub(books).List(pods_api.ListPodResourcesRequest())
    return {
        pod.name: {text for container in pod.containers for one in container.devices for text in one.device_ids}
        for pod in answer.pod_resources
    }


def written(kubelet: FakeKubelet) -> dict[str, set[str]]:
    """Return what the checkpoint names, by container."""
    data = json.loads((kubelet.plugins / "kubelet_internal_checkpoint").read_bytes())["Data"]
    named: dict[str, set[str]] = {}
    for entry in data["PodDeviceEntries"] or ():
        assert api.ContainerAllocateResponse.FromString(base64.b64decode(entry["AllocResp"])).envs
        for ids in entry["DeviceIDs"].values():
            named.setdefault(entry["ContainerName"], set()).update(ids)
    return named


# Registration


@ALL
async def test_a_plugin_is_called_back_before_its_register_is_answered(folder: Path, version: str) -> None:
    async with a_kubelet(folder, version) as kubelet:
        plugin = Plugin(folder, CY)
        await plugin.serve("cy.sock")
        with kubelet.held(Call.OPTIONS) as hold:
            register = asyncio.create_task(plugin.register("cy.sock"))
            await hold.reached()
            assert not register.done() and not kubelet.streams(CY)
        await register
        await kubelet.list_of(CY, dict.fromkeys("abcd", "Healthy"))
        assert len(plugin.asked) == 1
        await plugin.close()


async def test_the_options_of_the_request_are_not_read(kubelet: FakeKubelet) -> None:
    plugin = Plugin(kubelet.folder, CY)
    plugin.options = api.DevicePluginOptions()
    await plugin.serve("cy.sock")
    options = api.DevicePluginOptions(get_preferred_allocation_available=True)
    await plugin.register("cy.sock", api.RegisterRequest(options=options))
    await kubelet.offers(CY, "abcd")
    assert (await kubelet.admit(Pod.of(cy=1))).admitted
    assert not kubelet.passed(Call.PREFERRED, CY)
    await plugin.close()


@pytest.mark.parametrize(
    "wrong",
    [
        api.RegisterRequest(version="v1beta2"),
        api.RegisterRequest(resource_name="cy"),
        api.RegisterRequest(resource_name="a/b/c"),
        api.RegisterRequest(resource_name="example.kubernetes.io/cy"),
        api.RegisterRequest(resource_name="Example.com/cy"),
        api.RegisterRequest(resource_name="requests.example.com/cy"),
        api.RegisterRequest(resource_name=f"example.com/{'c' * 64}"),
        api.RegisterRequest(resource_name=f"{'c' * 245}/cy"),
    ],
    ids=str,
)
async def test_what_is_wrong_with_a_register_is_told_by_a_text_alone(
    kubelet: FakeKubelet, wrong: api.RegisterRequest
) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=r"is not supported by kubelet|is invalid") as raised:
        await Plugin(kubelet.folder, CY).register("cy.sock", wrong)
    assert raised.value.code() is grpc.StatusCode.UNKNOWN


@pytest.mark.parametrize("name", ["nobody.sock", "", f"{'c' * 71}.sock"])
async def test_who_does_not_serve_or_has_too_long_a_name_is_not_reached(folder: Path, name: str) -> None:
    async with a_kubelet(folder, dial_s=0.1) as kubelet:
        plugin = Plugin(folder, CY)
        if len(name) > 75:
            await plugin.serve(name)
        with pytest.raises(grpc.aio.AioRpcError, match="failed to dial device plugin: context deadline exceeded"):
            await plugin.register(name)
        assert await counts(kubelet) is None
        await plugin.close()


async def test_a_name_of_75_characters_is_not_too_long(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet, name=f"{'c' * 70}.sock"):
        assert await counts(kubelet) == (4, 4)


@ALL
async def test_a_register_that_is_given_up_goes_on_up_to_1_34(folder: Path, version: str) -> None:
    async with a_kubelet(folder, version) as kubelet:
        plugin = Plugin(folder, CY)
        await plugin.serve("cy.sock")
        with kubelet.held(Call.OPTIONS) as hold:
            register = asyncio.create_task(plugin.register("cy.sock"))
            await hold.reached()
            register.cancel()
            with pytest.raises(asyncio.CancelledError):
                await register
            if VERSIONS[version].register_ends_with_caller:
                await kubelet.until(lambda: not hold.waiting)
        if VERSIONS[version].register_ends_with_caller:
            assert not kubelet.streams(CY)
        else:
            await kubelet.offers(CY, "abcd")
        await plugin.close()


# Streams and their ends


@ALL
@pytest.mark.parametrize("how", ["returns", "dies"])
async def test_a_stream_that_ends_is_not_opened_again_and_takes_allocatable_at_once(
    folder: Path, version: str, how: str
) -> None:
    async with a_kubelet(folder, version) as kubelet, a_plugin(kubelet) as plugin:
        if how == "returns":
            plugin.end_stream()
        else:
            await plugin.close()
        await kubelet.offers(CY, "")
        assert await counts(kubelet) == (4, 0)
        assert not kubelet.streams(CY)
        refused = await kubelet.admit(Pod.of(cy=1))
        assert refused.reason == "UnexpectedAdmissionError"
        assert "no healthy devices present; cannot allocate unhealthy devices" in (refused.error or "")
        assert len(plugin.asked) == 1


async def test_capacity_is_dropped_when_the_plugin_has_been_away_for_long(folder: Path) -> None:
    async with a_kubelet(folder, stop_grace_s=0) as kubelet, a_plugin(kubelet) as plugin:
        pod = Pod.of(cy=1)
        await kubelet.admit(pod)
        await plugin.close()
        await kubelet.offers(CY, "")
        assert await counts(kubelet) is None
        refused = await kubelet.admit(Pod.of(cy=1))
        assert "cannot allocate unregistered device" in (refused.error or "")  # another pod still has one


async def test_each_list_replaces_the_one_before(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet, CY, "a", "b") as plugin:
        plugin.send("b", device("c", "Unhealthy"))
        await kubelet.list_of(CY, {"b": "Healthy", "c": "Unhealthy"})
        assert await counts(kubelet) == (2, 1)


async def test_no_health_but_the_very_word_is_healthy(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet) as plugin:
        plugin.send("a", device("b", "healthy"), device("c", "HEALTHY"), device("d", ""))
        await kubelet.offers(CY, "a")


async def test_an_id_that_is_sent_with_two_healths_counts_twice(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet) as plugin:
        plugin.send("a", device("a", "Unhealthy"), "b", "b")
        await kubelet.offers(CY, "ab")
        assert await counts(kubelet) == (3, 2)


async def test_a_list_of_more_than_4_mib_is_the_end_of_its_stream(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet) as plugin:
        plugin.send(device("a" * (5 << 20)))
        await kubelet.until(lambda: not kubelet.streams(CY))
        assert await counts(kubelet) == (4, 0)


@versions(lambda minor: minor >= 37)
async def test_from_1_37_the_end_of_an_old_plugin_leaves_the_new_one_alone(folder: Path, version: str) -> None:
    async with (
        a_kubelet(folder, version) as kubelet,
        a_plugin(kubelet, name="old.sock") as old,
        a_plugin(kubelet, CY, "e", name="new.sock") as new,
    ):
        await kubelet.offers(CY, "e")
        old.send("a")
        await kubelet.offers(CY, "a")  # a resource has one list, from whichever of its streams
        await old.close()
        await kubelet.until(lambda: kubelet.streams(CY) == ["new.sock"])
        assert await counts(kubelet) == (1, 1)  # the old one's last list stands
        new.send("e")
        await kubelet.offers(CY, "e")
        assert (await kubelet.admit(Pod.of(cy=1))).ids == {"e"}


@versions(lambda minor: minor <= 36)
async def test_up_to_1_36_the_end_of_an_old_plugin_closes_the_new_one(folder: Path, version: str) -> None:
    async with (
        a_kubelet(folder, version) as kubelet,
        a_plugin(kubelet, name="old.sock") as old,
        a_plugin(kubelet, CY, "e", name="new.sock") as new,
    ):
        await kubelet.offers(CY, "e")
        await old.close()
        await kubelet.until(lambda: not kubelet.streams(CY))
        assert await counts(kubelet) == (1, 0)
        await new.register("new.sock")  # heals it
        await kubelet.offers(CY, "e")


@versions(lambda minor: minor >= 37)
async def test_from_1_37_a_path_that_is_registered_twice_is_refused_and_poisoned(folder: Path, version: str) -> None:
    async with a_kubelet(folder, version) as kubelet, a_plugin(kubelet) as plugin:
        with pytest.raises(grpc.aio.AioRpcError, match=r"device plugin already connected: .*cy\.sock"):
            await plugin.register("cy.sock")
        plugin.send("a", "b")
        await kubelet.offers(CY, "ab")
        await plugin.close()
        await kubelet.until(lambda: not kubelet.streams(CY))
        assert await counts(kubelet) == (2, 2)  # that its plugin is gone, it does not notice
        refused = await kubelet.admit(Pod.of(cy=1))
        assert "rpc failed with err: rpc error: code = Unavailable" in (refused.error or "")
        async with a_plugin(kubelet, name="other.sock"):
            await kubelet.offers(CY, "abcd")
        await kubelet.until(lambda: not kubelet.streams(CY))
        assert await counts(kubelet) == (4, 4)


@versions(lambda minor: minor >= 37)
async def test_from_1_37_a_dial_that_fails_poisons_a_path_as_well(folder: Path, version: str) -> None:
    async with a_kubelet(folder, version, dial_s=0.1) as kubelet, a_plugin(kubelet) as plugin:
        (kubelet.plugins / "cy.sock").unlink()
        with pytest.raises(grpc.aio.AioRpcError, match="failed to dial"):
            await plugin.register("cy.sock")
        await plugin.close()
        await kubelet.until(lambda: not kubelet.streams(CY))
        assert await counts(kubelet) == (4, 4)


@versions(lambda minor: minor <= 36)
async def test_up_to_1_36_a_path_that_is_registered_twice_has_two_streams_and_dies_with_either(
    folder: Path, version: str
) -> None:
    async with a_kubelet(folder, version) as kubelet, a_plugin(kubelet) as plugin:
        await plugin.register("cy.sock")
        await kubelet.until(lambda: len(kubelet.streams(CY)) == 2 and len(kubelet.lists(CY)) == 2)
        await kubelet.close_stream(CY)
        await kubelet.until(lambda: len(kubelet.streams(CY)) == 1)  # of which nobody knows any more
        assert await counts(kubelet) == (4, 0)


# Restarts


@ALL
async def test_a_start_cleans_the_folder_in_its_version_s_way(folder: Path, version: str) -> None:
    async with a_kubelet(folder, version) as kubelet, a_plugin(kubelet):
        (kubelet.plugins / "state").write_text("a plugin's own")
        (kubelet.plugins / "folder").mkdir()
        (kubelet.plugins / "folder/state").write_text("a plugin's own")
        await kubelet.restart(kill=False)
        left = {str(path.relative_to(kubelet.plugins)) for path in kubelet.plugins.rglob("*")}
        state = {"state"} if VERSIONS[version].cleans_sockets_only else set()
        assert left == {"kubelet.sock", "kubelet_internal_checkpoint", "folder", "folder/state"} | state


async def test_a_kill_leaves_the_very_socket_and_nobody_listens(folder: Path) -> None:
    async with a_kubelet(folder) as kubelet:
        socket = kubelet.plugins / "kubelet.sock"
        before = socket.stat()
        await kubelet.kill()
        after = socket.stat()
        assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await Plugin(folder, CY).register("cy.sock")
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(KubeletEndedError):
            await kubelet.capacity()
        await kubelet.start()
        assert socket.stat().st_ctime_ns != before.st_ctime_ns


async def test_a_stop_removes_the_socket(folder: Path) -> None:
    async with a_kubelet(folder) as kubelet, a_plugin(kubelet):
        await kubelet.stop()
        assert not (kubelet.plugins / "kubelet.sock").exists()
        assert stat.S_ISSOCK((folder / "pod-resources/kubelet.sock").stat().st_mode)
        assert kubelet.crashed() is None


@ALL
async def test_after_a_restart_it_knows_pods_from_the_checkpoint_and_devices_from_new_lists(
    folder: Path, version: str
) -> None:
    async with a_kubelet(folder, version) as kubelet, a_plugin(kubelet) as plugin:
        pod = Pod.of(cy=2)
        before = await kubelet.admit(pod)
        await kubelet.restart(kill=True, sources_ready=False, running=[f"{pod.uid}/main"])
        assert await counts(kubelet) == (0, 0)
        refused = await kubelet.admit(Pod.of("new", cy=1))
        assert "no healthy devices present" in (refused.error or "")
        assert (await kubelet.admit(pod)).devices == before.devices
        assert (await listed(kubelet))["pod"] == before.ids
        await plugin.close()
        async with a_plugin(kubelet, name="again.sock"):
            assert (await kubelet.admit(Pod.of("new", cy=2))).ids == set("abcd") - before.ids
            assert not (await kubelet.admit(Pod.of("one more", cy=1))).admitted


# Allocation


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


@pytest.mark.parametrize("looks", ["allocation", "List"])
async def test_what_a_pod_had_is_freed_when_somebody_looks(kubelet: FakeKubelet, looks: str) -> None:
    async with a_plugin(kubelet) as plugin:
        pod = Pod.of(cy=4)
        await kubelet.admit(pod)
        await kubelet.remove(pod)
        plugin.send("a", "b", "c", "d")
        await kubelet.until(lambda: len(kubelet.lists(CY)) == 2)
        await kubelet.admit(Pod.of(dc=1))  # of no plugin: nobody looks
        assert written(kubelet) == {"main": set("abcd")}
        if looks == "List":
            assert await listed(kubelet) == {"pod": set()}
        else:
            assert (await kubelet.admit(Pod.of(cy=1))).admitted
        plugin.send("a", "b", "c", "d")
        await kubelet.until(lambda: len(kubelet.lists(CY)) == 3)
        assert len(written(kubelet).get("main", ())) == (0 if looks == "List" else 1)


@ALL
async def test_nothing_is_freed_before_all_sources_of_pods_were_heard(folder: Path, version: str) -> None:
    async with a_kubelet(folder, version) as kubelet, a_plugin(kubelet):
        pod = Pod.of(cy=4)
        await kubelet.admit(pod)
        await kubelet.set_sources(ready=False)
        await kubelet.remove(pod)
        active_only = VERSIONS[version].lists_active_pods_only
        assert await listed(kubelet) == ({} if active_only else {"pod": set("abcd")})
        assert not (await kubelet.admit(Pod.of("new", cy=1))).admitted
        await kubelet.set_sources(ready=True)
        assert (await kubelet.admit(Pod.of("new", cy=1))).admitted


async def test_plain_init_containers_are_not_listed_and_later_containers_get_what_they_had(
    kubelet: FakeKubelet,
) -> None:
    async with a_plugin(kubelet):
        init = (Container("plain", {CY: 2}), Container("sidecar", {CY: 1}, restartable=True))
        pod = Pod("pod", (Container("main", {CY: 1}),), init=init)
        given = {name: of[CY] for name, of in (await kubelet.admit(pod)).devices.items()}
        assert given["sidecar"] | given["main"] == given["plain"]
        assert not given["sidecar"] & given["main"]
        assert await listed(kubelet) == {"pod": given["plain"]}
        only_init = Pod("other", (Container("main"),), init=(Container("init", {CY: 1}),))
        had = (await kubelet.admit(only_init)).ids
        assert (await listed(kubelet))["other"] == set()
        assert written(kubelet)["init"] == had


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


@versions(lambda minor: minor >= 34)
@pytest.mark.parametrize("held", [Call.ALLOCATE, Call.PREFERRED])
async def test_from_1_34_it_crashes_when_a_device_leaves_the_list_while_it_is_allocated(
    folder: Path, version: str, held: Call
) -> None:
    async with a_kubelet(folder, version) as kubelet, a_plugin(kubelet, CY, "a") as plugin:
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


@versions(lambda minor: minor <= 33)
async def test_up_to_1_33_a_device_that_leaves_while_it_is_allocated_is_given_all_the_same(
    folder: Path, version: str
) -> None:
    async with a_kubelet(folder, version) as kubelet, a_plugin(kubelet, CY, "a") as plugin:
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


# Books


async def test_every_list_of_any_resource_makes_a_new_checkpoint(kubelet: FakeKubelet) -> None:
    checkpoint = kubelet.plugins / "kubelet_internal_checkpoint"
    async with a_plugin(kubelet), a_plugin(kubelet, DC, "x") as dc:
        await kubelet.admit(Pod.of(cy=1))
        seen = {checkpoint.stat().st_ctime_ns}
        for count in range(2, 5):
            dc.send("x")
            await kubelet.until(lambda count=count: len(kubelet.lists(DC)) == count)  # type: ignore[misc]
            await kubelet.until(lambda: checkpoint.stat().st_ctime_ns not in seen)
            seen.add(checkpoint.stat().st_ctime_ns)
        assert len(written(kubelet)["main"]) == 1


async def test_allocatable_are_the_healthy_ones_once_for_each_numa_node(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet) as plugin:
        plugin.send(device("a", "Healthy", 0, 1), device("b", "Unhealthy", 0), device("c"), device("d", "Healthy", 1))
        await kubelet.offers(CY, "acd")
        async with channel(kubelet.folder / "pod-resources/kubelet.sock") as books:
            request = pods_api.AllocatableResourcesRequest()
            answer = await PodResourcesListerStub(books).GetAllocatableResources(request)
        found = [(one.device_ids[0], [node.ID for node in one.topology.nodes]) for one in answer.devices]
        assert sorted(found) == [("a", [0]), ("a", [1]), ("c", []), ("d", [1])]
        assert {one.resource_name for one in answer.devices} == {CY}


@ALL
async def test_the_status_of_a_pod_shows_the_health_of_its_devices_from_1_36(folder: Path, version: str) -> None:
    async with a_kubelet(folder, version) as kubelet, a_plugin(kubelet, CY, "a", "b") as plugin:
        pod = Pod.of(cy=2)
        await kubelet.admit(pod)
        plugin.send(device("a", "Unhealthy"))
        await kubelet.list_of(CY, {"a": "Unhealthy"})
        shown = {CY: {"a": "Unhealthy", "b": "Healthy"}}  # one that vanished is shown as Healthy
        assert await kubelet.health(pod) == {"main": shown if VERSIONS[version].shows_health else {}}


@versions(lambda minor: minor >= 36)
async def test_1_36_looks_for_the_pod_of_a_device_by_its_id_alone(folder: Path, version: str) -> None:
    async with a_kubelet(folder, version) as kubelet, a_plugin(kubelet, CY, "0"), a_plugin(kubelet, DC, "0") as dc:
        pod = Pod.of(cy=1)
        await kubelet.admit(pod)
        dc.send(device("0", "Unhealthy"))
        await kubelet.list_of(DC, {"0": "Unhealthy"})
        assert kubelet.updates == ([] if VERSIONS[version].health_by_resource else [{pod.uid}])


async def test_the_counts_are_sampled_without_missing_any(kubelet: FakeKubelet) -> None:
    async with a_plugin(kubelet) as plugin:
        sample = asyncio.create_task(kubelet.sample(duration_s=0.3))
        await plugin.close()
        changes = await sample
        assert [(one.resources[CY].capacity, one.resources[CY].allocatable) for one in changes] == [(4, 4), (4, 0)]


def test_there_is_a_row_for_each_version() -> None:
    assert list(VERSIONS) == [f"1.{minor}" for minor in range(29, 38)]
