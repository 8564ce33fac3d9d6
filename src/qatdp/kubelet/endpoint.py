"""Endpoint: carries out the life of one resource with the kubelet, as kubelet/lifecycle.py decides it."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import grpc

from qatdp.api.deviceplugin_v1beta1_pb2_grpc import add_DevicePluginServicer_to_server
from qatdp.core.pools.pools import ResourcePool
from qatdp.descriptors import check_room
from qatdp.feed import Feed
from qatdp.kubelet.convert import to_options
from qatdp.kubelet.lifecycle import Command, Event, State, react
from qatdp.kubelet.meter import MetricsHook, NullMetrics
from qatdp.kubelet.observer import Observer
from qatdp.kubelet.registration import describe, new_socket_name, register
from qatdp.kubelet.server import SERVER, CloseTiming, OpenNow, ResourceServer
from qatdp.kubelet.watch import Identity, identity

log = logging.getLogger(__name__)

WITH_KUBELET = frozenset({State.REGISTERING, State.OUTRUN, State.REGISTERED, State.LIVE})


# What the last answer of a server takes on its way. Streams, which do not end by themselves, are cut after it.
WRITE_S = 0.1


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: what a stream may take after Register was answered, how long it has to last to be relied on, and the
    first and longest time between tries."""

    stream_s: float = 10.0
    proof_s: float = 5.0
    first_back_off_s: float = 0.5
    longest_back_off_s: float = 30.0


@dataclass(slots=True)
class _Listener:
    """One server on one socket. `due_s`: by when, in the loop's time, the kubelet opens its stream; None: not known."""

    number: int
    name: str
    server: grpc.aio.Server
    service: ResourceServer
    has_stream: bool = False
    due_s: float | None = None


class Endpoint:
    """One resource's endpoint. `run` it as a task, and tell it of the kubelet's comings and goings by `handle`."""

    def __init__(
        self,
        feed: Feed[ResourcePool],
        folder: Path,
        observer: Observer,
        timing: Timing = Timing(),
        meter: MetricsHook | None = None,
        *,
        open_now: OpenNow = lambda _: (),
        closing: CloseTiming | None = None,
    ) -> None:
        self.resource = feed.value.resource
        self.state = State.ABSENT
        self._feed, self._folder, self._observer, self._timing = feed, folder, observer, timing
        self._meter = meter or NullMetrics()
        self._open_now, self._closing = open_now, closing or CloseTiming()
        self._listeners: list[_Listener] = []
        self._number = 0
        self._tries = 0
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[None] | None = None
        self._kubelet: Identity = None  # with which the newest server is registered, as of its last sign of life
        self._options = to_options(feed.value)  # and by which options

    @property
    def live(self) -> bool:
        return self.state is State.LIVE

    async def run(self, kubelet_is_up: Callable[[], bool]) -> None:
        """Live until cancelled; raises what a task of it has raised. All servers are closed at the end."""
        self._failure = asyncio.get_running_loop().create_future()
        self.state = State.ABSENT
        if kubelet_is_up():
            self.handle(Event.KUBELET_UP)
        following = self._spawn(self._follow_options())
        try:
            await self._failure
        finally:
            following.cancel()
            # Not the tasks that shut servers: one that is cancelled leaves a server that cannot be stopped any more.
            for task in self._under_way:
                task.cancel()
            self.handle(Event.STOP)
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow_options(self) -> None:
        """Register again when the kubelet has to ask before it starts containers.

        That it no longer has to can wait for the next Register: up to 1.36 each one costs a moment in which pods are
        refused.
        """
        while True:
            version = self._feed.version
            if to_options(self._feed.value).pre_start_required and not self._options.pre_start_required:
                self.handle(Event.OPTIONS_CHANGED)
            await self._feed.after(version)

    def kubelet_event(self, event: Event) -> None:
        """Take what the watch has seen of the kubelet. It can be late: a try may have found that kubelet before.

        To register with it once more would cost a moment without devices, up to 1.36 (kubelet/lifecycle.py).
        """
        known = self._kubelet is not None and self._kubelet == identity(self._folder)
        if not (event is Event.KUBELET_UP and self.state in WITH_KUBELET and known):
            self.handle(event)

    def handle(self, event: Event) -> None:
        """Take an event, and do what the table says."""
        try:
            self._handle(event)
        except Exception as error:
            if not self._failure or self._failure.done():
                raise
            self._failure.set_exception(error)  # `run` raises it, and whoever runs it begins again

    def _handle(self, event: Event) -> None:
        before = self.state
        self.state, commands = react(self.state, event)
        if self.state is not before:
            log.debug("endpoint resource=%s event=%s state=%s", self.resource, event, self.state)
        for command in commands:
            self._commands[command](self)

    # Streams: of the newest listener's alone their beginning and end are events.

    def _stream_opened(self, listener: _Listener) -> bool:
        """Return whether to serve a stream: a listener's first, as what is written to it was written to the kubelet.

        The kubelet opens one a Register. Whoever else reads can have come before it, and nothing tells the two apart:
        a second one that comes while the kubelet's may still be due makes the resource begin again on another socket.
        """
        if listener.has_stream:
            if listener.number == self._number and not self._is_over(listener.due_s):
                log.warning("second ListAndWatch stream, one of them is not the kubelet resource=%s", self.resource)
                self._lost_stream()
            return False
        listener.has_stream = True
        if listener.number == self._number:
            log.info("registered resource=%s socket=%s", self.resource, listener.name)
            self._kubelet = identity(self._folder)
            self.handle(Event.STREAM_OPENED)
        return True

    def _stream_ended(self, listener: _Listener) -> None:
        if listener.number == self._number:
            log.warning("kubelet closed its stream resource=%s", self.resource)
            self._lost_stream()

    def _lost_stream(self) -> None:
        self._observer.stream_lost(self.resource)
        self.handle(Event.STREAM_ENDED)

    def _is_over(self, due_s: float | None) -> bool:
        return due_s is not None and due_s <= asyncio.get_running_loop().time()

    # Commands

    def _register(self) -> None:
        self._number += 1
        self._disarm()
        self._observer.stream_lost(self.resource)
        self._options = to_options(self._feed.value)
        task = self._spawn(self._try(self._number, tuple(self._under_way)))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _try(self, number: int, before: Collection[asyncio.Task[None]]) -> None:
        """Serve on a new socket, then register it: the kubelet dials back before it answers.

        Not while a try before is under way: each has a connection of its own, so that its Register could come in last.
        Up to 1.36 the kubelet then takes the end of that older server for the end of this one, and tells nobody.
        """
        if before:
            await asyncio.wait(before)
        if number != self._number:
            return
        name = new_socket_name(self.resource, self._folder)
        try:
            listener = await self._listen(number, name)
            self._kubelet = identity(self._folder)
            await register(self._folder, name, self.resource, self._options)
        except (grpc.aio.AioRpcError, RuntimeError, OSError) as error:
            self._meter.register_answered(self.resource, taken=False)
            if number == self._number and self.state in (State.REGISTERING, State.OUTRUN):
                text = describe(error) if isinstance(error, grpc.aio.AioRpcError) else str(error)
                log.warning("not registered resource=%s reason=%r", self.resource, text)
                self.handle(Event.REFUSED)
            return
        self._meter.register_answered(self.resource, taken=True)
        listener.due_s = asyncio.get_running_loop().time() + self._timing.stream_s
        if number == self._number:
            self._kubelet = identity(self._folder)
            self.handle(Event.REGISTERED)

    async def _listen(self, number: int, name: str) -> _Listener:
        check_room()
        server = grpc.aio.server(options=SERVER)
        service = ResourceServer(
            self._feed,
            self._observer,
            on_opened=lambda: self._stream_opened(listener),
            on_ended=lambda: self._stream_ended(listener),
            is_current=lambda: number == self._number,
            options=self._options,
            open_now=self._open_now,
            closing=self._closing,
            meter=self._meter,
        )
        listener = _Listener(number, name, server, service)
        add_DevicePluginServicer_to_server(service, server)
        server.add_insecure_port(f"unix:{self._folder / name}")  # RuntimeError where it cannot
        self._listeners.append(listener)
        await server.start()
        return listener

    def _retire(self) -> None:
        old = [listener for listener in self._listeners if listener.number != self._number]
        self._disarm()
        if old:
            self._spawn(self._shut(old, send_again=True))

    def _close(self) -> None:
        self._number += 1  # whatever these servers still tell is of the past
        self._disarm()
        self._observer.stream_lost(self.resource)
        self._spawn(self._shut(list(self._listeners), send_again=False))

    async def _shut(self, listeners: list[_Listener], *, send_again: bool) -> None:
        self._listeners = [listener for listener in self._listeners if listener not in listeners]
        await asyncio.gather(*(_stop(listener) for listener in listeners))
        for listener in listeners:
            with contextlib.suppress(OSError):
                (self._folder / listener.name).unlink()
        if send_again:
            self._feed.again()

    def _wait_for_stream(self) -> None:
        self._arm(self._timing.stream_s)

    def _back_off(self) -> None:
        longest = min(self._timing.first_back_off_s * 2**self._tries, self._timing.longest_back_off_s)
        self._tries = min(self._tries + 1, 20)
        self._arm(longest * random.uniform(0.5, 1.0))

    def _prove(self) -> None:
        self._arm(self._timing.proof_s)

    def _settled(self) -> None:
        self._tries = 0

    _commands: ClassVar[Mapping[Command, Callable[["Endpoint"], None]]] = {
        Command.REGISTER: _register,
        Command.RETIRE: _retire,
        Command.CLOSE: _close,
        Command.WAIT_FOR_STREAM: _wait_for_stream,
        Command.BACK_OFF: _back_off,
        Command.PROVE: _prove,
        Command.SETTLED: _settled,
    }

    # Timer and tasks

    def _arm(self, delay_s: float) -> None:
        self._disarm()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self.handle, Event.TIMER)

    def _disarm(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error and self._failure and not self._failure.done():
            self._failure.set_exception(error)


async def _stop(listener: _Listener) -> None:
    """Stop a server once its calls are answered: an Allocate that is cut off refuses a pod for nothing."""
    was_busy = await listener.service.answered()
    await listener.server.stop(grace=WRITE_S if was_busy else None)
