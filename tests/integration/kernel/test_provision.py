"""`qatdp provision` on real PFs, beside nobody: what it makes of them, and what becomes of it when a VF cannot go.

Each test begins by making the node as it needs it, for which the one before has done most.
"""

import asyncio
import os
import signal
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from ground import pfs, vfio
from ground.provisioning import (
    Provisioning,
    Seen,
    Stumble,
    compression_pf,
    crypto_pf,
    hanging_writer,
    look,
    stopped_writer,
    writers,
)
from ground.waiting import until
from ground.written import written
from release import ONE_SERVICE_ALONE

from qatdp.core.model.qat import parse_services
from qatdp.core.provision.outcome import Status
from qatdp.core.provision.planner import PfPlan
from qatdp.core.provision.steps import Goal, needed_steps
from qatdp.host.calls.choose import host_calls
from qatdp.host.pf.apply import configure
from qatdp.host.pf.context import PfContext, PfTiming
from qatdp.host.pf.locks import LockOwner
from qatdp.host.scanner import SysfsScanner

SYS, DEV = Path("/sys"), Path("/dev")
HALF, QUARTER = Counter({crypto_pf(): 2, compression_pf(): 2}), Counter({crypto_pf(): 1, compression_pf(): 3})
WELL = {"Changed", "Unchanged"}


@pytest.fixture(scope="module")
def provisioning(bare: list[str], tmp_path_factory: pytest.TempPathFactory) -> Provisioning:
    return Provisioning(tmp_path_factory.mktemp("provision"))


def shape() -> Counter[Seen]:
    return Counter(look().values())


def crypto_pfs() -> list[str]:
    return [pf for pf, seen in look().items() if seen == crypto_pf()]


def test_bare_pfs_become_a_split_and_another_and_back_and_each_second_run_writes_nothing(
    provisioning: Provisioning,
) -> None:
    command, run = provisioning.command, provisioning.run
    for provision, crypto, wanted in ((command, 50, HALF), (run, 25, QUARTER), (run, 50, HALF), (run, 25, QUARTER)):
        with written() as first:
            assert set(provision(crypto).outcomes.values()) <= WELL
        assert {"sriov_numvfs", "state", "cfg_services", "drivers_probe"} <= first
        assert shape() == wanted
        with written() as second:
            assert set(provision(crypto).outcomes.values()) == {"Unchanged"}
        assert second == set()


def test_a_group_that_is_open_keeps_no_vf(provisioning: Provisioning) -> None:
    """What host/pf/configurator.py relies on, which has the groups open over the write that takes their VFs away."""
    provisioning.run(50)
    pf = crypto_pfs()[0]
    groups = [os.open(pfs.group_node(vf), os.O_RDWR) for vf in pfs.vf_addresses(pf)]
    try:
        down = subprocess.Popen(["sh", "-c", f"echo down >{pfs.DEVICES / pf / 'qat/state'}"])
        assert down.wait(timeout=20) == 0
        assert pfs.vf_addresses(pf) == []
    finally:
        for descriptor in groups:
            os.close(descriptor)


@pytest.fixture
def site(provisioning: Provisioning) -> PfContext:
    return PfContext(SYS, DEV, provisioning.locks, LockOwner("guest", os.getpid(), "test", "now"))


def to_services(text: str, *of: str) -> list[PfPlan]:
    """Return what is to be done to PFs for these services."""
    found = SysfsScanner(SYS, DEV, host_calls()).scan()
    goal = Goal(parse_services(text))
    return [
        PfPlan(pf.address, goal, needed_steps(pf, [vf for vf in found.vfs if vf.pf == pf.address], goal))
        for pf in found.pfs
        if str(pf.address) in of
    ]


def test_a_vf_opened_between_check_and_write_fails_its_pf_in_time_and_once_let_go_it_follows(
    provisioning: Provisioning, site: PfContext
) -> None:
    """As in a container without device nodes: where there are some, the writer has the groups open itself."""
    provisioning.run(0)
    pf, other, *_ = pfs.pf_addresses()
    child, pace = provisioning.stumbling(Stumble.HELD_UP, {pf: 1}), PfTiming(place_s=2)
    stumbling = replace(site, child=child, pace=pace)
    asyncio.run(_open_between_check_and_write(pf, other, stumbling, site))
    assert shape() == HALF


async def _open_between_check_and_write(pf: str, other: str, stumbling: PfContext, site: PfContext) -> None:
    plans = to_services("sym;asym", pf, other)
    task = asyncio.create_task(configure(plans, stumbling))
    writer = await asyncio.to_thread(until, "the writer of one PF is held up", stopped_writer)
    with vfio.held(pfs.vf_addresses(pf)[0]):
        os.kill(writer, signal.SIGCONT)
        failed, done = await task
        assert (failed.status, failed.message) == (Status.FAILED, "down: no answer within 30 s: see the kernel's log")
        assert done.status is Status.CHANGED, "its VFs are made although another PF's cannot go"
        assert hanging_writer() == writer
        (busy,) = await configure(plans[:1], site)
        assert busy.status is Status.BUSY
        assert busy.message == f"guest (process {os.getpid()}, test) configures it since now"
    await asyncio.to_thread(until, "the writer has ended with its write", lambda: not writers())
    (outcome,) = await configure(to_services("sym;asym", pf), site)
    assert outcome.status is Status.CHANGED


def test_services_that_this_release_does_not_know_fail_their_pf_which_is_brought_back_as_it_was(
    provisioning: Provisioning, site: PfContext
) -> None:
    provisioning.run(50)
    pf = crypto_pfs()[0]
    (outcome,) = asyncio.run(configure(to_services("sym", pf), site))
    seen = look()[pf]
    if ONE_SERVICE_ALONE:
        assert outcome.status is Status.CHANGED
        assert seen.services == {"sym"}
    else:
        assert outcome.status is Status.FAILED
        assert str(outcome.message).startswith("services sym: Invalid argument (this kernel does not know ")
        assert seen == crypto_pf()
