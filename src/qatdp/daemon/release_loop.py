"""Release: establishes, one after the other, the facts by which an ID may leave its list (core/release/protocol.py).

It works only while some ID is to leave, a PF is waited for, or an old answer is in the way; less often the longer
nothing comes of it, and not at all while whatever is waited for is open. It has the kubelet forget ended pods by a
PodResources List (daemon/pod_lists.py) only for an ID that the checkpoint names and nobody has open. What can be learnt
from pods that are admitted meanwhile is learnt by daemon/admissions.py.
A book that cannot be read establishes nothing: whatever it may name stays where it is.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial

from qatdp.core.config.model import is_ours
from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.stale import CheckpointEntry
from qatdp.core.provision.in_use import ended_perhaps, looked_for, may_be_over
from qatdp.core.release.protocol import LEAVING, Fact, Step
from qatdp.daemon.holders import Holders
from qatdp.daemon.kubelet_state import KubeletState, named_in
from qatdp.daemon.pod_lists import PodLists
from qatdp.daemon.state import DeviceState
from qatdp.daemon.timing import ReleaseTiming
from qatdp.errors import KubeletStateError
from qatdp.host.enabled import EnabledFunctions
from qatdp.host.thread import Worker

log = logging.getLogger(__name__)

# What its list is sent for once more, and what a checkpoint written after that is read for.
REWRITING = (Step.NOT_IN_PODS, Step.CORDONED_NOT_IN_PODS, Step.HELD_NOT_IN_PODS)
REREADING = (Step.LIST_RESENT, Step.CORDONED_LIST_RESENT, Step.HELD_LIST_RESENT)


class Release:
    """`holders` is given the names of pods that come up on the way."""

    def __init__(
        self,
        node: DeviceState,
        kubelet: KubeletState,
        lists: PodLists,
        holders: Holders,
        opened: EnabledFunctions,
        pace: ReleaseTiming,
    ) -> None:
        self._node, self._kubelet, self._pace = node, kubelet, pace
        self._lists, self._holders = lists, holders
        self._opened, self._worker = opened, Worker("opened")
        self._have_open: frozenset[PciAddress] = frozenset()
        self._put_off_s = 0.0  # for how long the kubelet must not call before d can be established
        self._said: str | None = None
        self._said_withheld: frozenset[PciAddress] = frozenset()

    async def run(self) -> None:
        """Make rounds for as long as there is something to release."""
        try:
            await self._rounds()
        finally:
            self._worker.submit(self._opened.close)

    async def _rounds(self) -> None:
        pause_s = self._pace.first_s
        while True:
            await self._node.leaving.wait()
            before, self._put_off_s = self._progress(), 0.0
            self._have_open = await self._open_vfs()
            if self._node.stale or may_be_over(self._node.ledger, self._node.sought, self._have_open):
                await self._round()
            if self._put_off_s:  # not for lack of progress
                interrupted = await self._interrupted(min(max(self._put_off_s, self._pace.look_s), pause_s))
            else:
                pause_s = self._pace.first_s if self._progress() != before else min(pause_s * 2, self._pace.longest_s)
                interrupted = await self._interrupted(pause_s)
            if interrupted:
                pause_s = self._pace.first_s

    def _progress(self) -> object:
        return {
            address: entry.step
            for address, entry in self._node.ledger.items()
            if entry.step in LEAVING or (entry.vf and entry.vf.pf in self._node.sought)
        }

    async def _interrupted(self, pause_s: float) -> bool:
        """Pause; return whether it was cut short: something else is waited for, has come on, or was closed."""
        loop, waited_for, steps = asyncio.get_running_loop(), self._waited_for(), self._steps()
        end_s = loop.time() + pause_s
        while (left_s := end_s - loop.time()) > 0:
            await asyncio.sleep(min(left_s, self._pace.open_s))
            before, self._have_open = self._have_open, await self._open_vfs()
            if self._waited_for() != waited_for or before - self._have_open:
                self._lists.soon()
                return True
            if self._steps() != steps:
                return True
        return False

    def _waited_for(self) -> object:
        return self._steps().keys(), self._node.sought, bool(self._node.stale)

    def _steps(self) -> Mapping[PciAddress, Step]:
        return {address: entry.step for address, entry in self._node.ledger.items() if entry.step in LEAVING}

    async def _open_vfs(self) -> frozenset[PciAddress]:
        return await self._worker.do(partial(self._opened, looked_for(self._node.ledger, self._node.sought)))

    async def _round(self) -> None:
        """Take each step of the protocol once, for all IDs that have come to it."""
        steps: tuple[Callable[[], Awaitable[None]], ...] = (
            self._sent,
            self._overtaken,
            self._idle,
            self._not_named,
            self._not_in_checkpoint,
        )
        failed = None
        for step in steps:
            try:
                await step()
            except KubeletStateError as error:
                failed = failed or str(error)
        if failed and failed != self._said:  # once per change, not per round
            log.warning("release postponed reason=%r", failed)
        self._said = failed

    async def _sent(self) -> None:
        """a: where a device was Unhealthy before, its withdrawal changed nothing in the list: it is sent again."""
        for resource in set(self._node.at(Step.WITHDRAWN).values()):
            self._node.send_again(resource)

    async def _overtaken(self) -> None:
        """b: the kubelet offers just what the last list says, so it has taken that list."""
        waiting = self._node.at(Step.SENT)
        if not waiting:
            return
        began = self._node.moment()
        versions = {resource: self._node.feeds[resource].version for resource in set(waiting.values())}
        offered = await self._kubelet.allocatable()
        self._node.flush()  # which lists are the last ones
        for resource, version in versions.items():
            feed = self._node.feeds[resource]
            if feed.version == version and offered.get(resource, frozenset()) == feed.value.healthy:
                self._node.learn(Fact.OVERTAKEN, _of(waiting, resource), began)

    async def _idle(self) -> None:
        """c: a call can be on its way, and one that has come may not be answered yet."""
        waiting = self._node.at(Step.SEEN_BY_KUBELET)
        if not waiting:
            return
        began = self._node.moment()
        await asyncio.sleep(self._pace.grace_s)
        by = self._node.moment()
        if await self._until(lambda: not self._node.calls.has_one_from_before(by)):
            self._node.learn(Fact.IDLE, tuple(waiting), began)

    async def _not_named(self) -> None:
        """d: the checkpoint as it is names it for nobody, or List does not; also of what is awaited.

        Only while no calls come, so that what was just allocated is written down. Else d is put off: the admissions
        that the calls belong to prove as much.
        """
        self._put_off_s = self._lists.quiet_in_s
        if self._put_off_s:
            return
        began = self._node.moment()
        pod_entries = await self._read()
        named = named_in(pod_entries or ())
        if pod_entries is not None:
            self._node.learn(Fact.UNWRITTEN, self._node.ledger.keys() - named, began)
        if pod_entries is None or self._node.stale or self._ended_perhaps(named):
            await self._list(pod_entries or ())

    async def _read(self) -> tuple[CheckpointEntry, ...] | None:
        """Return what the checkpoint says; None where that is not known. Raises KubeletStateError where nobody does."""
        try:
            read = await self._kubelet.written()
        except KubeletStateError:
            if self._lists.allowed:
                return None
            raise
        return read.pod_entries if read else None

    def _ended_perhaps(self, named: Collection[PciAddress]) -> frozenset[PciAddress]:
        found = ended_perhaps(self._node.ledger, self._node.sought, self._have_open, named)
        if not self._lists.allowed and found - self._said_withheld:  # once for each
            vfs = ",".join(map(str, sorted(found)))
            log.warning("withheld until the kubelet admits another pod, as PodResources List is off vfs=%s", vfs)
        self._said_withheld = found
        return found

    async def _list(self, pod_entries: Collection[CheckpointEntry]) -> None:
        """d by List, which makes the kubelet forget pods that have ended."""
        if not self._lists.is_due:
            if self._lists.failure:
                raise self._lists.failure
            return
        began, calls = self._node.moment(), self._node.calls
        listed = await self._lists.list()
        named = {device for one in listed if is_ours(one.resource) for device in one.devices}
        self._named(named, Fact.NOT_IN_PODS, began)
        if self._node.calls == calls:
            self._holders.listed(pod_entries, listed)

    def _named(self, named: Collection[PciAddress], fact: Fact, began: int) -> None:
        self._node.learn(Fact.NAMED, named, began)
        self._node.learn(fact, self._node.ledger.keys() - named, began)

    async def _not_in_checkpoint(self) -> None:
        """e and f: with its list sent once more, the kubelet writes down what it knows now.

        Whatever checkpoint differs from the one before was written after List had ended, which is what counts.
        """
        # Also of those whose list was sent in an earlier round, after which no checkpoint came or none could be read.
        waiting = self._node.at(*REWRITING, *REREADING)
        resources = set(waiting.values()) | self._stale_resources()
        if not resources:
            return
        before = self._kubelet.identity()
        for resource in resources:
            self._node.send_again(resource)
        await self._until(lambda: not self._node.at(*REWRITING))
        if not await self._until(lambda: self._kubelet.identity() != before):
            return
        began = self._node.moment()
        read = await self._kubelet.written()
        if read is None:
            return
        self._node.written_down(read.pod_entries)
        self._named(named_in(read.pod_entries), Fact.NOT_IN_CHECKPOINT, began)

    def _stale_resources(self) -> set[str]:
        """Return whose list to send where old answers are in the way, as a new checkpoint tells when they are gone."""
        is_due = self._node.stale and not self._put_off_s
        return set(sorted(self._node.feeds)[:1]) if is_due else set()  # any list makes the kubelet write

    async def _until(self, done: Callable[[], bool]) -> bool:
        """Look until something is so; tell whether it came to be in time."""
        for _ in range(int(self._pace.write_s / self._pace.look_s)):
            if done():
                return True
            await asyncio.sleep(self._pace.look_s)
        return done()


def _of(waiting: Mapping[PciAddress, str], resource: str) -> list[PciAddress]:
    return [address for address, of in waiting.items() if of == resource]
