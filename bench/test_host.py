"""What the daemon does again and again, by the C helper and by its twin in Python."""

import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from qatdp.host.calls.abc import HostCalls
from qatdp.host.poller import AttributePoller
from qatdp.host.scanner import SysfsScanner, snapshot
from qatdp.simulator.host.node import FakeHost

LONGEST_S = 1.0  # that somebody waits for `devices`


@pytest.mark.benchmark(group="scan: a Snapshot of the node")
def test_scan(benchmark: BenchmarkFixture, calls: HostCalls, host: FakeHost) -> None:
    benchmark(SysfsScanner(host.sysfs, host.dev, calls).scan)


@pytest.mark.benchmark(group="of this, asking the kernel's files")
def test_bus(benchmark: BenchmarkFixture, calls: HostCalls, host: FakeHost) -> None:
    benchmark(calls.read_bus, host.sysfs, host.dev)


@pytest.mark.benchmark(group="of this, reading the answers, which is Python in both")
def test_reading(benchmark: BenchmarkFixture, calls: HostCalls, host: FakeHost) -> None:
    benchmark(snapshot, calls.read_bus(host.sysfs, host.dev), host.sysfs, host.dev)


@pytest.mark.benchmark(group="tick: what is looked at every second")
def test_tick(benchmark: BenchmarkFixture, calls: HostCalls, host: FakeHost) -> None:
    tick = AttributePoller(host.sysfs, calls)
    benchmark(tick.values, host.scan())
    tick.close()


@pytest.mark.usefixtures("calls")
@pytest.mark.benchmark(group="qatdp devices -o json, the interpreter's start included")
def test_devices(benchmark: BenchmarkFixture, host: FakeHost) -> None:
    command = (Path(sys.executable).parent / "qatdp", "devices", "--sysfs", host.sysfs, "--dev", host.dev, "-o", "json")
    benchmark(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
    if benchmark.stats:  # None where nothing is measured
        assert benchmark.stats.stats.max < LONGEST_S
