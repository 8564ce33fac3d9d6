"""Configures PFs side by side, each by a process of its own that may hang without anybody waiting for it.

Services are written at once. SR-IOV is enabled in the order of addresses, as the kernel numbers IOMMU groups in the
order in which VFs appear; a PF that is late loses its place, so that one which hangs keeps no other waiting for long
here. In the kernel it does: see docs/provision.md.
"""

import asyncio
import contextlib
import errno
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from qatdp.core.model.pci import PciAddress
from qatdp.core.provision.outcome import PfResult, Status
from qatdp.core.provision.planner import PfPlan
from qatdp.core.provision.refusals import remedy
from qatdp.core.provision.steps import Step, What
from qatdp.core.reasons import Reason, defect
from qatdp.errors import QatdpError
from qatdp.host.pf.context import PfContext, PfTiming


async def configure(plans: Sequence[PfPlan], site: PfContext) -> tuple[PfResult, ...]:
    """Take the steps of all plans; return what became of each PF."""
    enabling = [one.address for one in plans if any(step.what is What.VFS for step in one.steps)]
    queue = _Queue(sorted(enabling), site.pace.place_s)
    usher = asyncio.create_task(queue.run(), name="usher")
    try:
        return tuple(await asyncio.gather(*(_configure(one, site, queue) for one in plans)))
    finally:
        usher.cancel()


class LateError(QatdpError):
    """No answer came in time."""


class _Queue:
    """Lets PFs enable SR-IOV in the order of addresses."""

    def __init__(self, order: Sequence[PciAddress], place_s: float) -> None:
        self._place_s = place_s
        self.turn = {pf: asyncio.Event() for pf in order}
        self.through = {pf: asyncio.Event() for pf in order}

    async def run(self) -> None:
        for pf, turn in self.turn.items():
            turn.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.through[pf].wait(), self._place_s)

    def leave(self, pf: PciAddress) -> None:
        if pf in self.through:
            self.through[pf].set()


async def _configure(plan: PfPlan, site: PfContext, queue: _Queue) -> PfResult:
    process = None
    try:
        process = await _start(site)
        return await _all_steps(process, plan, site, queue)
    except LateError as error:
        return PfResult(plan.address, Status.FAILED, defect(Reason.STEP_LATE, problem=error))
    except (OSError, ValueError) as error:  # it could not be started, or has ended
        return PfResult(plan.address, Status.FAILED, defect(Reason.WRITER_ENDED, problem=error))
    finally:
        queue.leave(plan.address)
        if process:
            await _end(process, site.pace.end_s)


async def _start(site: PfContext) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*site.child, str(os.getpid()), stdin=pipe, stdout=pipe)


async def _end(process: asyncio.subprocess.Process, end_s: float) -> None:
    """Let it take no further step. One that hangs in the kernel ends with its write: nobody waits for it."""
    if process.stdin:
        process.stdin.close()
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), end_s)


async def _all_steps(process: asyncio.subprocess.Process, plan: PfPlan, site: PfContext, queue: _Queue) -> PfResult:
    job = {"pf": str(plan.address), "sysfs": str(site.sysfs), "dev": str(site.dev), "who": asdict(site.who)}
    job["locks"] = str(site.locks)
    answer = await _ask(process, job, max(site.pace.step_s, site.pace.least_s))  # to start is no step
    if answer["error"]:
        return _failed(plan.address, None, answer)
    refused: PfResult | None = None
    for step in plan.steps:
        if step.what is What.VFS:
            await queue.turn[plan.address].wait()
        answer = await _take(process, step, site.pace)
        if step.what is What.VFS:
            queue.leave(plan.address)
        if answer["error"]:
            refused = refused or _failed(plan.address, step, answer)
            # Services that are refused leave the PF down and without VFs: it is brought back as it was.
            if step.what is not What.SERVICES:
                return refused
    return refused or PfResult(plan.address, Status.CHANGED, steps=plan.steps)


async def _take(process: asyncio.subprocess.Process, step: Step, pace: PfTiming) -> Mapping[str, Any]:
    """Have a step taken. A PF that is busy, in a reset for instance, is asked again until the step's time is over."""
    began_s = asyncio.get_running_loop().time()
    while True:
        busy_s = asyncio.get_running_loop().time() - began_s
        try:
            answer = await _ask(process, asdict(step), pace.answer_within_s(busy_s))
        except LateError as error:
            before = f"busy for {round(busy_s, 1):g} s, then " if busy_s >= pace.pause_s else ""
            raise LateError(f"{step}: {before}{error}") from error
        if answer.get("errno") != errno.EBUSY or pace.step_s - busy_s <= pace.pause_s:
            return answer
        await asyncio.sleep(pace.pause_s)


async def _ask(process: asyncio.subprocess.Process, question: object, within_s: float) -> Mapping[str, Any]:
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(question).encode() + b"\n")
    try:
        line = await asyncio.wait_for(process.stdout.readline(), within_s)
    except TimeoutError as error:
        raise LateError(f"no answer within {round(within_s, 1):g} s: see the kernel's log") from error
    answer: Mapping[str, Any] = json.loads(line or b"null") or {}
    if "error" not in answer:
        raise ValueError("no answer")
    return answer


def _failed(pf: PciAddress, step: Step | None, answer: Mapping[str, Any]) -> PfResult:
    held, text, number = answer.get("held"), str(answer["error"]), answer.get("errno")
    status = Status.BUSY if held else Status.FAILED
    if step is None:
        return PfResult(pf, status, defect(Reason.PF_LOCKED, problem=text))
    why = remedy(step.what, number, answer.get("state")) if number else None
    problem = f"{text} ({why})" if why else text
    return PfResult(pf, status, defect(Reason.STEP_HELD if held else Reason.STEP_FAILED, step=step, problem=problem))
