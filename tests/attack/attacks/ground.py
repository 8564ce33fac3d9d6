"""What attacks share: a daemon on a simulated node, with the fake kubelet or with none, and who probes it meanwhile."""

import asyncio
import http.client
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from churn.clients import UnixConnection, get
from churn.site import CY, Daemon, MadeNode
from churn.tally import quantile

from qatdp.simulator.kubelet import FakeKubelet

START_S = 30.0
ANSWER_S = 15.0  # after the start: half a second on an idle machine
PROBE_S = 1.0  # what the kubelet gives a probe by default
EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Ground:
    """`folder` holds all of it."""

    folder: Path
    node: MadeNode
    daemon: Daemon


@asynccontextmanager
async def ground(vfs: int = 16, *, within: Sequence[str] = ()) -> AsyncIterator[Ground]:
    """Make a node; the daemon is not started. Below it `kubelet` is the kubelet's folder."""
    with tempfile.TemporaryDirectory(prefix="attack-", dir="/dev/shm") as name:
        folder = Path(name)
        node = MadeNode(folder, vfs)
        yield Ground(folder, node, Daemon(folder, node, folder / "kubelet", within=within))


@asynccontextmanager
async def served(vfs: int = 16) -> AsyncIterator[Ground]:
    """Make a node whose daemon has all its VFs offered by a fake kubelet."""
    async with ground(vfs) as one, FakeKubelet(one.folder / "kubelet") as kubelet, one.daemon:
        await until_offered(kubelet, vfs)
        yield one


async def until_offered(kubelet: FakeKubelet, vfs: int) -> None:
    """Wait for it. Raises TimeoutError."""
    end_s = time.monotonic() + START_S
    while (counts := (await kubelet.capacity()).resources.get(CY)) is None or counts.allocatable < vfs:
        if time.monotonic() > end_s:
            raise TimeoutError(f"not all {vfs} VFs were offered within {START_S:g} s")
        await asyncio.sleep(EVERY_S)


def plugin_socket(one: Ground) -> Path:
    """Return the socket on which the daemon serves its resource."""
    (found,) = (path for path in (one.folder / "kubelet/device-plugins").glob("*.sock") if path.name != "kubelet.sock")
    return found


@dataclass(slots=True)
class Probes:
    """Asks /healthz over and over, or /status on the socket, as root does.

    `slow` counts those that were not answered in a second.
    """

    daemon: Daemon
    by_socket: bool = False
    slow: int = 0
    durations_s: list[float] = field(default_factory=list)

    async def until_answered(self) -> None:
        """Wait for the first answer. Raises TimeoutError."""
        async with asyncio.timeout(ANSWER_S):
            while not self.durations_s:
                await self._probe()
        self.slow = 0

    async def during(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            await self._probe()

    @asynccontextmanager
    async def meanwhile(self) -> AsyncIterator[None]:
        """Probe for as long as the context is open."""
        probing = asyncio.create_task(self.during(float("inf")))
        try:
            yield
        finally:
            probing.cancel()
            with suppress(asyncio.CancelledError):
                await probing

    async def _probe(self) -> None:
        began_s = time.monotonic()
        try:
            await asyncio.to_thread(self._get)
        except (OSError, http.client.HTTPException):
            self.slow += 1
        else:
            self.durations_s.append(time.monotonic() - began_s)
            self.slow += self.durations_s[-1] > PROBE_S
        await asyncio.sleep(EVERY_S)

    def _get(self) -> None:
        if self.by_socket:
            get(UnixConnection(str(self.daemon.socket), timeout_s=PROBE_S), "/status")
        else:
            get(http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=PROBE_S), "/healthz")

    def __str__(self) -> str:
        total = len(self.durations_s) + self.slow
        slowest_ms = 1e3 * quantile(self.durations_s, 1.0)
        return (
            f"{self.slow} of {total} probes not answered within {PROBE_S:g} s, the slowest answer {slowest_ms:.0f} ms"
        )
