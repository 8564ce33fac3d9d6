"""The fake kubelet forgets, and writes down, as much as the real one does."""

import asyncio
import base64
import json
import stat
from pathlib import Path

import grpc
import pytest
from support.plugin import ScriptedPlugin, a_plugin, device

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.api import podresources_v1_pb2 as pods_api
from qatdp.api.podresources_v1_pb2_grpc import PodResourcesListerStub
from qatdp.kubelet.channel import channel
from qatdp.simulator.kubelet import VERSIONS, Container, FakeKubelet, KubeletEndedError, Pod
from qatdp.simulator.kubelet.versions import since

CY, DC = "qat.intel.com/cy", "qat.intel.com/dc"
ALL = pytest.mark.parametrize("version", VERSIONS)


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


# Restarts


@ALL
async def test_a_start_cleans_the_folder_in_its_version_s_way(folder: Path, version: str) -> None:
    async with FakeKubelet(folder, version) as kubelet, a_plugin(kubelet):
        (kubelet.plugins / "state").write_text("a plugin's own")
        (kubelet.plugins / "folder").mkdir()
        (kubelet.plugins / "folder/state").write_text("a plugin's own")
        await kubelet.restart(kill=False)
        left = {str(path.relative_to(kubelet.plugins)) for path in kubelet.plugins.rglob("*")}
        state = {"state"} if VERSIONS[version].cleans_sockets_only else set()
        assert left == {"kubelet.sock", "kubelet_internal_checkpoint", "folder", "folder/state"} | state


async def test_a_kill_leaves_the_very_socket_and_nobody_listens(folder: Path) -> None:
    async with FakeKubelet(folder) as kubelet:
        socket = kubelet.plugins / "kubelet.sock"
        before = socket.stat()
        await kubelet.kill()
        after = socket.stat()
        assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await ScriptedPlugin(folder, CY).register("cy.sock")
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(KubeletEndedError):
            await kubelet.capacity()
        await kubelet.start()
        assert socket.stat().st_ctime_ns != before.st_ctime_ns


async def test_a_stop_removes_the_socket(folder: Path) -> None:
    async with FakeKubelet(folder) as kubelet, a_plugin(kubelet):
        await kubelet.stop()
        assert not (kubelet.plugins / "kubelet.sock").exists()
        assert stat.S_ISSOCK((folder / "pod-resources/kubelet.sock").stat().st_mode)
        assert kubelet.crashed() is None


@ALL
async def test_after_a_restart_it_knows_pods_from_the_checkpoint_and_devices_from_new_lists(
    folder: Path, version: str
) -> None:
    async with FakeKubelet(folder, version) as kubelet, a_plugin(kubelet) as plugin:
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


# Books


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
    async with FakeKubelet(folder, version) as kubelet, a_plugin(kubelet):
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
    async with FakeKubelet(folder, version) as kubelet, a_plugin(kubelet, CY, "a", "b") as plugin:
        pod = Pod.of(cy=2)
        await kubelet.admit(pod)
        plugin.send(device("a", "Unhealthy"))
        await kubelet.list_of(CY, {"a": "Unhealthy"})
        shown = {CY: {"a": "Unhealthy", "b": "Healthy"}}  # one that vanished is shown as Healthy
        assert await kubelet.health(pod) == {"main": shown if VERSIONS[version].shows_health else {}}


@pytest.mark.parametrize("version", since(36))
async def test_1_36_looks_for_the_pod_of_a_device_by_its_id_alone(folder: Path, version: str) -> None:
    async with FakeKubelet(folder, version) as kubelet, a_plugin(kubelet, CY, "0"), a_plugin(kubelet, DC, "0") as dc:
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
