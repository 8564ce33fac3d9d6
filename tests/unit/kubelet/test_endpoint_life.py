"""An endpoint comes to rest with one listener and one stream, whatever the kubelet, of whichever version, does."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from support.observer import RecordingObserver

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.api.deviceplugin_v1beta1_pb2_grpc import DevicePluginStub
from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.pools import PoolDevice, ResourcePool
from qatdp.feed import Feed
from qatdp.kubelet.channel import channel
from qatdp.kubelet.endpoint import Endpoint, Timing
from qatdp.kubelet.lifecycle import Event, State
from qatdp.kubelet.watch import watch
from qatdp.simulator.kubelet import KINDS, VERSIONS, Call, FakeKubelet, Pod, RefusedError

CY, DC = "qat.intel.com/cy", "qat.intel.com/dc"
IDS = ("0000:6b:00.1", "0000:6b:00.2")
HURRIED = Timing(stream_s=0.1, first_back_off_s=0.005, longest_back_off_s=0.05)
EACH_KIND = pytest.mark.parametrize("version", KINDS)


def a_pool(resource: str) -> ResourcePool:
    nodes = ("/dev/vfio/1", "/dev/vfio/vfio")
    return ResourcePool(resource, tuple(PoolDevice(PciAddress.parse(text), numa_node=0, nodes=nodes) for text in IDS))


class Observer(RecordingObserver):
    """Tells when a list is handed to a stream."""

    def __init__(self) -> None:
        super().__init__()
        self.list_handed = asyncio.Event()

    def list_sending(self, pool: ResourcePool) -> None:
        super().list_sending(pool)
        self.list_handed.set()


class Plugin:
    """Endpoints that are told of the kubelet's comings and goings, as the daemon tells them."""

    def __init__(self, folder: Path, *resources: str, timing: Timing = HURRIED) -> None:
        self.folder = folder / "device-plugins"
        self.observer = Observer()
        self.read_by_another = asyncio.Event()
        self.feeds = {resource: Feed(a_pool(resource)) for resource in resources}
        self.endpoints = [Endpoint(feed, self.folder, self.observer, timing) for feed in self.feeds.values()]

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for endpoint in self.endpoints:
                tasks.create_task(endpoint.run(lambda: False))
            tasks.create_task(self._watch())

    async def _watch(self) -> None:
        async for event in watch(self.folder, period_s=0.005):
            for endpoint in self.endpoints:
                endpoint.kubelet_event(event)

    def listening(self) -> list[str]:
        """Return the names of the sockets in the folder that somebody listens at."""
        return [path.name for path in sorted(self.folder.glob("qatdp-*")) if accepts(path)]


def accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


@asynccontextmanager
async def a_plugin(folder: Path, *resources: str, timing: Timing = HURRIED) -> AsyncIterator[Plugin]:
    plugin = Plugin(folder, *resources, timing=timing)
    running = asyncio.create_task(plugin.run())
    try:
        async with asyncio.timeout(20):
            yield plugin
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert list(plugin.folder.glob("qatdp-*")) == []


def settled(kubelet: FakeKubelet, plugin: Plugin) -> Callable[[], bool]:
    """Return whether each resource has one stream, from the one socket there is, and the kubelet has its list."""

    def look() -> bool:
        streams = [socket for resource in plugin.feeds for socket in kubelet.streams(resource)]
        return (
            len(streams) == len(plugin.feeds)
            and sorted(streams) == plugin.listening() == sorted(path.name for path in plugin.folder.glob("qatdp-*"))
            and all(kubelet.offered(resource) == feed.value.healthy for resource, feed in plugin.feeds.items())
        )

    return look


def endpoints_used(kubelet: FakeKubelet, resource: str = CY) -> list[str]:
    return [request.endpoint for request in kubelet.registrations(resource)]


def registers_anew(version: str) -> int:
    """Return how many Registers it takes to be registered again with a kubelet that has registered a resource once: up
    to 1.36 the end of the old stream closes the new one."""
    return 2 if VERSIONS[version].plugins_by_path else 3


@EACH_KIND
@pytest.mark.parametrize("kubelet_first", [True, False])
async def test_it_registers_whoever_comes_first(folder: Path, version: str, *, kubelet_first: bool) -> None:
    kubelet = FakeKubelet(folder, version, dial_s=0.1)
    if kubelet_first:
        await kubelet.start()
    async with a_plugin(folder, CY, DC) as plugin:
        if not kubelet_first:
            assert plugin.listening() == []  # there is no folder yet
            await kubelet.start()
        await kubelet.until(settled(kubelet, plugin))
        assert len(endpoints_used(kubelet, CY)) == len(endpoints_used(kubelet, DC)) == 1
        assert all(endpoint.live for endpoint in plugin.endpoints)
    await kubelet.kill()


@EACH_KIND
async def test_it_registers_again_to_be_asked_before_starts_and_not_to_be_asked_no_more(
    folder: Path, version: str
) -> None:
    again = registers_anew(version)
    async with FakeKubelet(folder, version, dial_s=0.1) as kubelet, a_plugin(folder, CY, DC) as plugin:
        await kubelet.until(settled(kubelet, plugin))
        pool, pod = plugin.feeds[CY].value, Pod.of(cy=2)
        assert (await kubelet.admit(pod)).admitted
        plugin.feeds[CY].set(replace(pool, devices=tuple(replace(one, outdated=True) for one in pool.devices)))
        await kubelet.until(lambda: len(endpoints_used(kubelet)) == again and settled(kubelet, plugin)())
        with pytest.raises(RefusedError, match=r"PreStartContainer rpc failed .* another node than this pod was given"):
            await kubelet.options(pod)
        assert len(endpoints_used(kubelet, DC)) == 1
        plugin.feeds[CY].set(pool)
        await kubelet.until(settled(kubelet, plugin))
        assert (await kubelet.options(pod)).devices
        assert len(endpoints_used(kubelet)) == again
        await kubelet.restart(kill=True)
        await kubelet.until(lambda: len(endpoints_used(kubelet)) > again and settled(kubelet, plugin)())
        assert not kubelet.registrations(CY)[-1].options.pre_start_required


@EACH_KIND
@pytest.mark.parametrize("kill", [True, False])
async def test_it_registers_again_after_a_restart(folder: Path, version: str, *, kill: bool) -> None:
    async with FakeKubelet(folder, version, dial_s=0.1) as kubelet, a_plugin(folder, CY, DC) as plugin:
        for _ in range(3):
            await kubelet.until(settled(kubelet, plugin))
            await kubelet.restart(kill=kill)
        await kubelet.until(settled(kubelet, plugin))
        assert len(set(endpoints_used(kubelet))) == len(endpoints_used(kubelet))


@EACH_KIND
async def test_a_socket_made_anew_with_the_same_inode_number_is_registered_with(folder: Path, version: str) -> None:
    # On a kubelet that runs it is one Register too many.
    async with FakeKubelet(folder, version, dial_s=0.1) as kubelet, a_plugin(folder, CY) as plugin:
        await kubelet.until(settled(kubelet, plugin))
        (first,) = kubelet.streams(CY)
        offers = set()

        def done() -> bool:
            offers.add(kubelet.offered(CY))
            return len(endpoints_used(kubelet)) == registers_anew(version) and settled(kubelet, plugin)()

        (kubelet.plugins / "kubelet.sock").chmod(0o700)
        await kubelet.until(done)
        assert first not in kubelet.streams(CY)
        if VERSIONS[version].plugins_by_path:
            assert offers == {frozenset(IDS)}


async def test_after_a_take_over_the_list_is_sent_once_more(folder: Path) -> None:
    # A resource has one list, from whichever stream: the old one may have sent another after the new one's first.
    async with FakeKubelet(folder) as kubelet, a_plugin(folder, CY) as plugin:
        await kubelet.until(settled(kubelet, plugin))
        (kubelet.plugins / "kubelet.sock").chmod(0o700)
        # The lists: the first server's, the second's, and once more.
        await kubelet.until(lambda: len(kubelet.lists(CY)) == 3 and settled(kubelet, plugin)())


@EACH_KIND
async def test_a_folder_that_is_replaced_is_found(folder: Path, version: str) -> None:
    async with FakeKubelet(folder, version, dial_s=0.1) as kubelet, a_plugin(folder, CY) as plugin:
        await kubelet.until(settled(kubelet, plugin))
        await kubelet.kill()
        kubelet.plugins.rename(folder / "old")
        await kubelet.start()
        await kubelet.until(settled(kubelet, plugin))


@EACH_KIND
async def test_a_register_that_is_refused_is_tried_again_each_time_on_a_new_socket(folder: Path, version: str) -> None:
    async with FakeKubelet(folder, version, dial_s=0.1) as kubelet, a_plugin(folder, CY) as plugin:
        kubelet.refused[CY] = "not today"
        await kubelet.until(lambda: len(endpoints_used(kubelet)) >= 5)
        assert len(plugin.listening()) <= 1
        del kubelet.refused[CY]
        await kubelet.until(settled(kubelet, plugin))
        assert len(set(endpoints_used(kubelet))) == len(endpoints_used(kubelet))


async def test_tries_come_at_longer_and_longer_intervals(folder: Path) -> None:
    timing = replace(HURRIED, first_back_off_s=0.001, longest_back_off_s=1000)
    async with FakeKubelet(folder) as kubelet, a_plugin(folder, CY, timing=timing):
        kubelet.refused[CY] = "never"
        began_s = asyncio.get_running_loop().time()
        await kubelet.until(lambda: len(endpoints_used(kubelet)) >= 8)
        # 1 + 2 + ... + 64 ms, each taken half at least.
        assert asyncio.get_running_loop().time() - began_s > 0.127 / 2


@EACH_KIND
async def test_a_resource_that_fails_for_ever_does_not_keep_others_from_being_served(
    folder: Path, version: str
) -> None:
    async with FakeKubelet(folder, version, dial_s=0.1) as kubelet, a_plugin(folder, CY, DC) as plugin:
        kubelet.refused[DC] = "never"
        await kubelet.until(lambda: len(endpoints_used(kubelet, DC)) >= 5)
        assert (await kubelet.admit(Pod.of(cy=2))).ids == set(IDS)
        assert len(endpoints_used(kubelet, CY)) == 1
        await kubelet.restart(kill=True)
        await kubelet.offers(CY, IDS)
        await kubelet.until(lambda: len(plugin.listening()) <= 2)  # what was tried before leaves no server behind


@EACH_KIND
@pytest.mark.parametrize("call", [Call.REGISTER, Call.OPTIONS])
async def test_a_kubelet_that_never_answers_is_registered_with_after_its_restart(
    folder: Path, version: str, call: Call
) -> None:
    async with FakeKubelet(folder, version, dial_s=0.1) as kubelet, a_plugin(folder, CY, DC) as plugin:
        with kubelet.held(call, CY) as hold:
            await hold.reached()
            await kubelet.offers(DC, IDS)
            await kubelet.restart(kill=True)
        await kubelet.until(settled(kubelet, plugin))


@EACH_KIND
async def test_a_stream_that_does_not_come_is_given_up_and_does_no_harm_when_it_does(
    folder: Path, version: str
) -> None:
    async with FakeKubelet(folder, version, dial_s=0.1) as kubelet, a_plugin(folder, CY) as plugin:
        with kubelet.held(Call.LIST_AND_WATCH) as hold:
            await kubelet.until(lambda: len(endpoints_used(kubelet)) >= 3)
            assert len(plugin.listening()) <= 1
            assert hold.waiting >= 2
        await kubelet.until(settled(kubelet, plugin))


@EACH_KIND
async def test_a_stream_that_the_kubelet_closes_is_a_lost_registration(folder: Path, version: str) -> None:
    async with FakeKubelet(folder, version, dial_s=0.1) as kubelet, a_plugin(folder, CY, DC) as plugin:
        await kubelet.until(settled(kubelet, plugin))
        (first,) = kubelet.streams(CY)
        await kubelet.close_stream(CY)
        await kubelet.until(lambda: first not in kubelet.streams(CY) and settled(kubelet, plugin)())
        assert plugin.observer.cuts.count(CY) > plugin.observer.cuts.count(DC)
        assert len(endpoints_used(kubelet, DC)) == 1


async def read_by_another(plugin: Plugin, socket: str) -> grpc.StatusCode:
    """Open a stream as a debugging tool does, wait for its end, and return how it ended."""
    async with channel(plugin.folder / socket) as tool:
        stream = DevicePluginStub(tool).ListAndWatch(api.Empty())
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for _ in stream:
                plugin.read_by_another.set()
        return await stream.code()


@EACH_KIND
async def test_another_reader_is_refused_and_does_not_hide_the_end_of_the_kubelet_s_stream(
    folder: Path, version: str
) -> None:
    async with FakeKubelet(folder, version, dial_s=0.1) as kubelet, a_plugin(folder, CY) as plugin:
        await kubelet.until(settled(kubelet, plugin))
        (first,) = kubelet.streams(CY)
        with pytest.raises(TimeoutError):  # until no kubelet's stream can come any more
            await kubelet.until(lambda: len(endpoints_used(kubelet)) > 1, timeout_s=2 * HURRIED.stream_s)
        assert await read_by_another(plugin, first) is grpc.StatusCode.ABORTED
        assert kubelet.streams(CY) == [first]
        await kubelet.close_stream(CY)
        await kubelet.until(lambda: first not in kubelet.streams(CY) and settled(kubelet, plugin)())


@EACH_KIND
async def test_a_reader_that_comes_before_the_kubelet_does_not_take_its_place(folder: Path, version: str) -> None:
    async with FakeKubelet(folder, version, dial_s=0.1) as kubelet, a_plugin(folder, CY) as plugin:
        with kubelet.held(Call.REGISTER, most=1) as hold:
            await hold.reached()
            (first,) = plugin.listening()
            tool = asyncio.create_task(read_by_another(plugin, first))
            await plugin.read_by_another.wait()
        assert await tool is not grpc.StatusCode.OK
        await kubelet.until(lambda: first not in kubelet.streams(CY) and settled(kubelet, plugin)())
        assert len(endpoints_used(kubelet)) >= 2


@EACH_KIND
async def test_no_register_overtakes_the_one_before(folder: Path, version: str) -> None:
    # Up to 1.36 the kubelet would take the end of the server that registered last for the end of the resource, and
    # leave the stream of the newest open: the plugin would never know.
    async with FakeKubelet(folder, version, dial_s=0.1) as kubelet, a_plugin(folder, CY) as plugin:
        with kubelet.held(Call.LIST_AND_WATCH), kubelet.held(Call.REGISTER, most=1) as hold:
            await hold.reached()
            plugin.endpoints[0].handle(Event.OPTIONS_CHANGED)
            with pytest.raises(TimeoutError):
                await kubelet.until(lambda: len(endpoints_used(kubelet)) == 2, timeout_s=0.05)
        # Settled it is for a moment with the first one too, before the second try listens.
        await kubelet.until(lambda: len(endpoints_used(kubelet)) >= 2 and settled(kubelet, plugin)())


@EACH_KIND
async def test_a_kubelet_that_a_try_has_found_before_it_is_seen_is_registered_with_once(
    folder: Path, version: str
) -> None:
    async with FakeKubelet(folder, version) as kubelet, a_plugin(folder, CY) as plugin:
        await kubelet.until(settled(kubelet, plugin))
        (endpoint,) = plugin.endpoints
        used = endpoints_used(kubelet)
        for state in (State.REGISTERING, State.OUTRUN, State.REGISTERED, State.LIVE):
            endpoint.state = state
            endpoint.kubelet_event(Event.KUBELET_UP)
            assert endpoint.state is state
        assert endpoints_used(kubelet) == used
        await kubelet.restart(kill=True)
        await kubelet.until(lambda: endpoints_used(kubelet) != used and settled(kubelet, plugin)())


@EACH_KIND
async def test_a_kubelet_that_is_seen_while_a_register_is_under_way_is_registered_with_once(
    folder: Path, version: str
) -> None:
    async with FakeKubelet(folder, version) as kubelet, a_plugin(folder, CY) as plugin:
        (endpoint,) = plugin.endpoints
        with kubelet.held(Call.REGISTER) as hold:
            await hold.reached()
            endpoint.handle(Event.KUBELET_UP)
            assert endpoint.state is State.OUTRUN
        await kubelet.until(settled(kubelet, plugin))
        assert len(endpoints_used(kubelet)) == 1
        kubelet.refused[CY] = "for a while"
        with kubelet.held(Call.REGISTER) as hold:
            await kubelet.close_stream(CY)
            await hold.reached()
            endpoint.handle(Event.KUBELET_UP)
        await kubelet.until(lambda: len(endpoints_used(kubelet)) > 2)
        kubelet.refused.clear()
        await kubelet.until(settled(kubelet, plugin))


async def test_its_end_closes_everything_and_takes_the_sockets_away(folder: Path) -> None:
    async with FakeKubelet(folder) as kubelet:
        async with a_plugin(folder, CY, DC) as plugin:
            await kubelet.until(settled(kubelet, plugin))
        await kubelet.until(lambda: not kubelet.streams(CY) and not kubelet.streams(DC))
        assert [endpoint.state for endpoint in plugin.endpoints] == [State.CLOSED] * 2


async def test_allocate_in_flight_is_answered_before_its_server_stops(folder: Path) -> None:
    opened, read = {PciAddress.parse(IDS[0])}, asyncio.Event()

    def open_now(_: object) -> set[PciAddress]:
        read.set()
        return set(opened)

    async with FakeKubelet(folder) as kubelet, a_plugin(folder, CY) as plugin:
        (endpoint,) = plugin.endpoints
        endpoint._open_now = open_now  # before it serves
        await kubelet.until(settled(kubelet, plugin))
        (old,) = plugin.listening()
        async with channel(plugin.folder / old) as to_old:
            asked = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=IDS[:1])])
            call = DevicePluginStub(to_old).Allocate(asked)
            await read.wait()  # it waits for the device to be closed
            endpoint.handle(Event.KUBELET_UP)
            await kubelet.until(lambda: len(kubelet.registrations(CY)) == 2 and endpoint.live)
            opened.clear()
            assert (await call).container_responses[0].devices
        await kubelet.until(settled(kubelet, plugin))


@pytest.mark.parametrize("turns", range(6))
async def test_its_end_in_the_middle_of_a_take_over_leaves_no_server_behind(folder: Path, turns: int) -> None:
    async with FakeKubelet(folder) as kubelet, a_plugin(folder, CY) as plugin:
        await kubelet.until(settled(kubelet, plugin))
        (endpoint,) = plugin.endpoints
        endpoint.handle(Event.KUBELET_UP)
        plugin.observer.list_handed.clear()
        await plugin.observer.list_handed.wait()
        assert endpoint.live
        for _ in range(turns):  # of the loop, while the old server is being closed
            await asyncio.sleep(0)


@EACH_KIND
@pytest.mark.parametrize("seed", range(3))
async def test_it_comes_to_rest_whatever_has_happened(folder: Path, version: str, seed: int) -> None:
    chance = random.Random(f"{version} {seed}")
    async with FakeKubelet(folder, version, seed=seed, dial_s=0.1) as kubelet, a_plugin(folder, CY, DC) as plugin:
        for _ in range(12):
            match chance.randrange(6):
                case 0:
                    await kubelet.restart(kill=chance.random() < 0.5)
                case 1:
                    await kubelet.close_stream(chance.choice((CY, DC)))
                case 2:
                    kubelet.refused[CY] = "for a while"
                case 3:
                    (kubelet.plugins / "kubelet.sock").chmod(0o700)
                case 4:
                    with kubelet.held(chance.choice((Call.REGISTER, Call.OPTIONS, Call.LIST_AND_WATCH)), DC) as hold:
                        for event in (Event.KUBELET_UP, Event.OPTIONS_CHANGED):
                            plugin.endpoints[1].handle(event)
                        await hold.reached()
                case _:
                    plugin.feeds[DC].again()
            kubelet.refused.clear()
        await kubelet.until(settled(kubelet, plugin))
        assert kubelet.crashed() is None
