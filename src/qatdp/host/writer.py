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

from qatdp.core.outcome import Outcome, Status
from qatdp.core.pci import PciAddress
from qatdp.core.split import PfPlan
from qatdp.core.steps import Step, What
from qatdp.host.site import Pace, Site


async def configure(plans: Sequence[PfPlan], site: Site) -> tuple[Outcome, ...]:
    """Take the steps of all plans; return what became of each PF."""
    enabling = [one.address for one in plans if any(step.what is What.VFS for step in one.steps)]
    queue = _Queue(sorted(enabling), site.pace.place_s)
    usher = asyncio.create_task(queue.run(), name="usher")
    try:
        return tuple(await asyncio.gather(*(_configure(one, site, queue) for one in plans)))
    finally:
        usher.cancel()


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


async def _configure(plan: PfPlan, site: Site, queue: _Queue) -> Outcome:
    process = None
    try:
        process = await _start(site)
        return await _all_steps(process, plan, site, queue)
    except TimeoutError:
        return Outcome(plan.address, Status.FAILED, f"no answer within {site.pace.step_s:g} s: see the kernel's log")
    except (OSError, ValueError) as error:  # it could not be started, or has ended
        return Outcome(plan.address, Status.FAILED, f"its writer has ended: {error}")
    finally:
        queue.leave(plan.address)
        if process:
            await _end(process, site.pace.end_s)


async def _start(site: Site) -> asyncio.subprocess.Process:
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


async def _all_steps(process: asyncio.subprocess.Process, plan: PfPlan, site: Site, queue: _Queue) -> Outcome:
    job = {"pf": str(plan.address), "sysfs": str(site.sysfs), "dev": str(site.dev), "who": asdict(site.who)}
    answer = await _ask(process, {**job, "locks": str(site.locks)}, site.pace.step_s)
    if answer["error"]:
        return _failed(plan.address, "", answer)
    refused: Outcome | None = None
    for step in plan.steps:
        if step.what is What.VFS:
            await queue.turn[plan.address].wait()
        answer = await _take(process, step, site.pace)
        if step.what is What.VFS:
            queue.leave(plan.address)
        if answer["error"]:
            refused = refused or _failed(plan.address, f"{step}: ", answer)
            # Services that are refused leave the PF down and without VFs: it is brought back as it was.
            if step.what is not What.SERVICES:
                return refused
    return refused or Outcome(plan.address, Status.CHANGED, ", ".join(map(str, plan.steps)))


async def _take(process: asyncio.subprocess.Process, step: Step, pace: Pace) -> Mapping[str, Any]:
    """Have a step taken. A PF that is busy, in a reset for instance, is asked again until the step's time is over."""
    until = asyncio.get_running_loop().time() + pace.step_s
    while True:
        left_s = until - asyncio.get_running_loop().time()
        answer = await _ask(process, asdict(step), max(left_s, 0))
        if answer.get("errno") != errno.EBUSY or left_s <= pace.pause_s:
            return answer
        await asyncio.sleep(pace.pause_s)


async def _ask(process: asyncio.subprocess.Process, question: object, within_s: float) -> Mapping[str, Any]:
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(question).encode() + b"\n")
    line = await asyncio.wait_for(process.stdout.readline(), within_s)
    answer: Mapping[str, Any] = json.loads(line or b"null") or {}
    if "error" not in answer:
        raise ValueError("no answer")
    return answer


def _failed(pf: PciAddress, what: str, answer: Mapping[str, Any]) -> Outcome:
    status = Status.BUSY if answer.get("held") else Status.FAILED
    hint = BUSY.get(str(answer.get("state")), "") if answer.get("errno") == errno.EBUSY else ""
    return Outcome(pf, status, f"{what}{answer['error']}{hint}")


# Of a PF that is busy for a whole step's time, by what it says: it is down while it is reset (adf_aer.c), and up for
# those who use it (adf_dev_in_use in adf_sysfs.c, adf_sriov.c).
BUSY = {
    "down": " (a reset that does not end: bind the PF to its driver anew, or reboot)",
    "up": " (the kernel itself uses it, dm-crypt or IPsec perhaps)",
}
