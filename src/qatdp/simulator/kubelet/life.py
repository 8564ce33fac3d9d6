"""One kubelet, from its start to its end: its sockets, its tasks, and what ends with it."""

import asyncio
from collections.abc import Collection, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import grpc

from qatdp.api.deviceplugin_v1beta1_pb2_grpc import add_RegistrationServicer_to_server
from qatdp.api.podresources_v1_pb2_grpc import add_PodResourcesListerServicer_to_server
from qatdp.simulator.kubelet import checkpoint
from qatdp.simulator.kubelet.allocation import Allocation, PanicError
from qatdp.simulator.kubelet.answers import Admission, KubeletEndedError, PodLike, RefusedError, RunOptions
from qatdp.simulator.kubelet.books import Books
from qatdp.simulator.kubelet.ledger import Ledger
from qatdp.simulator.kubelet.plugins import Plugins
from qatdp.simulator.kubelet.setting import Setting

T = TypeVar("T")

SOCKET = "kubelet.sock"


class Life:
    """A kubelet that starts when `start` is awaited. `folder` holds device-plugins and pod-resources."""

    def __init__(self, folder: Path, setting: Setting, *, sources_ready: bool, running: Collection[str]) -> None:
        self._folder, self._setting = folder, setting
        self.ledger = Ledger(sources_ready=sources_ready, running=frozenset(map(_uid_and_container, running)))
        self.panic: str | None = None
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._servers: list[_Server] = []
        self._admissions = asyncio.Lock()
        self._end: asyncio.Task[None] | None = None
        # Read before the folder is cleaned, which leaves it where it is.
        registered = checkpoint.read(setting.plugins, self.ledger)
        self.plugins = Plugins(setting, self.ledger, registered, self.spawn)
        self._allocation = Allocation(setting, self.ledger, self.plugins)

    @property
    def has_ended(self) -> bool:
        return self._ended.done()

    async def start(self) -> None:
        """Clean the folder, then serve both sockets."""
        for name in ("device-plugins", "pod-resources"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        self._clean()
        (self._folder / "pod-resources" / SOCKET).unlink(missing_ok=True)
        registration, pod_resources = grpc.aio.server(), grpc.aio.server()
        add_RegistrationServicer_to_server(self.plugins, registration)
        add_PodResourcesListerServicer_to_server(Books(self._setting, self.ledger), pod_resources)
        self._servers = [_Server(registration, self._folder, "device-plugins")]
        self._servers += [_Server(pod_resources, self._folder, "pod-resources")]
        for server in self._servers:
            await server.start()

    def _clean(self) -> None:
        """Remove what other kubelets and their plugins left behind; no folder, and nothing in one."""
        for path in self._setting.plugins.iterdir():
            if self._setting.version.cleans_sockets_only:
                stays = not path.is_socket()
            else:
                stays = path.is_dir() and not path.is_symlink()
            if not stays and path.name != checkpoint.FILE:
                path.unlink(missing_ok=True)  # its owner may be as quick

    async def stop(self) -> None:
        """End as by SIGTERM: plugins are disconnected and kubelet.sock is removed. The other socket stays."""
        await self.plugins.disconnect_all()
        await self._servers[0].stop(leave_socket=False)
        await self.kill()

    async def kill(self) -> None:
        """End as by SIGKILL: everything is closed, and both sockets stay where they are."""
        if self._end is None:
            self._end = asyncio.create_task(self._close("it was killed or stopped"), name="end of the kubelet")
        await asyncio.shield(self._end)

    async def _close(self, why: str) -> None:
        if not self._ended.done():
            self._ended.set_result(why)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(server.stop(leave_socket=True) for server in self._servers), self.plugins.close())
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._setting.history.changed()

    async def died(self) -> None:
        """Wait until it has ended, for whatever reason."""
        await asyncio.shield(self._ended)
        await self.kill()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start what ends with the kubelet."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, PanicError) and not self._ended.done():
            self.panic = str(error)
            self._ended.set_result(self.panic)
            self._end = asyncio.create_task(self._close(self.panic), name="end of the kubelet")

    async def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what the work returns; raises KubeletEndedError where the kubelet ends over it."""
        if self._ended.done():
            work.close()
            raise KubeletEndedError(self._ended.result())
        task = self.spawn(work)
        await asyncio.wait((task, self._ended), return_when=asyncio.FIRST_COMPLETED)
        if self._ended.done():
            raise KubeletEndedError(self._ended.result())
        return task.result()

    # Pods

    async def admit(self, pod: PodLike) -> Admission:
        """Admit a pod, after those that came before; each container in turn, init containers first."""
        async with self._admissions:
            self.ledger.pods[pod.uid] = pod
            try:
                for container in (*pod.init, *pod.containers):
                    await self._allocation.allocate(pod, container)
            except RefusedError as error:
                self.end_pod(pod.uid)
                text = f"Allocate failed due to {error}, which is unexpected"
                return Admission(admitted=False, reason="UnexpectedAdmissionError", error=text)
            given = self.ledger.given.get(pod.uid, {})
            return Admission(
                admitted=True,
                devices={
                    container.name: {resource: one.ids for resource, one in given.get(container.name, {}).items()}
                    for container in (*pod.init, *pod.containers)
                },
            )

    def end_pod(self, uid: str) -> None:
        """Let a pod be active no more. What it has is freed when somebody looks: there is no Deallocate."""
        pod = self.ledger.pods.pop(uid, None)
        if pod:
            self.ledger.ended[uid] = pod

    async def options(self, uid: str, name: str) -> RunOptions:
        pod = self.ledger.pods.get(uid)
        for container in (*pod.init, *pod.containers) if pod else ():
            if pod and container.name == name:
                return await self._allocation.options(pod, container)
        raise RefusedError("no such container in an active pod")


class _Server:
    """A server on `kubelet.sock` in a folder.

    gRPC unlinks its socket by name when it stops; a process that is killed does not. So it is given the path by way of
    a link, and without that link it does not find the socket any more.
    """

    def __init__(self, server: grpc.aio.Server, folder: Path, name: str) -> None:
        self._server = server
        self._link = folder / f".{name[0]}"
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(name)
        server.add_insecure_port(f"unix:{self._link / SOCKET}")
        self._stopped = False

    async def start(self) -> None:
        await self._server.start()

    async def stop(self, *, leave_socket: bool) -> None:
        if self._stopped:
            return
        self._stopped = True
        if leave_socket:
            self._link.unlink(missing_ok=True)
        await self._server.stop(None)
        self._link.unlink(missing_ok=True)


def _uid_and_container(text: str) -> tuple[str, str]:
    uid, _, container = text.partition("/")
    return uid, container
