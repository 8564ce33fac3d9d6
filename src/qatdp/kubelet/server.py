"""ResourceServer: the five RPCs of one resource, and nothing else.

Every answer comes from memory: the ledger decides what is granted, the pool that was published last says what a
container gets. No lock, and no file but `enable` of what is asked for, a number in the kernel's memory. So a pod's
admission, which the kubelet serialises for the whole node, never waits for the machine; it waits a second at most for
somebody who still has its device open, and nobody else waits with it.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import grpc

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.api.deviceplugin_v1beta1_pb2_grpc import DevicePluginServicer
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.ranges import as_ranges
from qatdp.core.pools.allocation import Allocation, allocate, check_closed, check_start, functions_to_check, prefer
from qatdp.core.pools.bounds import MOST_CONTAINERS, check_bounds, first_of, most_ids
from qatdp.core.pools.pools import ResourcePool
from qatdp.core.text import printable
from qatdp.errors import AllocationError, RequestError
from qatdp.feed import Feed
from qatdp.kubelet.convert import to_allocation, to_list, to_preference
from qatdp.kubelet.meter import MetricsHook, NullMetrics
from qatdp.kubelet.observer import Observer

log = logging.getLogger(__name__)

# As gRPC has it by default, and enough: nor does the kubelet take a longer list of us, in which each ID with its health
# takes as much room as in both lists of a GetPreferredAllocation.
SERVER = (("grpc.max_receive_message_length", 4 << 20),)

ONE_READER = "a socket of qatdp has one reader, the kubelet; what is in its lists is told by: qatdp devices"

ListContext: TypeAlias = "grpc.aio.ServicerContext[api.Empty, AsyncIterator[api.ListAndWatchResponse]]"
AllocateContext: TypeAlias = "grpc.aio.ServicerContext[api.AllocateRequest, Awaitable[api.AllocateResponse]]"
StartContext: TypeAlias = (
    "grpc.aio.ServicerContext[api.PreStartContainerRequest, Awaitable[api.PreStartContainerResponse]]"
)
OpenNow: TypeAlias = Callable[[Collection[PciAddress]], Collection[PciAddress]]


# What an Allocate takes beside its wait for devices to be closed, on a machine that is busy.
ANSWER_S = 1.0


@dataclass(frozen=True, slots=True)
class CloseTiming:
    """Seconds: how long an Allocate waits for its devices to be closed, and between two reads meanwhile."""

    wait_s: float = 1.0
    read_s: float = 0.05


class ResourceServer(DevicePluginServicer):
    """Serves one feed. `on_opened` and `on_ended` are called when the kubelet opens its stream and when that ends.

    `on_opened` tells whether the stream is to be served; one that is not is refused, and its end is not told.
    `is_current` tells whether this server is the newest of its resource: only its lists are what the kubelet goes by.
    `open_now` returns those of some functions that somebody has open, at once.
    """

    def __init__(
        self,
        feed: Feed[ResourcePool],
        observer: Observer,
        *,
        on_opened: Callable[[], bool],
        on_ended: Callable[[], None],
        is_current: Callable[[], bool],
        options: api.DevicePluginOptions,
        open_now: OpenNow = lambda _: (),
        closing: CloseTiming = CloseTiming(),
        meter: MetricsHook | None = None,
    ) -> None:
        self._feed = feed
        self._observer = observer
        self._meter = meter or NullMetrics()
        self._on_opened, self._on_ended = on_opened, on_ended
        self._is_current, self._options = is_current, options
        self._open_now, self._closing = open_now, closing
        self._in_flight = 0  # calls
        self._answered = asyncio.Event()

    async def answered(self) -> bool:
        """Wait until no call is in flight, or for as long as an Allocate takes at most. Return whether one was."""
        if not self._in_flight:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._closing.wait_s + ANSWER_S):
                while self._in_flight:
                    self._answered.clear()
                    await self._answered.wait()
        return True

    async def GetDevicePluginOptions(self, request: api.Empty, context: object) -> api.DevicePluginOptions:
        return self._options

    async def ListAndWatch(self, request: api.Empty, context: ListContext) -> AsyncIterator[api.ListAndWatchResponse]:
        """Send the list, and again with each change, until the kubelet leaves. Each message replaces the list."""
        if not self._on_opened():
            await context.abort(grpc.StatusCode.ABORTED, ONE_READER)
        try:
            while True:
                pool, version = self._feed.value, self._feed.version
                self._observer.list_sending(pool)
                yield to_list(pool)  # comes back when the message has been written
                if self._is_current():
                    self._observer.list_sent(pool.resource, pool.revision)
                await self._feed.after(version)
        finally:
            self._on_ended()

    async def GetPreferredAllocation(
        self, request: api.PreferredAllocationRequest, context: object
    ) -> api.PreferredAllocationResponse:
        """Answer what to choose; an error would fail the pod, so there is none."""
        with self._call():
            return self._preferences(self._feed.value, request.container_requests)

    def _preferences(
        self, pool: ResourcePool, asked: Sequence[api.ContainerPreferredAllocationRequest]
    ) -> api.PreferredAllocationResponse:
        try:
            check_bounds(
                pool, len(asked), (len(one.available_deviceIDs) + len(one.must_include_deviceIDs) for one in asked)
            )
        except RequestError as error:
            return self._any_preference(pool, asked, error)
        named = set[str]().union(
            *(ids for one in asked for ids in (one.available_deviceIDs, one.must_include_deviceIDs))
        )
        self._observer.preference_requested(pool.resource, named)
        return api.PreferredAllocationResponse(
            container_responses=[
                to_preference(prefer(pool, one.available_deviceIDs, one.must_include_deviceIDs, one.allocation_size))
                for one in asked
            ]
        )

    def _any_preference(
        self, pool: ResourcePool, asked: Sequence[api.ContainerPreferredAllocationRequest], why: RequestError
    ) -> api.PreferredAllocationResponse:
        """Answer a call that asks too much, without looking at its IDs: any device may be about to be chosen.

        For containers that are left out of an answer the kubelet chooses freely.
        """
        log.warning("preference not computed resource=%s reason=%r", pool.resource, str(why))
        self._observer.preference_requested(pool.resource, [str(device.address) for device in pool.devices])
        most = most_ids(pool)
        answers = [
            to_preference(first_of(one.must_include_deviceIDs, one.available_deviceIDs, one.allocation_size, most))
            for one in asked[:MOST_CONTAINERS]
        ]
        return api.PreferredAllocationResponse(container_responses=answers)

    async def Allocate(self, request: api.AllocateRequest, context: AllocateContext) -> api.AllocateResponse:
        """Answer what the containers get; what cannot be given is said in words that the pod's owner reads."""
        with self._call() as began:
            return await self._allocate(request, context, began)

    @contextlib.contextmanager
    def _call(self) -> Iterator[int]:
        """Let the observer know that a call is in flight, however it ends; yield the moment at which it began."""
        began = self._observer.call_began()
        self._in_flight += 1
        try:
            yield began
        finally:
            self._in_flight -= 1
            self._answered.set()
            self._observer.call_ended(began)

    async def _allocate(
        self, request: api.AllocateRequest, context: AllocateContext, began: int
    ) -> api.AllocateResponse:
        resource, began_s = self._feed.value.resource, time.perf_counter()
        try:
            allocations = await self._allocations(request)
        except AllocationError as error:
            self._meter.allocate_answered(resource, time.perf_counter() - began_s, granted=False)
            log.warning("allocate refused resource=%s reason=%s message=%r", resource, error.reason, str(error))
            await context.abort(grpc.StatusCode[error.grpc_code], printable(str(error)))
        devices = sorted({address for allocation in allocations for address in allocation.devices})
        self._observer.allocated(resource, [str(address) for address in devices], began)
        log.info("allocated resource=%s devices=%s", resource, as_ranges(devices))
        answer = api.AllocateResponse(container_responses=[to_allocation(allocation) for allocation in allocations])
        self._meter.allocate_answered(resource, time.perf_counter() - began_s, granted=True)
        return answer

    async def _allocations(self, request: api.AllocateRequest) -> Sequence[Allocation]:
        """Return what the containers get, by the pool of the moment at which this returns. Raises AllocationError.

        An open device may be that of a pod which is just ending, so its close is waited for. The kubelet admits no
        other pod meanwhile; once it gives the call up, this is cancelled.
        """
        allocations = self._at_once(request)
        if not self._opened(allocations):
            return allocations
        resource = self._feed.value.resource
        devices = sorted({address for allocation in allocations for address in allocation.devices})
        ids = [str(address) for address in devices]
        log.info("allocate waits for a device to be closed resource=%s devices=%s", resource, as_ranges(devices))
        self._observer.wait_began(resource, ids)
        try:
            await self._closed(allocations)
        finally:
            self._observer.wait_ended(resource, ids)
        allocations = self._at_once(request)
        opened = self._opened(allocations)
        for allocation in allocations:
            check_closed(self._feed.value, allocation, opened)
        return allocations

    def _at_once(self, request: api.AllocateRequest) -> Sequence[Allocation]:
        pool, asked = self._feed.value, request.container_requests
        check_bounds(pool, len(asked), (len(one.devices_ids) for one in asked))
        step_of = partial(self._observer.step_of, pool.resource)
        return [allocate(pool, one.devices_ids, step_of) for one in asked]

    def _opened(self, allocations: Iterable[Allocation]) -> Collection[PciAddress]:
        return self._open_now([function for allocation in allocations for function in allocation.functions])

    async def _closed(self, allocations: Iterable[Allocation]) -> None:
        """Return once all is closed, or after the longest time that this is waited for."""
        for _ in range(round(self._closing.wait_s / self._closing.read_s)):
            await asyncio.sleep(self._closing.read_s)
            if not self._opened(allocations):
                return

    async def PreStartContainer(
        self, request: api.PreStartContainerRequest, context: StartContext
    ) -> api.PreStartContainerResponse:
        """Let a container start unless its stored nodes belong to another VF, or another pod has its VF open.

        Asked for while there is such a device. The kubelet tries a start that was refused again, for ever.
        """
        pool = self._feed.value
        try:
            check_bounds(pool, 1, (len(request.devices_ids),))
            ids = set(request.devices_ids)
            check_start(pool, ids, self._open_now(functions_to_check(pool, ids)))
        except AllocationError as error:
            log.warning("start refused resource=%s reason=%s message=%r", pool.resource, error.reason, str(error))
            await context.abort(grpc.StatusCode[error.grpc_code], printable(str(error)))
        return api.PreStartContainerResponse()
