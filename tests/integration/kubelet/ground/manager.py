"""The kubelet's device manager as a process: started, killed, restarted, and asked.

It works on /var/lib/kubelet of the mount namespace it is started in; the path is compiled into it.
"""

import asyncio
import itertools
import json
import re
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from ground import record
from ground.answers import read_admission, read_counts, read_health, read_options
from ground.pods import Pod
from qatdp.simulator.kubelet.answers import Admission, Capacity, Change, Ready, RefusedError, RunOptions

FOLDER = Path("/var/lib/kubelet")
PLUGINS = FOLDER / "device-plugins"
CHECKPOINT = PLUGINS / "kubelet_internal_checkpoint"
POD_RESOURCES = FOLDER / "pod-resources/kubelet.sock"

START_S = 30.0  # it takes 0.1 s on an idle machine
LINE_BYTES = 1 << 24  # an answer about thousands of devices is one line


class Policy(StrEnum):
    """The kubelet's topologyManagerPolicy."""

    NONE = "none"
    BEST_EFFORT = "best-effort"
    RESTRICTED = "restricted"
    SINGLE_NUMA_NODE = "single-numa-node"


class ManagerEndedError(RuntimeError):
    """The process ended while it was asked; the text is what it left on stderr, of a panic its trace."""


@dataclass(frozen=True, slots=True)
class TimedAdmission:
    """An admission, and when it began and ended in the manager, by the monotonic clock."""

    admission: Admission
    began_s: float
    ended_s: float


class DeviceManager:
    """One device manager, which a test may kill and start again; a context manager that leaves none behind.

    `pod_resources_also` is another socket for PodResources, so that lists() can tell who called List.
    """

    def __init__(
        self,
        binary: Path,
        log_file: Path,
        *,
        numa_nodes: int = 2,
        policy: Policy = Policy.NONE,
        verbosity: int = 4,
        pod_resources_also: Path | None = None,
    ) -> None:
        self.log_file = log_file  # its log of all its starts
        also = (f"-pod-resources-also={pod_resources_also}",) if pod_resources_also else ()
        self._command = (str(binary), f"-numa-nodes={numa_nodes}", f"-policy={policy}", f"-v={verbosity}", *also)
        self._numbers = itertools.count(1)
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ready: asyncio.Future[Ready]
        self._since = 0  # what the log held at the last start

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def start(self, *, sources_ready: bool = True, running: Collection[str] = ()) -> Ready:
        """Start it and return once both its sockets accept.

        `sources_ready` is whether it may forget pods that it does not see: a kubelet may not at first. `running` are
        containers as POD_UID/NAME that the runtime would report as running. Raises ManagerEndedError.
        """
        assert not self._running(), "it runs already"
        self._since = self.log_file.stat().st_size if self.log_file.exists() else 0
        flags = (f"-sources-ready={str(sources_ready).lower()}", f"-running={','.join(running)}")
        with self.log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, *flags, stdin=PIPE, stdout=PIPE, stderr=log, limit=LINE_BYTES
            )
        self._ready = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(self._process), name="device manager's answers")
        try:
            async with asyncio.timeout(START_S):
                ready = await self._ready
        except TimeoutError:
            await self.kill()
            raise
        record.note_start(ready)
        return ready

    async def kill(self) -> None:
        """End it by SIGKILL, which leaves its sockets behind; nothing to do where it has ended."""
        if self._process is not None and self._running():
            self._process.kill()
        await self._leave()

    async def stop(self) -> None:
        """End it as the kubelet's graceful stop does: streams are closed and kubelet.sock is removed."""
        await self._ask("stop")
        await self._leave()

    async def restart(self, *, kill: bool, sources_ready: bool = True, running: Collection[str] = ()) -> Ready:
        """End it and start another, which knows no pods but from the checkpoint; see start()."""
        await (self.kill() if kill else self.stop())
        return await self.start(sources_ready=sources_ready, running=running)

    def crashed(self) -> str | None:
        """Return the panic and its trace, or else its status and last words, if it ended by itself; None if not."""
        if self._process is None or self._process.returncode in (None, 0, -signal.SIGKILL):
            return None
        log = self.log()
        panic = re.search(r"^(panic|fatal error): ", log, re.MULTILINE)
        return log[panic.start() :] if panic else f"it ended with status {self._process.returncode}: {log[-2000:]}"

    def _running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def wait_for_crash(self, *, timeout_s: float = 10) -> str:
        """Return what crashed() says once it has ended by itself. Raises TimeoutError."""
        assert self._reader is not None, "it was never started"
        async with asyncio.timeout(timeout_s):
            await asyncio.shield(self._reader)
        return self.crashed() or ""

    def log(self) -> str:
        """Return its log since its last start."""
        return self.log_file.read_bytes()[self._since :].decode(errors="replace")

    async def admit(self, pod: Pod) -> Admission:
        """Let the pod in as the kubelet would; it returns when Allocate has been answered for each container.

        Admissions wait for one another. Raises ManagerEndedError, where the manager panics over it.
        """
        admission = read_admission(await self._answer("admit", pod=pod.manifest()))
        record.note_admission(admission)
        return admission

    async def admit_timed(self, pod: Pod) -> TimedAdmission:
        """Admit a pod as admit() does, and return when as well. It is not noted in the record: there are many."""
        answer = await self._answer("admit", pod=pod.manifest())
        return TimedAdmission(read_admission(answer), *answer["times_s"])

    async def remove(self, pod: Pod) -> None:
        """End the pod. The manager forgets it when it next allocates, or is asked by podresources List."""
        await self._ask("remove", uid=pod.uid)

    async def delete(self, pod: Pod) -> None:
        """Let the pod be active no more, as remove() does, and nobody list it: it was deleted by force."""
        await self._ask("delete", uid=pod.uid)

    async def lists(self) -> Mapping[Path, Sequence[float]]:
        """Return when List was called since the last time, by the monotonic clock, by the socket of PodResources."""
        return {Path(socket): times_s for socket, times_s in (await self._ask("lists"))["lists"].items()}

    async def options(self, pod: Pod, container: str = "main") -> RunOptions:
        """Return what a start of the container would be told. Calls PreStartContainer; raises RefusedError."""
        answer = await self._ask("options", uid=pod.uid, container=container)
        return read_options(answer["options"])

    async def health(self, pod: Pod) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
        """Return the health that the pod's status would show, by container, resource and ID."""
        return read_health((await self._ask("status", uid=pod.uid))["status"])

    async def capacity(self) -> Capacity:
        answer = await self._ask("capacity")
        healthy = {resource: frozenset(ids) for resource, ids in answer["healthy"].items()}
        return Capacity(read_counts(answer["resources"]), healthy)

    async def sample(self, *, duration_s: float, interval_s: float = 0.001) -> tuple[Change, ...]:
        """Return the counts at first and each change of them for so long; run it as a task beside what changes them."""
        times = {"duration_ms": round(duration_s * 1e3), "interval_us": round(interval_s * 1e6)}
        changes = (await self._ask("sample", **times))["changes"]
        return tuple(Change(change["at_s"], read_counts(change["resources"])) for change in changes)

    async def set_sources(self, *, ready: bool) -> None:
        await self._ask("sources", ready=ready)

    async def _ask(self, command: str, **fields: object) -> dict[str, Any]:
        answer = await self._answer(command, **fields)
        if not answer["ok"]:
            raise RefusedError(answer["error"])
        return answer

    async def _answer(self, command: str, **fields: object) -> dict[str, Any]:
        """Send a command and return its answer, whichever it is. Raises ManagerEndedError."""
        if not self._running():
            raise ManagerEndedError(self.crashed() or "it does not run")
        assert self._process is not None
        assert self._process.stdin is not None
        number = next(self._numbers)
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, "command": command, **fields}).encode() + b"\n")
        answer: dict[str, Any] = await future
        return answer

    async def _read(self, process: Process) -> None:
        """Hand each answer to whoever asked, until there are no more."""
        assert process.stdout is not None
        async for line in process.stdout:
            answer = json.loads(line)
            if answer.get("event") == "ready":
                self._ready.set_result(Ready(answer["kubernetes"], answer["grpc"], answer["word"]))
            elif (asked := self._asked.pop(answer["id"], None)) and not asked.done():  # done: a caller that gave up
                asked.set_result(answer)
        await process.wait()
        waiting: list[asyncio.Future[Any]] = [self._ready, *self._asked.values()]
        self._asked.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(ManagerEndedError(self.crashed() or "it was killed or stopped"))

    async def _leave(self) -> None:
        """Wait until it has ended and everyone who asked has been told."""
        if self._reader is not None:
            await self._reader
