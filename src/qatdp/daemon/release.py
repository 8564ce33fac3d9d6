"""Release: establishes, one after the other, the facts by which an ID may leave its list (core/holders.py).

It asks only while some ID is to leave, a PF is waited for, or an old answer is in the way; less often the longer
nothing comes of it, and not at all while whatever is waited for is open: a kubelet that is asked while it admits a pod
can give a device twice (1.37, devicemanager/manager.go: UpdateAllocatedDevices forgets what is just being allocated).
A book that cannot be read establishes nothing: whatever it may name stays where it is.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

from qatdp.core.config import is_ours
from qatdp.core.holders import LEAVING, Fact, Step
from qatdp.core.in_use import looked_for, may_be_over
from qatdp.core.pci import PciAddress
from qatdp.daemon.checkpoints import Checkpoints
from qatdp.daemon.node import Node
from qatdp.daemon.worker import Worker
from qatdp.errors import BooksError
from qatdp.host.opened import Opened
from qatdp.kubelet.podresources import PodResources

log = logging.getLogger(__name__)

# What its list is sent for once more, and what a checkpoint written after that is read for.
REWRITING = (Step.UNNAMED, Step.LOOKED, Step.UNSEEN)
REREADING = (Step.REWRITTEN, Step.RELISTED, Step.UNCLAIMED)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. `grace_s`: how long a call may be on its way from the kubelet's choice to us.

    `first_s` and `longest_s`: between rounds; `open_s`: between looks at who has VFs open meanwhile. `write_s`: what
    the kubelet may take to write its checkpoint (measured on 1.37: 1.4 ms at worst).
    """

    grace_s: float = 1.0
    first_s: float = 0.25
    longest_s: float = 30.0
    open_s: float = 1.0
    write_s: float = 3.0
    look_s: float = 0.01


class Release:
    """Makes rounds over the books; each takes the steps that an ID has come to."""

    def __init__(
        self, node: Node, pod_resources: PodResources, checkpoints: Checkpoints, opened: Opened, pace: Pace = Pace()
    ) -> None:
        self._node, self._pod_resources, self._checkpoints, self._pace = node, pod_resources, checkpoints, pace
        self._opened, self._worker = opened, Worker("opened")
        self._said: str | None = None

    async def run(self) -> None:
        """Make rounds for as long as there is something to release."""
        try:
            await self._rounds()
        finally:
            self._worker.leave(self._opened.close)

    async def _rounds(self) -> None:
        pause_s = self._pace.first_s
        while True:
            await self._node.leaving.wait()
            before, opened = self._progress(), await self._open_vfs()
            if self._node.stale or may_be_over(self._node.books, self._node.sought, opened):
                await self._round()
            pause_s = self._pace.first_s if self._progress() != before else min(pause_s * 2, self._pace.longest_s)
            if await self._interrupted(pause_s, opened):
                pause_s = self._pace.first_s

    def _progress(self) -> object:
        return {address: (entry.resource, entry.step) for address, entry in self._node.books.items()}

    async def _interrupted(self, pause_s: float, opened: frozenset[PciAddress]) -> bool:
        """Pause; tell whether it was cut short, as something else is waited for or somebody has closed a VF."""
        loop, waited_for = asyncio.get_running_loop(), self._waited_for()
        end_s = loop.time() + pause_s
        while (left_s := end_s - loop.time()) > 0:
            await asyncio.sleep(min(left_s, self._pace.open_s))
            before, opened = opened, await self._open_vfs()
            if self._waited_for() != waited_for or before - opened:
                return True
        return False

    def _waited_for(self) -> object:
        leaving = {address for address, entry in self._node.books.items() if entry.step in LEAVING}
        return leaving, self._node.sought, bool(self._node.stale)

    async def _open_vfs(self) -> frozenset[PciAddress]:
        return await self._worker.do(partial(self._opened, looked_for(self._node.books, self._node.sought)))

    async def _round(self) -> None:
        """Take each step of the protocol once, for all IDs that have come to it."""
        steps: tuple[Callable[[], Awaitable[None]], ...] = (
            self._sent,
            self._overtaken,
            self._idle,
            self._not_in_pods,
            self._not_in_checkpoint,
        )
        failed = None
        for step in steps:
            try:
                await step()
            except BooksError as error:
                failed = failed or str(error)
        if failed and failed != self._said:  # once per change, not per round
            log.warning("nothing is released meanwhile reason=%r", failed)
        self._said = failed

    async def _sent(self) -> None:
        """a: where a device was Unhealthy before, its withdrawal changed nothing in the list: it is sent again."""
        for resource in set(self._node.at(Step.WITHDRAWN).values()):
            self._node.feeds[resource].again()

    async def _overtaken(self) -> None:
        """b: the kubelet offers just what the last list says, so it has taken that list."""
        waiting = self._node.at(Step.SENT)
        if not waiting:
            return
        began = self._node.moment()
        versions = {resource: self._node.feeds[resource].version for resource in set(waiting.values())}
        offered = await self._pod_resources.allocatable()
        for resource, version in versions.items():
            feed = self._node.feeds[resource]
            if feed.version == version and offered.get(resource, frozenset()) == feed.value.healthy:
                self._node.learn(Fact.OVERTAKEN, _of(waiting, resource), began)

    async def _idle(self) -> None:
        """c: calls are answered at once here, but one can be on its way."""
        waiting = self._node.at(Step.TAKEN)
        if waiting:
            began = self._node.moment()
            await asyncio.sleep(self._pace.grace_s)
            self._node.learn(Fact.IDLE, tuple(waiting), began)

    async def _not_in_pods(self) -> None:
        """d: also of what is awaited; List makes the kubelet forget pods that have ended."""
        began = self._node.moment()
        named = await self._pod_resources.named()
        self._named({address for address, resource in named if is_ours(resource)}, Fact.NOT_IN_PODS, began)

    def _named(self, named: Collection[PciAddress], fact: Fact, began: int) -> None:
        self._node.learn(Fact.NAMED, named, began)
        self._node.learn(fact, self._node.books.keys() - named, began)

    async def _not_in_checkpoint(self) -> None:
        """e and f: with its list sent once more, the kubelet writes down what it knows by now.

        Whatever checkpoint differs from the one before was written after List had ended, which is what counts.
        """
        # Also of those whose list was sent in an earlier round, after which no checkpoint came or none could be read.
        waiting = self._node.at(*REWRITING, *REREADING)
        resources = set(waiting.values()) | self._stale_resources()
        if not resources:
            return
        before = self._checkpoints.identity()
        for resource in resources:
            self._node.feeds[resource].again()
        await self._until(lambda: not self._node.at(*REWRITING))
        if not await self._until(lambda: self._checkpoints.identity() != before):
            return
        began = self._node.moment()
        read = await self._checkpoints.read()
        if read.identity is None:  # removed by somebody: that says nothing
            return
        self._node.written_down(read.holdings)
        named = {device for one in read.holdings if is_ours(one.resource) for device in one.devices}
        self._named(named, Fact.NOT_IN_CHECKPOINT, began)

    def _stale_resources(self) -> set[str]:
        """Return whose list to send where old answers are in the way, as a new checkpoint tells when they are gone."""
        return set(sorted(self._node.feeds)[:1]) if self._node.stale else set()  # any list makes the kubelet write

    async def _until(self, done: Callable[[], bool]) -> bool:
        """Look until something is so; tell whether it came to be in time."""
        for _ in range(int(self._pace.write_s / self._pace.look_s)):
            if done():
                return True
            await asyncio.sleep(self._pace.look_s)
        return done()


def _of(waiting: Mapping[PciAddress, str], resource: str) -> list[PciAddress]:
    return [address for address, of in waiting.items() if of == resource]
