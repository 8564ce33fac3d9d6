"""FakeKubelet: what tests hold. It outlives the kubelets that it starts, and remembers what passed between them all."""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

import grpc
from google.protobuf.message import Message

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.simulator.kubelet import checkpoint
from qatdp.simulator.kubelet.answers import (
    Admission,
    Capacity,
    Change,
    Counts,
    KubeletEndedError,
    PodLike,
    Ready,
    RefusedError,
    RunOptions,
)
from qatdp.simulator.kubelet.holds import Call, Hold, Holds
from qatdp.simulator.kubelet.ledger import HEALTHY
from qatdp.simulator.kubelet.life import Life
from qatdp.simulator.kubelet.setting import History, Passage, Setting
from qatdp.simulator.kubelet.versions import VERSIONS

TIMEOUT_S = 10.0


class FakeKubelet:
    """A kubelet below `folder`, which may be ended and started again; a context manager that leaves none behind.

    `folder` has to be a short one: paths of sockets hold 107 bytes. `seed` decides what the kubelet leaves to chance.
    `dial_s` is how long it tries to reach a plugin that registers, `stop_grace_s` how long the capacity of a resource
    outlives its plugin. What is asked of it while it does not run raises KubeletEndedError.
    """

    def __init__(
        self,
        folder: Path,
        version: str = "1.37",
        *,
        seed: int = 0,
        dial_s: float = 10.0,
        stop_grace_s: float = 300.0,
    ) -> None:
        self.folder, self.version = folder, version
        self.plugins = folder / "device-plugins"
        history = History()
        self._setting = Setting(
            self.plugins,
            VERSIONS[version],
            random.Random(seed),
            dial_s,
            stop_grace_s,
            history,
            Holds(history.changed),
        )
        self.refused = self._setting.refused  # texts by resource: such a Register is refused
        self._life: Life | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    # Its life

    async def start(self, *, sources_ready: bool = True, running: Collection[str] = ()) -> Ready:
        """Start it and return once both its sockets accept.

        `sources_ready` is whether it may forget pods that it does not see: a kubelet may not at first. `running` are
        containers as POD_UID/NAME that the runtime would report as running.
        """
        assert self._life is None or self._life.has_ended, "it runs already"
        await self.kill()
        self._life = Life(self.folder, self._setting, sources_ready=sources_ready, running=running)
        await self._life.start()
        return Ready(f"{self.version}.0", grpc.__version__)

    async def kill(self) -> None:
        """End it by SIGKILL, which leaves its sockets behind; nothing to do where it has ended."""
        if self._life:  # one that is ending comes to its end first
            await self._life.kill()

    async def stop(self) -> None:
        """End it as the kubelet's graceful stop does: streams are closed and kubelet.sock is removed."""
        await self._alive.stop()

    async def restart(self, *, kill: bool, sources_ready: bool = True, running: Collection[str] = ()) -> Ready:
        """End it and start another, which knows no pods but from the checkpoint; see start()."""
        await (self.kill() if kill else self.stop())
        return await self.start(sources_ready=sources_ready, running=running)

    def crashed(self) -> str | None:
        """Return its panic, if it ended by one; None if not."""
        return self._life.panic if self._life else None

    async def wait_for_crash(self, *, timeout_s: float = TIMEOUT_S) -> str:
        """Return what crashed() says once it has ended by itself. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            await (self._life or self._alive).died()
        return self.crashed() or ""

    @property
    def _alive(self) -> Life:
        if self._life is None:
            raise KubeletEndedError("it was never started")
        if self._life.has_ended:
            raise KubeletEndedError(self._life.panic or "it was killed or stopped")
        return self._life

    # What a scenario asks of it

    async def admit(self, pod: PodLike) -> Admission:
        """Let the pod in as the kubelet would; it returns when Allocate has been answered for each container.

        Admissions wait for one another. Raises KubeletEndedError, where the kubelet panics over it.
        """
        return await self._alive.ask(self._alive.admit(pod))

    async def remove(self, pod: PodLike) -> None:
        """End the pod. The kubelet forgets it when it next allocates, or is asked by PodResources List."""
        self._alive.end_pod(pod.uid)

    async def options(self, pod: PodLike, container: str = "main") -> RunOptions:
        """Return what a start of the container would be told. Raises RefusedError."""
        return await self._alive.ask(self._alive.options(pod.uid, container))

    async def health(self, pod: PodLike) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
        """Return the health that the pod's status would show, by container, resource and ID.

        A device that has left its list is shown as healthy.
        """
        ledger = self._alive.ledger
        if pod.uid not in ledger.pods:
            raise RefusedError("no such active pod")
        shown = self._setting.version.shows_health
        return {
            container.name: {
                resource: {text: _health(ledger.devices.get(resource, {}).get(text)) for text in given.ids}
                for resource, given in ledger.of_container(pod.uid, container.name).items()
                if shown
            }
            for container in pod.containers
        }

    async def capacity(self) -> Capacity:
        """Return what the node's status would say. Asking makes the kubelet drop what has been away for too long."""
        life = self._alive
        if life.plugins.forget_expired():
            checkpoint.write(self.plugins, life.ledger)
        healthy = {resource: frozenset(devices) for resource, devices in life.ledger.allocatable().items()}
        return Capacity(self._counts(), healthy)

    def _counts(self) -> dict[str, Counts]:
        ledger = self._alive.ledger
        return {
            resource: Counts(len(healthy) + len(ledger.unhealthy.get(resource, ())), len(healthy))
            for resource, healthy in ledger.healthy.items()
        }

    async def sample(self, *, duration_s: float, interval_s: float = 0.001) -> tuple[Change, ...]:
        """Return the counts at first and each change of them for so long; nothing is missed, whatever the interval."""
        loop, changes = asyncio.get_running_loop(), [Change(asyncio.get_running_loop().time(), self._counts())]
        try:
            async with asyncio.timeout(duration_s):
                while True:
                    await self.until(lambda: self._counts() != changes[-1].resources, timeout_s=duration_s + 1)
                    changes.append(Change(loop.time(), self._counts()))
        except TimeoutError:
            return tuple(changes)

    async def set_sources(self, *, ready: bool) -> None:
        """Say whether all sources of pods have been heard."""
        self._alive.ledger.sources_ready = ready

    # What a test does to it, and waits for

    def held(self, call: Call, resource: str | None = None, *, most: int | None = None) -> AbstractContextManager[Hold]:
        """Hold such calls while the context is open, the first `most` of them or all. A resource of None is any."""
        return self._setting.holds.held(call, resource, most)

    async def close_stream(self, resource: str) -> None:
        """Close the connections to a resource's plugins, as the kubelet does that will have nothing more of them."""
        await self._alive.plugins.disconnect_all(resource)

    async def until(self, done: Callable[[], bool], *, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until something is so, looking whenever something has happened here. Raises TimeoutError."""
        await self._setting.history.until(done, timeout_s=timeout_s)

    def changed(self) -> None:
        """Let who waits look again: for what happens elsewhere."""
        self._setting.history.changed()

    async def list_of(self, resource: str, wanted: Mapping[str, str], *, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until the list of a resource is this one: health by ID. Raises AssertionError, which shows both."""
        await self._comes(f"list of {resource}", lambda: self.known(resource), dict(wanted), timeout_s)

    async def offers(self, resource: str, ids: Iterable[str], *, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until it would hand out just these. Raises AssertionError, which shows both."""
        await self._comes(f"offer of {resource}", lambda: self.offered(resource), frozenset(ids), timeout_s)

    async def _comes(self, what: str, look: Callable[[], object], wanted: object, timeout_s: float) -> None:
        try:
            await self.until(lambda: look() == wanted, timeout_s=timeout_s)
        except TimeoutError as error:
            raise AssertionError(f"{what} after {timeout_s:g} s: {look()}, wanted: {wanted}") from error

    # What has happened

    def known(self, resource: str) -> dict[str, str]:
        """Return the last list of a resource, health by ID; nothing where it does not run."""
        devices = self._life.ledger.devices if self._life and not self._life.has_ended else {}
        return {text: device.health for text, device in devices.get(resource, {}).items()}

    def offered(self, resource: str) -> frozenset[str]:
        """Return what it would hand out of a resource, including what pods have; nothing where it does not run."""
        healthy = self._life.ledger.healthy if self._life and not self._life.has_ended else {}
        return frozenset(healthy.get(resource, ()))

    def lists(self, resource: str) -> list[api.ListAndWatchResponse]:
        """Return each list of a resource that ever came."""
        return [m for m in self.passed(Call.LIST_AND_WATCH, resource) if isinstance(m, api.ListAndWatchResponse)]

    def registrations(self, resource: str) -> list[api.RegisterRequest]:
        """Return each Register of a resource, whatever came of it."""
        return [m for m in self.passed(Call.REGISTER, resource) if isinstance(m, api.RegisterRequest)]

    def passed(self, call: Call, resource: str = "") -> list[Message]:
        """Return the requests of a call, of all kubelets so far; of LIST_AND_WATCH the lists."""
        history = self._setting.history
        return [one.message for one in history.passed if (one.call, one.resource) == (call, resource)]

    @property
    def asked(self) -> list[Passage]:
        """Return all that passed, in its order."""
        return self._setting.history.passed

    def streams(self, resource: str) -> list[str]:
        """Return the names of the sockets from which the kubelet reads lists of a resource."""
        return [socket for of, socket in self._setting.history.streams if of == resource]

    @property
    def updates(self) -> list[frozenset[str]]:
        """The pods, by UID, whose status each list made the kubelet look at."""
        return self._setting.history.updates


def _health(device: api.Device | None) -> str:
    return HEALTHY if device is None or device.health == HEALTHY else "Unhealthy"
