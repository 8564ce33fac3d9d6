"""The process that configures a PF takes no step for a parent that has ended."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from qatdp.core.steps import Step, What
from qatdp.host.locks import Lock, Who
from qatdp.testing.host import FakeHost
from qatdp.testing.kernel import FakeKernel

PF = "0000:6b:00.0"
WHO = Who("me", 1, "provision", "now")
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
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "qatdp.host.child", "1", stdin=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 1
