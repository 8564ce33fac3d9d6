"""The five calls of one resource, over a real socket: each answer comes from the pool of the last list."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.observer import RecordingObserver

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.api.deviceplugin_v1beta1_pb2_grpc import DevicePluginStub, add_DevicePluginServicer_to_server
from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.bounds import MOST_CONTAINERS, most_ids
from qatdp.core.pools.pools import PoolDevice, ResourcePool
from qatdp.core.reasons import Reason, defect
from qatdp.feed import Feed
from qatdp.kubelet.channel import channel
from qatdp.kubelet.server import CloseTiming, ResourceServer

if TYPE_CHECKING:
    from qatdp.api.deviceplugin_v1beta1_pb2_grpc import DevicePluginAsyncStub

Stub: TypeAlias = "DevicePluginAsyncStub"

CY = "qat.intel.com/cy"
VFS = tuple(map(PciAddress.parse, ("0000:6b:00.1", "0000:6b:00.2", "0000:6b:00.3", "0000:70:00.1")))
DEVICES = tuple(
    PoolDevice(
        at, pf=PciAddress(0, at.bus, 0, 0), numa_node=0, nodes=(f"/dev/vfio/{n}", "/dev/vfio/vfio"), functions=(at,)
    )
    for n, at in enumerate(VFS)
)
POOL = ResourcePool(CY, DEVICES)
IDS = tuple(map(str, VFS))
OPTIONS = api.DevicePluginOptions(pre_start_required=True)


@dataclass
class Served:
    """A server of a pool, a kubelet's stub for it, and what was told to whom."""

    feed: Feed[ResourcePool]
    observer: RecordingObserver
    kubelet: Stub
    opened: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    is_current: bool = True
    refuses: bool = False
    functions: set[PciAddress] = field(default_factory=set)  # that somebody has open

    def on_opened(self) -> bool:
        self.opened += 1
        return not self.refuses

    async def allocate(self, *containers: tuple[str, ...]) -> api.AllocateResponse:
        requests = [api.ContainerAllocateRequest(devices_ids=ids) for ids in containers]
        return await self.kubelet.Allocate(api.AllocateRequest(container_requests=requests))


@pytest.fixture
async def served(folder: Path) -> AsyncIterator[Served]:
    async with channel(folder / "cy.sock") as to_server:
        served = Served(Feed(POOL), RecordingObserver(), DevicePluginStub(to_server))
        service = ResourceServer(
            served.feed,
            served.observer,
            on_opened=served.on_opened,
            on_ended=served.ended.set,
            is_current=lambda: served.is_current,
            options=OPTIONS,
            open_now=served.functions.intersection,
            closing=CloseTiming(wait_s=0.2, read_s=0.01),
        )
        server = grpc.aio.server()
        add_DevicePluginServicer_to_server(service, server)
        server.add_insecure_port(f"unix:{folder}/cy.sock")
        await server.start()
        async with asyncio.timeout(20):
            yield served
        await server.stop(None)


def health(answer: api.ListAndWatchResponse) -> dict[str, str]:
    return {device.ID: device.health for device in answer.devices}


async def test_its_options_are_those_that_it_is_registered_with(served: Served) -> None:
    assert await served.kubelet.GetDevicePluginOptions(api.Empty()) == OPTIONS


async def test_a_start_is_refused_in_words_where_what_was_given_is_outdated(served: Served) -> None:
    request = api.PreStartContainerRequest(devices_ids=IDS[:2])
    assert await served.kubelet.PreStartContainer(request) == api.PreStartContainerResponse()
    served.feed.set(replace(POOL, devices=(DEVICES[0], replace(DEVICES[1], outdated=True), *DEVICES[2:])))
    with pytest.raises(grpc.aio.AioRpcError, match="another node than this pod was given") as refused:
        await served.kubelet.PreStartContainer(request)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "delete the pod" in (refused.value.details() or "")
    await served.kubelet.PreStartContainer(api.PreStartContainerRequest(devices_ids=IDS[2:]))


async def test_the_list_is_sent_at_once_and_with_each_change(served: Served) -> None:
    stream = aiter(served.kubelet.ListAndWatch(api.Empty()))
    assert health(await anext(stream)) == dict.fromkeys(IDS, "Healthy")
    served.feed.set(replace(POOL, devices=DEVICES[:1]))
    assert health(await anext(stream)) == {IDS[0]: "Healthy"}
    served.feed.again()
    assert health(await anext(stream)) == {IDS[0]: "Healthy"}


async def test_a_kubelet_that_is_slow_gets_the_newest_list(served: Served) -> None:
    stream = aiter(served.kubelet.ListAndWatch(api.Empty()))
    await anext(stream)
    for count in (3, 2, 1):
        served.feed.set(replace(POOL, devices=DEVICES[:count]))
    assert len((await anext(stream)).devices) == 1


async def test_a_pool_that_did_not_change_is_not_sent_again(served: Served) -> None:
    stream = aiter(served.kubelet.ListAndWatch(api.Empty()))
    await anext(stream)
    served.feed.set(replace(POOL))
    served.feed.replace(replace(POOL, devices=(replace(DEVICES[0], cordoned=True), *DEVICES[1:])))
    following = asyncio.ensure_future(anext(stream))
    await served.kubelet.GetDevicePluginOptions(api.Empty())
    assert not following.done()
    served.feed.set(ResourcePool(CY))
    assert health(await following) == {}


async def test_the_beginning_and_the_end_of_a_stream_are_told(served: Served) -> None:
    call = served.kubelet.ListAndWatch(api.Empty())
    await anext(aiter(call))
    assert served.opened == 1
    assert not served.ended.is_set()
    call.cancel()
    await served.ended.wait()
    assert served.opened == 1


async def test_a_stream_that_is_not_wanted_is_refused_with_the_reason_and_its_end_is_not_told(served: Served) -> None:
    served.refuses = True
    with pytest.raises(grpc.aio.AioRpcError, match="ABORTED") as raised:
        await anext(aiter(served.kubelet.ListAndWatch(api.Empty())))
    assert "has one reader, the kubelet" in (raised.value.details() or "")
    assert served.opened == 1
    assert not served.ended.is_set()
    assert served.observer.lists == []


async def test_list_sent_has_the_revision_of_the_pool_that_was_written(served: Served) -> None:
    served.feed.replace(replace(POOL, revision=1))
    stream = aiter(served.kubelet.ListAndWatch(api.Empty()))
    await anext(stream)
    served.feed.replace(replace(POOL, revision=5))  # while the first is on its way
    served.feed.again()
    await anext(stream)
    served.feed.again()
    await anext(stream)  # so that the second is certainly reported now
    assert served.observer.lists[:2] == [(CY, 1), (CY, 5)]


async def test_the_lists_of_a_server_that_is_not_the_newest_are_not_told(served: Served) -> None:
    served.is_current = False
    stream = aiter(served.kubelet.ListAndWatch(api.Empty()))
    await anext(stream)
    served.feed.again()
    await anext(stream)
    assert served.observer.lists == []


async def test_allocate_gives_nodes_and_environment_and_tells_who_got_what(served: Served) -> None:
    (answer,) = (await served.allocate((IDS[3], IDS[0]))).container_responses
    assert [spec.host_path for spec in answer.devices] == ["/dev/vfio/0", "/dev/vfio/3", "/dev/vfio/vfio"]
    assert dict(answer.envs) == {
        "PCIDEVICE_QAT_INTEL_COM_CY": f"{IDS[0]},{IDS[3]}",
        "PCI_RESOURCE_QAT_INTEL_COM_CY": f"{IDS[0]},{IDS[3]}",
        f"QAT{VFS[0].number}": IDS[0],
        f"QAT{VFS[3].number}": IDS[3],
    }
    assert served.observer.allocations == [(CY, (IDS[0], IDS[3]))]


async def test_allocate_gives_the_same_answer_each_time_in_whatever_order_it_is_asked(served: Served) -> None:
    answers = [await served.allocate(ids) for ids in ((IDS[0], IDS[1]), (IDS[1], IDS[0]), (IDS[0], IDS[1]))]
    assert answers[0] == answers[1] == answers[2]


async def test_allocate_answers_each_container_of_a_request(served: Served) -> None:
    answer = await served.allocate((IDS[0],), (IDS[1],), ())
    assert [len(one.devices) for one in answer.container_responses] == [2, 2, 0]


@pytest.mark.parametrize(
    ("ids", "code", "text"),
    [
        ((IDS[0], "0000:99:00.1"), "NOT_FOUND", "0000:99:00.1 is not a device of qat.intel.com/cy"),
        (("nonsense",), "NOT_FOUND", "nonsense is not a device of qat.intel.com/cy"),
        ((IDS[1],), "FAILED_PRECONDITION", "0000:6b:00.2 of qat.intel.com/cy cannot be used: is not there"),
    ],
)
async def test_allocate_says_why_not_and_tells_nobody_that_something_was_given(
    served: Served, ids: tuple[str, ...], code: str, text: str
) -> None:
    sick = replace(DEVICES[1], vf_defect=defect(Reason.NOT_PRESENT))
    served.feed.set(replace(POOL, devices=(DEVICES[0], sick)))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await served.allocate((IDS[0],), ids)
    assert raised.value.code().name == code
    assert text in (raised.value.details() or "")
    assert served.observer.allocations == []


async def test_allocate_grants_what_is_being_withdrawn(served: Served) -> None:
    served.feed.set(replace(POOL, devices=(replace(DEVICES[0], withdrawn=True),)))
    assert (await served.allocate((IDS[0],))).container_responses[0].devices
    assert served.observer.allocations == [(CY, (IDS[0],))]


# Devices that somebody has open


def waiting_for(served: Served, text: str) -> "asyncio.Task[api.AllocateResponse]":
    """Begin an Allocate of a device that somebody has open."""
    served.functions.add(PciAddress.parse(text))
    return asyncio.create_task(served.allocate((text,)))


async def test_allocate_of_closed_device_waits_for_nothing(served: Served) -> None:
    served.functions.add(VFS[1])
    await served.allocate((IDS[0], IDS[2]))
    assert served.observer.waits == 0


async def test_allocate_refuses_device_that_stays_open(served: Served) -> None:
    served.functions.add(VFS[1])
    with pytest.raises(grpc.aio.AioRpcError, match=r"0000:6b:00\.2 of qat\.intel\.com/cy is open") as refused:
        await served.allocate((IDS[0], IDS[1]))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert served.observer.allocations == []
    assert (served.observer.waits, served.observer.waiting) == (1, [])


async def test_allocate_is_granted_once_device_is_closed(served: Served) -> None:
    allocate = waiting_for(served, IDS[1])
    await served.observer.until(lambda: served.observer.waiting == [(CY, (IDS[1],))])
    await served.kubelet.GetDevicePluginOptions(api.Empty())  # nobody else waits with it
    assert served.observer.allocations == []
    served.functions.clear()
    assert (await allocate).container_responses[0].devices
    assert served.observer.allocations == [(CY, (IDS[1],))]
    assert served.observer.waiting == []


async def test_allocate_after_wait_goes_by_pool_of_that_moment(served: Served) -> None:
    allocate = waiting_for(served, IDS[1])
    await served.observer.until(lambda: bool(served.observer.waiting))
    served.feed.set(replace(POOL, devices=DEVICES[2:]))
    served.functions.clear()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await allocate
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert served.observer.waiting == []


async def test_allocate_that_kubelet_gives_up_waits_no_more(served: Served) -> None:
    allocate = waiting_for(served, IDS[1])
    await served.observer.until(lambda: bool(served.observer.waiting))
    allocate.cancel()
    await served.observer.until(lambda: not served.observer.waiting)
    served.functions.clear()
    await served.kubelet.GetDevicePluginOptions(api.Empty())
    assert served.observer.allocations == []


async def test_allocate_names_open_function_of_the_group(served: Served) -> None:
    card = PciAddress.parse("0000:01:00.0")
    served.feed.set(replace(POOL, devices=(replace(DEVICES[0], functions=(card, VFS[0])), *DEVICES[1:])))
    served.functions.add(card)
    with pytest.raises(grpc.aio.AioRpcError, match=r"0000:01:00\.0, in the IOMMU group of a device"):
        await served.allocate((IDS[0],))


async def test_start_is_refused_while_other_pod_has_shared_device(served: Served) -> None:
    served.feed.set(replace(POOL, devices=(replace(DEVICES[0], shared=True), *DEVICES[1:])))
    request = api.PreStartContainerRequest(devices_ids=IDS[:1])
    await served.kubelet.PreStartContainer(request)
    served.functions.update(VFS)
    with pytest.raises(grpc.aio.AioRpcError, match=r"0000:6b:00\.1 of qat\.intel\.com/cy is open") as refused:
        await served.kubelet.PreStartContainer(request)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    await served.kubelet.PreStartContainer(api.PreStartContainerRequest(devices_ids=IDS[1:]))
    served.functions.clear()
    await served.kubelet.PreStartContainer(request)


async def prefer(served: Served, available: list[str], must: list[str], size: int) -> list[str]:
    one = api.ContainerPreferredAllocationRequest(
        available_deviceIDs=available, must_include_deviceIDs=must, allocation_size=size
    )
    request = api.PreferredAllocationRequest(container_requests=[one])
    (answer,) = (await served.kubelet.GetPreferredAllocation(request)).container_responses
    return list(answer.deviceIDs)


async def test_a_preference_has_the_size_and_what_must_be_included_and_is_told(served: Served) -> None:
    assert await prefer(served, list(IDS), [IDS[2]], 2) == [IDS[2], IDS[0]]
    ((resource, asked),) = served.observer.questions
    assert (resource, set(asked)) == (CY, set(IDS))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    available=st.lists(st.sampled_from([*IDS, "0000:99:00.1", "nonsense", ""])),
    must=st.lists(st.sampled_from([*IDS, "nonsense"]), max_size=3),
    size=st.integers(-(2**31), 2**31 - 1) | st.integers(0, 5),
)
async def test_a_preference_is_answered_whatever_is_asked(
    served: Served, available: list[str], must: list[str], size: int
) -> None:
    answer = await prefer(served, available, must, size)
    assert set(must) <= set(answer) <= {*available, *must}
    assert len(answer) == len(set(answer)) == max(len(set(must)), min(size, len({*available, *must})))


MANY = [
    f"{n >> 16 & 0xFFFF:04x}:{n >> 8 & 0xFF:02x}:{n >> 3 & 0x1F:02x}.{n & 7}" for n in range(2**20, 2**20 + 200_000)
]


async def refused(call: Awaitable[object]) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code().name, raised.value.details() or ""


async def test_allocate_refuses_more_than_a_kubelet_asks_for(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    code, text = await refused(served.allocate(*[()] * 100_000))
    assert code == "INVALID_ARGUMENT" and "100000 containers" in text and len(text) < 200
    code, text = await refused(served.allocate(tuple(MANY[:100_000])))
    assert code == "INVALID_ARGUMENT" and "100000 IDs" in text and len(text) < 200
    assert served.observer.allocations == []
    assert [line.partition(" resource=")[0] for line in caplog.messages] == ["allocate refused"] * 2
    assert (await served.allocate(IDS[:1])).container_responses[0].devices


async def test_a_start_is_refused_that_names_more_than_a_kubelet(served: Served) -> None:
    request = api.PreStartContainerRequest(devices_ids=MANY)
    code, text = await refused(served.kubelet.PreStartContainer(request))
    assert code == "INVALID_ARGUMENT" and len(text) < 200


async def test_allocate_cuts_ids_in_its_errors(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    code, text = await refused(served.allocate(("x" * 1_000_000,)))
    assert code == "NOT_FOUND" and text.startswith("x" * 100 + "... (1000000 letters)") and len(text) < 250
    assert all(len(line) < 300 for line in caplog.messages)


async def test_allocate_of_several_is_told_and_logged_once(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "qatdp")
    await served.allocate((IDS[3], IDS[0]), (IDS[1],), ())
    assert served.observer.allocations == [(CY, (IDS[0], IDS[1], IDS[3]))]
    assert [line for line in caplog.messages if line.startswith("allocated")] == [
        f"allocated resource={CY} devices=0000:6b:00.1-0000:6b:00.2 (2),0000:70:00.1"
    ]


async def test_a_preference_among_too_many_is_legal_all_the_same(served: Served) -> None:
    assert await prefer(served, [*MANY, IDS[1]], [IDS[2]], 3) == [IDS[2], *MANY[:2]]
    answer = await prefer(served, MANY, [], 2**31 - 1)
    assert 0 < len(answer) <= most_ids(POOL) and len(set(answer)) == len(answer)
    assert await prefer(served, MANY, [], -1) == []
    # Nobody has looked at which they were: each that we have may be about to be chosen.
    assert served.observer.questions == [(CY, IDS)] * 3


async def test_a_preference_for_too_many_containers_is_no_error(served: Served) -> None:
    ones = [api.ContainerPreferredAllocationRequest(available_deviceIDs=IDS, allocation_size=1)] * 20_000
    answer = await served.kubelet.GetPreferredAllocation(api.PreferredAllocationRequest(container_requests=ones))
    assert len(answer.container_responses) <= MOST_CONTAINERS
    assert list(answer.container_responses[0].deviceIDs) == [IDS[0]]


async def test_each_container_of_a_preference_is_answered(served: Served) -> None:
    ones = [api.ContainerPreferredAllocationRequest(available_deviceIDs=IDS, allocation_size=n) for n in (1, 3)]
    answer = await served.kubelet.GetPreferredAllocation(api.PreferredAllocationRequest(container_requests=ones))
    assert [len(one.deviceIDs) for one in answer.container_responses] == [1, 3]
    assert await served.kubelet.GetPreferredAllocation(api.PreferredAllocationRequest()) == (
        api.PreferredAllocationResponse()
    )


async def test_each_call_is_told_from_its_begin_to_its_end(served: Served) -> None:
    await served.allocate((IDS[0],))
    await served.kubelet.GetPreferredAllocation(api.PreferredAllocationRequest())
    (_, first), _, (_, second), _ = served.observer.calls
    assert served.observer.calls == [("began", first), ("ended", first), ("began", second), ("ended", second)]
    assert served.observer.allocations == [(CY, (IDS[0],))]


async def test_call_that_is_refused_is_told_to_its_end(served: Served) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await served.allocate(("0000:99:00.1",))
    # The caller has the refusal before the server's coroutine ends.
    await served.observer.until(lambda: [what for what, _ in served.observer.calls] == ["began", "ended"])
