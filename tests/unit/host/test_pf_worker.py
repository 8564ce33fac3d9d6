"""The process that configures a PF takes no step for a parent that has ended."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

import qatdp
from qatdp.core.provision.steps import Step, What
from qatdp.host.pf.context import CHILD
from qatdp.host.pf.locks import Lock, LockOwner
from qatdp.simulator.host.kernel import FakeKernel
from qatdp.simulator.host.node import FakeHost

PF = "0000:6b:00.0"
WHO = LockOwner("me", 1, "provision", "now")
PARENT = "import os, subprocess, sys; subprocess.run([*sys.argv[1:], str(os.getpid())])"


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="q") as name:
        yield Path(name)


async def test_it_ends_with_its_parent_in_the_middle_of_a_write(host: FakeHost, folder: Path) -> None:
    host.add_pf(PF, vfs=2)
    host.open_vf(host.vfs(PF)[0], seen=False)
    job = {"pf": PF, "sysfs": str(host.sysfs), "dev": str(host.dev), "who": asdict(WHO), "locks": str(folder)}
    pipe = asyncio.subprocess.PIPE
    with FakeKernel(host, folder) as kernel:
        parent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PARENT, *kernel.child, stdin=pipe, stdout=pipe
        )
        assert parent.stdin and parent.stdout
        parent.stdin.write(json.dumps(job).encode() + b"\n")
        assert json.loads(await parent.stdout.readline()) == {"error": None}
        for step in (Step(What.DOWN), Step(What.UP)):
            parent.stdin.write(json.dumps(asdict(step)).encode() + b"\n")
        parent.kill()
        assert await parent.stdout.read() == b""  # the end of the file is that of the last process that had it
        await parent.wait()
        Lock(folder, f"{PF}.lock", WHO).close()
        host.close_vf(host.vfs(PF)[0])
    assert host.path(PF, "qat/state").read_text() == "up\n"


async def test_it_does_nothing_for_a_parent_that_has_ended_before() -> None:
    process = await asyncio.create_subprocess_exec(*CHILD, "1", stdin=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 1


@pytest.fixture
def strangers(folder: Path) -> Path:
    """A folder with false modules, each of which leaves a file `ran` there."""
    there = folder / "strangers"
    for name in (
        "qatdp/__init__",
        "qatdp/host/__init__",
        "qatdp/host/child",
        "qatdp/testing/__init__",
        "json",
        "runpy",
    ):
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / f"{name}.py").write_text(f"open({str(there / 'ran')!r}, 'w')\n")
    return there


@pytest.mark.parametrize("by_variable", [False, True])
@pytest.mark.parametrize("ours", [True, False])
def test_child_ignores_modules_of_the_working_directory(
    host: FakeHost, folder: Path, strangers: Path, *, ours: bool, by_variable: bool
) -> None:
    job = {"pf": PF, "sysfs": str(host.sysfs), "dev": str(host.dev), "who": asdict(WHO), "locks": str(folder / "locks")}
    with FakeKernel(host, folder) as kernel:
        done = subprocess.run(
            [*(CHILD if ours else kernel.child), str(os.getpid())],
            input=json.dumps(job) + "\n",
            cwd=strangers,
            env={**os.environ, **({"PYTHONPATH": str(strangers)} if by_variable else {})},
            capture_output=True,
            text=True,
        )
    assert (json.loads(done.stdout), done.stderr, done.returncode) == ({"error": None}, "", 0)
    assert not (strangers / "ran").exists()


def test_isolated_command_runs_the_code_of_its_parent(folder: Path) -> None:
    """Wherever that was imported from: here a folder that no interpreter knows by itself."""
    copied = shutil.copytree(Path(qatdp.__file__).parent, folder / "elsewhere/qatdp")
    (copied / "host/pf/worker.py").write_text("def main():\n    print(__file__)\n")
    program = "import subprocess; from qatdp.host.pf.context import CHILD; subprocess.run(CHILD)"
    command = [sys.executable, "-P", "-c", program]
    environment = {**os.environ, "PYTHONPATH": str(copied.parent)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == f"{copied / 'host/pf/worker.py'}\n"


def test_qatdp_command_ignores_modules_of_the_working_directory(strangers: Path) -> None:
    done = subprocess.run([Path(sys.executable).with_name("qatdp"), "--version"], cwd=strangers, capture_output=True)
    assert done.returncode == 0
    assert not (strangers / "ran").exists()
