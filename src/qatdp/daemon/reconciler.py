"""Manage: keeps the node's PFs what the configuration says they should be, while pods run.

There is no state to be lost: what is to be done follows from the node, the ledger and the configuration at each moment
(core/provision/reconcile.py), so a daemon that was killed in the middle goes on where the node is.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from qatdp.core.config.spec import EMPTY_SPEC, ProvisionSpec, spec_for_node
from qatdp.core.model.pci import PciAddress
from qatdp.core.provision.cordon import Drain
from qatdp.core.provision.outcome import PfResult, Status, verified
from qatdp.core.provision.progress import progress
from qatdp.core.provision.reconcile import ReconcileInput, ReconcilePlan, repartition
from qatdp.daemon.settings import Managing
from qatdp.daemon.state import DeviceState
from qatdp.errors import ConfigError
from qatdp.host.pf.apply import configure
from qatdp.host.pf.locks import NODE_LOCK, Lock, LockedError, LockFolderError

log = logging.getLogger(__name__)

CONFIGURED = "configured pf=%s outcome=%s reason=%s message=%r"


@dataclass(frozen=True, slots=True)
class Backoff:
    """Why a PF is left alone for a while after its change has failed, until when, and for how long (seconds)."""

    why: str
    until_s: float
    length_s: float

    @property
    def ended(self) -> "Backoff":
        """Return it as over: the next one is as short as a first one."""
        return Backoff(self.why, 0.0, 0.0)


class PfReconciler:
    """Keeps PFs as they are desired. `look` returns after the node has been looked at again."""

    def __init__(self, node: DeviceState, managing: Managing, look: Callable[[], Awaitable[None]]) -> None:
        self._node, self._managing, self._look = node, managing, look
        self._rests: dict[PciAddress, Backoff] = {}  # of PFs whose last change has failed
        self._drain = Drain(EMPTY_SPEC)
        self._said: str | None = None  # why nothing is managed
        self._told: object = None  # what of the plan
        self._planned: tuple[ReconcileInput, ReconcilePlan] | None = (
            None  # a plan takes milliseconds, and seldom is another
        )

    async def run(self) -> None:
        """Manage until cancelled, for as long as nobody else does."""
        lock = await self._locked()
        try:
            while True:
                await self._step()
                await asyncio.sleep(self._managing.look_s)
        finally:
            self._node.change({}, sought=frozenset())
            self._node.progress = {}
            lock.close()

    async def _locked(self) -> Lock:
        """Wait until nobody else configures this node's PFs."""
        while True:
            try:
                return Lock(self._managing.site.locks, NODE_LOCK, self._managing.site.who)
            except LockedError as error:
                self._say("another process configures the PFs", str(error))
            except LockFolderError as error:
                self._say("cannot configure PFs", str(error))
            await asyncio.sleep(self._managing.lock_s)

    async def _step(self) -> None:
        """Do what is to be done now: let VFs leave, or configure PFs whose VFs have left."""
        if self._spec() != self._drain.spec:  # what failed did so for the one before
            self._rests = {pf: rest.ended for pf, rest in self._rests.items()}
        todo = self._todo()
        self._node.change(todo.changing, sought=todo.blocked)
        self._node.flush()  # no PF is written to whose VFs could still be offered
        self._tell(todo)
        self._watch_drains(todo)
        if todo.ready:
            spec = self._spec()
            outcomes = await configure(todo.ready, self._managing.site)
            await self._look()
            # Else what is still to be done is of another spec, which came meanwhile.
            self._learn(verified(outcomes, self._todo().plan) if self._spec() == spec else outcomes)

    def _todo(self) -> ReconcilePlan:
        now = self._situation()
        if self._planned is None or self._planned[0] != now:
            self._planned = now, repartition(now)
            self._node.progress = progress(self._planned[1], now, {pf: rest.why for pf, rest in self._rests.items()})
        return self._planned[1]

    def _situation(self) -> ReconcileInput:
        node, now_s = self._node, asyncio.get_running_loop().time()
        node.flush()
        return ReconcileInput(
            node.snapshot,
            node.config,
            self._spec(),
            node.ledger,
            node.claims(),
            changing=frozenset(node.changing),
            resting={pf for pf, rest in self._rests.items() if now_s < rest.until_s},
            given_back=self._drain.given_back(now_s),
            failed=frozenset(self._rests),
        )

    def _watch_drains(self, todo: ReconcilePlan) -> None:
        kept = [one.address for one in todo.plan.pfs if one.later]
        self._drain = self._drain.after(self._spec(), kept, todo.changing, asyncio.get_running_loop().time())

    def _spec(self) -> ProvisionSpec:
        try:
            spec = spec_for_node(self._node.config.provision, self._managing.node)
        except ConfigError as error:
            self._say("no PF is configured", str(error))
            return EMPTY_SPEC
        if spec is EMPTY_SPEC:
            self._say("no PF is configured", "no entry of provision matches this node")
        else:
            self._said = None
        return spec

    def _learn(self, outcomes: Iterable[PfResult]) -> None:
        now_s = asyncio.get_running_loop().time()
        for outcome in outcomes:
            level = logging.INFO if outcome.status is Status.CHANGED else logging.WARNING
            log.log(level, CONFIGURED, outcome.pf, outcome.status, _code(outcome), outcome.message)
            before = self._rests.pop(outcome.pf, None)
            if outcome.status is not Status.CHANGED:
                twice_s = before.length_s * 2 if before else 0.0
                length_s = min(twice_s or self._managing.first_rest_s, self._managing.longest_rest_s)
                why = outcome.message or str(outcome.status)
                self._rests[outcome.pf] = Backoff(why, now_s + length_s, length_s)

    # What people are told, once per change

    def _tell(self, todo: ReconcilePlan) -> None:
        waited = {one.address: one.why for one in todo.plan.pfs if one.later and one.why}
        said = (todo.changing, waited, todo.plan.unmet, todo.given_back)
        if said == self._told:
            return
        self._told = said
        for pf, goal in todo.changing.items():
            log.info("PF change scheduled pf=%s goal=%r", pf, goal)
        for pf, why in waited.items():
            given_back = " (cordon timed out)" if pf in todo.given_back else ""
            log.info("PF in use, change postponed%s pf=%s reason=%s message=%r", given_back, pf, why.reason, str(why))
        for reason in todo.plan.unmet:
            log.warning("provision cannot be satisfied reason=%r", reason)

    def _say(self, what: str, reason: str) -> None:
        if self._said != reason:
            log.warning("%s reason=%r", what, reason)
        self._said = reason


def _code(outcome: PfResult) -> str | None:
    return str(outcome.why.reason) if outcome.why else None
