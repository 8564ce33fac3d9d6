"""What a command loads: those that only look need nothing of the kubelet's."""

import subprocess
import sys

import pytest

from qatdp.cli import COMMANDS
from qatdp.simulator.host.node import FakeHost

LOADED = "import sys; from qatdp.cli import main; main(sys.argv[1:], standalone_mode=False); print(*sys.modules)"


def loaded(*arguments: str) -> set[str]:
    command = (sys.executable, "-P", "-c", LOADED, *arguments)
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_devices_loads_neither_grpc_nor_protobuf_nor_hypothesis(host: FakeHost) -> None:
    command = ("devices", "--sysfs", str(host.sysfs), "--dev", str(host.dev))
    assert loaded(*command) & {"grpc", "google.protobuf", "pyudev", "hypothesis", "asyncio"} == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_there_by_its_name(command: str) -> None:
    asked = subprocess.run(
        (sys.executable, "-P", "-c", "from qatdp.cli import main; main()", command, "--help"),
        capture_output=True,
        text=True,
    )
    assert asked.returncode == 0, asked.stderr
    assert f" {command} " in asked.stdout.splitlines()[0]
