"""PFs are configured side by side by real processes; one that fails, is held or hangs leaves the others done."""

import asyncio
import errno
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from qatdp.core.config.model import Config
from qatdp.core.config.spec import Partition, ProvisionSpec
from qatdp.core.model.qat import Service
from qatdp.core.provision.outcome import PfResult, Status
from qatdp.core.provision.planner import PfPlan, plan
from qatdp.core.reasons import Reason, defect
from qatdp.host.pf.apply import configure
from qatdp.host.pf.context import PfContext, PfTiming
from qatdp.host.pf.locks import Lock, LockOwner
from qatdp.simulator.host.kernel import FakeKernel
from qatdp.simulator.host.node import FakeHost

DC = ProvisionSpec((Partition(frozenset({Service.DC})),))
ONE, TWO, THREE = "0000:6b:00.0", "0000:70:00.0", "0000:75:00.0"
WHO = LockOwner("me", 1, "provision", "now")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: that of a socket holds 107 bytes."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="q") as name:
        yield Path(name)


@pytest.fixture
def kernel(host: FakeHost, folder: Path) -> Iterator[FakeKernel]:
    for address in (ONE, TWO, THREE):
        host.add_pf(address, vfs=2)
        host.attribute(address, "sriov_totalvfs", "2")
    with FakeKernel(host, folder) as kernel:
        yield kernel


@pytest.fixture
def site(host: FakeHost, folder: Path, kernel: FakeKernel) -> PfContext:
    return PfContext(host.sysfs, host.dev, folder / "locks", WHO, kernel.child, PfTiming(pause_s=0.01))


def to_dc(host: FakeHost) -> tuple[PfPlan, ...]:
    return plan(host.scan(), Config(), DC, {}).pfs


def reason(outcome: PfResult) -> Reason | None:
    return outcome.why.reason if outcome.why else None


def became(outcomes: tuple[PfResult, ...]) -> list[Status]:
    return [outcome.status for outcome in outcomes]


def is_dc(host: FakeHost) -> list[bool]:
    return [pf.services_text == "dc" and pf.state == "up" for pf in host.scan().pfs]


async def until(done: Callable[[], bool]) -> None:
    """Look until something is so that happens in other processes, which tell nobody."""
    while not done():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_all_pfs_are_configured_and_nothing_is_left_to_plan(host: FakeHost, site: PfContext) -> None:
    assert became(await configure(to_dc(host), site)) == [Status.CHANGED] * 3
    assert not any(one.steps for one in to_dc(host))


async def test_sriov_is_enabled_in_the_order_of_addresses(host: FakeHost, site: PfContext, kernel: FakeKernel) -> None:
    plans = to_dc(host)
    await configure(plans[::-1], site)
    enabled = [path.split("/")[-2] for path, text in kernel.calls.written if path.endswith("numvfs") and text == b"2\n"]
    assert enabled == [ONE, TWO, THREE]


async def test_a_pf_that_somebody_opens_meanwhile_is_busy_and_as_it_was(host: FakeHost, site: PfContext) -> None:
    plans = to_dc(host)
    host.open_vf(host.vfs(TWO)[0])
    outcomes = await configure(plans, site)
    assert became(outcomes) == [Status.CHANGED, Status.BUSY, Status.CHANGED]
    assert reason(outcomes[1]) is Reason.STEP_HELD
    assert str(host.vfs(TWO)[0]) in str(outcomes[1].message)
    assert is_dc(host) == [True, False, True]


@pytest.mark.parametrize(
    ("what", "number", "told"),
    [
        ("qat/state up", errno.EFAULT, "up: Bad address (its firmware could not be started: "),
        ("sriov_numvfs 2", errno.EINVAL, "enable VFs: Invalid argument (the IOMMU is off: "),
        ("sriov_numvfs 2", errno.ENOMEM, "enable VFs: Cannot allocate memory (the BIOS has left no MMIO space"),
        ("qat/state down", errno.EROFS, "down: Read-only file system (/sys is mounted read-only: "),
        ("qat/state down", errno.EXDEV, "down: Invalid cross-device link"),
    ],
)
async def test_a_pf_that_fails_leaves_the_others_done(
    host: FakeHost, site: PfContext, what: str, number: int, told: str
) -> None:
    plans = to_dc(host)
    host.refusals[plans[0].address, what] = number
    outcomes = await configure(plans, site)
    assert became(outcomes) == [Status.FAILED, Status.CHANGED, Status.CHANGED]
    assert str(outcomes[0].message).startswith(told)


async def test_a_pf_whose_services_are_refused_is_brought_back_as_it_was(host: FakeHost, site: PfContext) -> None:
    plans = to_dc(host)
    host.refusals[plans[0].address, "qat/cfg_services dc"] = errno.EINVAL  # a kernel that does not know them
    outcomes = await configure(plans, site)
    assert outcomes[0].status is Status.FAILED
    assert reason(outcomes[0]) is Reason.STEP_FAILED
    assert str(outcomes[0].message).startswith("services dc: Invalid argument (this kernel does not know ")
    first = host.scan().pfs[0]
    assert (first.services_text, first.state, len(host.vfs(ONE))) == ("sym;asym", "up", 2)


async def test_a_pf_in_reset_is_asked_again_until_it_is_over(
    host: FakeHost, site: PfContext, kernel: FakeKernel
) -> None:
    plans = to_dc(host)
    key = (plans[0].address, "qat/state down")
    host.refusals[key] = errno.EBUSY
    task = asyncio.create_task(configure(plans, site))
    await until(lambda: sum(path.endswith(f"{ONE}/qat/state") for path, _ in kernel.calls.written) > 2)
    del host.refusals[key]
    assert became(await task) == [Status.CHANGED] * 3


@pytest.mark.parametrize(
    ("write", "told"),
    [
        ("qat/state down", "down: Device or resource busy (the kernel itself uses it: "),
        ("qat/state up", "up: Device or resource busy (a reset does not end: "),
    ],
)
async def test_a_pf_that_stays_busy_is_told_with_what_its_state_says(
    host: FakeHost, site: PfContext, write: str, told: str
) -> None:
    plans = to_dc(host)[:1]
    host.refusals[plans[0].address, write] = errno.EBUSY
    outcomes = await configure(plans, replace(site, pace=PfTiming(pause_s=1000)))
    assert str(outcomes[0].message).startswith(told)


async def test_busy_pf_is_answered_also_when_no_time_is_left(host: FakeHost, site: PfContext) -> None:
    plans = to_dc(host)[:1]
    host.refusals[plans[0].address, "qat/state down"] = errno.EBUSY
    # By the second question the step's time is over.
    (outcome,) = await configure(plans, replace(site, pace=PfTiming(step_s=1, pause_s=0.999)))
    assert "Device or resource busy" in str(outcome.message)


def test_each_answer_has_its_time_however_late() -> None:
    pace = PfTiming(step_s=30, least_s=15)
    assert [pace.answer_within_s(passed_s) for passed_s in (0, 10, 29.999, 31)] == [30, 20, 15, 15]
    assert PfTiming(step_s=5, least_s=15).answer_within_s(4.9) == 5


async def test_a_write_that_hangs_keeps_nobody_and_ends_when_its_user_does(host: FakeHost, site: PfContext) -> None:
    plans = to_dc(host)
    host.open_vf(host.vfs(ONE)[0], seen=False)  # it came after everybody had looked
    task = asyncio.create_task(configure(plans, replace(site, pace=replace(site.pace, place_s=0.01))))
    await until(lambda: is_dc(host) == [False, True, True] and len(host.scan().vfs) == 6)
    host.close_vf(host.vfs(ONE)[0])
    assert became(await task) == [Status.CHANGED] * 3


async def test_a_write_that_hangs_past_its_deadline_is_a_failure(host: FakeHost, site: PfContext) -> None:
    plans = to_dc(host)[:1]
    host.open_vf(host.vfs(ONE)[0], seen=False)
    (outcome,) = await configure(plans, replace(site, pace=PfTiming(step_s=0.5)))
    late = defect(Reason.STEP_LATE, problem="down: no answer within 0.5 s: see the kernel's log")
    assert outcome == PfResult(plans[0].address, Status.FAILED, late)


async def test_a_pf_that_another_process_configures_is_left_to_it(host: FakeHost, site: PfContext) -> None:
    plans = to_dc(host)[:2]
    lock = Lock(site.locks, f"{ONE}.lock", LockOwner("qatdp-abc", 7, "run", "long ago"))
    outcomes = await configure(plans, site)
    lock.close()
    assert became(outcomes) == [Status.BUSY, Status.CHANGED]
    assert outcomes[0].why == defect(
        Reason.PF_LOCKED, problem="qatdp-abc (process 7, run) configures it since long ago"
    )


async def test_a_writer_that_ends_by_itself_is_a_failure(host: FakeHost, site: PfContext) -> None:
    for child in ("/bin/false", "/nowhere/at/all"):
        (outcome,) = await configure(to_dc(host)[:1], replace(site, child=(child,)))
        assert (outcome.status, reason(outcome)) == (Status.FAILED, Reason.WRITER_ENDED)
