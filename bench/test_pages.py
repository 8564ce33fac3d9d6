"""What an Allocate takes while nobody looks at the daemon, and while eight clients do all the time.

The daemon, the clients and whoever allocates are processes of their own. Calm and load take turns, so that what else
the machine does is the same for both.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import grpc
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.api.deviceplugin_v1beta1_pb2_grpc import DevicePluginStub
from qatdp.simulator.host.node import FakeHost, fake_host
from qatdp.simulator.kubelet import FakeKubelet

CLIENTS = 8
TURN = 100  # Allocates in a turn
TURNS = 20
WORST = 2.0  # times as long as in calm: the 99th percentile
CY = "qat.intel.com/cy"


@contextlib.contextmanager
def a_kubelet(folder: Path) -> Iterator[FakeKubelet]:
    """Run it in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    kubelet = FakeKubelet(folder, "1.37")
    asyncio.run_coroutine_threadsafe(kubelet.start(), loop).result()
    yield kubelet
    asyncio.run_coroutine_threadsafe(kubelet.kill(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@contextlib.contextmanager
def a_process(*words: object) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(list(map(str, words)), stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with fake_host() as host:
        host.fill(pfs=64)
        yield host


@pytest.fixture
def allocate(host: FakeHost, folder: Path) -> Iterator[Callable[[], object]]:
    """Start a daemon that answers on FOLDER/s; return an Allocate of one VF of many."""
    qatdp = Path(sys.executable).parent / "qatdp"
    where = ("--sysfs", host.sysfs, "--dev", host.dev, "--kubelet-dir", folder / "k", "--socket", folder / "s")
    with a_kubelet(folder / "k") as kubelet, a_process(qatdp, "run", *where):
        while not kubelet.lists(CY):
            time.sleep(0.01)
        ids = [device.ID for device in kubelet.lists(CY)[-1].devices]
        (socket,) = (folder / "k/device-plugins").glob("qatdp-cy-*.sock")
        with grpc.insecure_channel(f"unix:{socket}") as channel:
            stub = DevicePluginStub(channel)
            request = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=ids[:1])])
            for _ in range(100):
                stub.Allocate(request)
            yield lambda: stub.Allocate(request)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="q") as name:
        yield Path(name)


def percentile(times_s: Sequence[float], part: float) -> float:
    return sorted(times_s)[min(int(len(times_s) * part), len(times_s) - 1)]


@pytest.mark.parametrize("page", ["/status", "/metrics"])
@pytest.mark.benchmark(group="Allocate at 1,024 VFs, in turns while nobody looks and while eight clients do")
def test_allocate_beside_pages(
    benchmark: BenchmarkFixture, allocate: Callable[[], object], folder: Path, page: str
) -> None:
    with a_process(sys.executable, Path(__file__).with_name("clients.py"), folder / "s", CLIENTS, page) as clients:
        time.sleep(1)
        rounds = iter(range(TURN * TURNS))

        def take_turns() -> None:
            turn, number = divmod(next(rounds), TURN)
            if number == 0:
                os.kill(clients.pid, signal.SIGCONT if turn % 2 else signal.SIGSTOP)
                time.sleep(0.3)

        benchmark.pedantic(allocate, setup=take_turns, rounds=TURN * TURNS)  # type: ignore[no-untyped-call]
    if benchmark.stats:
        times_s = benchmark.stats.stats.data
        calm, loaded = ([s for n, s in enumerate(times_s) if n // TURN % 2 == turn] for turn in (0, 1))
        for name, some in (("calm", calm), ("loaded", loaded)):
            for part in (0.5, 0.9, 0.99, 1.0):
                benchmark.extra_info[f"{name}_{part:g}_ms"] = round(percentile(some, part) * 1000, 2)
        print(page, benchmark.extra_info)
        assert percentile(loaded, 0.99) <= WORST * percentile(calm, 0.99)
