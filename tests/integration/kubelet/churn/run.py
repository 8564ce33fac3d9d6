"""The churn itself: admits pods, opens and closes their VFs, ends them, and hands all of it to the tally."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ground.manager import FOLDER, POD_RESOURCES, DeviceManager, TimedAdmission
from ground.pods import Container, Pod

from churn.lives import Ages, Life, lives
from churn.looking import looking
from churn.site import CY, Daemon, MadeNode
from churn.tally import NONE_LEFT, Tally, User, near_calls, quantile
from qatdp.simulator.host.kernel import FakeKernel
from qatdp.simulator.kubelet.answers import RefusedError

START_S = 60.0
LOOK_S = 0.1
TEXTS = 5
RECENT = 50  # admissions
SLACK = 1.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. It ends after so many seconds, or so many admissions where that is not 0.

    `status`, `metrics`: clients of these pages, the one without pause, the other each second. `devices_every_s`:
    between two runs of `qatdp devices`; 0 for none. `lists_per_s`: of another agent's calls of List. `move_every_s`:
    between two changes of the configuration, which let half of the PFs' VFs go to another resource, or back; 0: none.
    `repartition`: these PFs get other services by that, for which the daemon takes their VFs away and makes them again.
    """

    seed: int
    seconds: float = 60.0
    admissions: int = 0
    vfs: int = 16
    status: int = 0
    metrics: int = 0
    devices_every_s: float = 0.0
    lists_per_s: float = 0.0
    move_every_s: float = 0.0
    repartition: bool = False
    ages: Ages = field(default_factory=Ages)


class Churn:
    """One run. `folder` is for files of the node, and sockets: its path has to be short."""

    def __init__(self, plan: Plan, binary: Path, folder: Path, manager_log: Path) -> None:
        self.plan, self.tally = plan, Tally(moving=plan.move_every_s > 0)
        self._own = folder / "pod-resources/kubelet.sock"  # on which only the daemon calls
        self._manager = DeviceManager(binary, manager_log, verbosity=0, pod_resources_also=self._own)
        self._node = MadeNode(folder, plan.vfs)
        self._kernel = FakeKernel(self._node.host, folder)
        child = self._kernel.child if plan.repartition else ()
        self._daemon = Daemon(
            folder,
            self._node,
            FOLDER,
            pod_resources=self._own.parent,
            log_file=manager_log.with_suffix(".qatdp.log"),
            child=child,
        )
        self._configure = self._node.provision if plan.repartition else self._node.configure
        self._lives: Iterator[Life] = lives(plan.seed, plan.ages)
        self._pods = 0  # that were asked for and have not ended
        self._allocatable = 0
        self._changed = asyncio.Event()
        self._lists_s: dict[Path, list[float]] = {self._own: [], POD_RESOURCES: []}
        self._durations_s: list[float] = []
        self._failed_starts = self._vanished = 0
        self._living: list[int] = []  # at each admission
        self._clients: dict[str, Any] = {}
        self._devices = 0

    async def run(self) -> dict[str, Any]:
        """Let pods come and go, and return what came of it."""
        async with AsyncExitStack() as stack:
            stack.enter_context(self._kernel)
            self._configure(self._node.pfs)
            ready = await stack.enter_async_context(self._running_manager())
            await stack.enter_async_context(self._daemon)
            await self._wait_for_offer()
            at_start = len(self._lists_s[self._own])
            began_s = time.monotonic()
            async with self._looking_clients(), asyncio.TaskGroup() as group:
                helpers = [group.create_task(one) for one in self._helpers()]
                await self._admit_pods(group)
                for helper in helpers:
                    helper.cancel()
            took_s = time.monotonic() - began_s
            await self._look()
            assert self._daemon.status() is None, f"the daemon has ended with status {self._daemon.status()}"
        return {**self._result(took_s), "lists_by_daemon_at_start": at_start, "kubernetes": ready}

    @asynccontextmanager
    async def _running_manager(self) -> AsyncIterator[str]:
        ready = await self._manager.start()
        try:
            yield ready.kubernetes
        finally:
            await self._manager.kill()

    async def _wait_for_offer(self) -> None:
        async with asyncio.timeout(START_S):
            while self._allocatable < self.plan.vfs:
                await asyncio.sleep(LOOK_S)
                await self._look()

    async def _look(self) -> None:
        """Learn what can be handed out, as a scheduler would, and who called List."""
        counts = (await self._manager.capacity()).resources.get(CY)
        self._allocatable = counts.allocatable if counts else 0
        self._changed.set()
        for socket, times_s in (await self._manager.lists()).items():
            self._lists_s[socket].extend(times_s)

    # Pods

    async def _admit_pods(self, group: asyncio.TaskGroup) -> None:
        """Admit one as soon as there is room, until it is over; then wait until all have ended."""
        end_s = time.monotonic() + self.plan.seconds
        pods: set[asyncio.Task[None]] = set()
        while time.monotonic() < end_s and not 0 < self.plan.admissions <= self.tally.admitted:
            life = next(self._lives)
            while self._pods >= self._allocatable - life.leaves_one_free and time.monotonic() < end_s:
                self._changed.clear()
                await asyncio.wait_for(self._changed.wait(), START_S)
            self._pods += 1
            pod = group.create_task(self._live(life))
            pods.add(pod)
            pod.add_done_callback(pods.discard)
        for pod in tuple(pods):
            await pod

    async def _live(self, life: Life) -> None:
        pod = Pod(f"pod-{life.number}", (Container(limits={CY: 1}),), uid=str(uuid.UUID(int=life.number + 1)))
        timed = await self._manager.admit_timed(pod)
        self._durations_s.append(timed.ended_s - timed.began_s)
        self._living.append(self._pods)
        if not timed.admission.admitted:
            self._refused(timed)
            return
        (user,) = self.tally.given(pod.name, timed.admission.ids, timed.began_s, timed.ended_s)
        user.forced = life.forced
        lives_s = life.long_s if life.long_s is not None else life.short_share * self._short_s()
        for after_s, step in sorted(self._steps(life, lives_s)):
            await _sleep_until(timed.ended_s + after_s)
            await (self._open(user) if step == "open" else self._restart(pod))
        await _sleep_until(timed.ended_s + lives_s)
        await self._end(pod, user, life)

    def _refused(self, timed: TimedAdmission) -> None:
        error = timed.admission.error or ""
        if NONE_LEFT in error:
            self._allocatable = 0  # until the next look: a scheduler would not go on trying
        self._left()
        self.tally.refused(error, timed.began_s, timed.ended_s)

    def _short_s(self) -> float:
        """Return what short lives last at the mean: longer where admissions are slow, or too few pods would live."""
        recent_s = self._durations_s[-RECENT:]
        return max(self.plan.ages.short_s, SLACK * self.plan.vfs * sum(recent_s) / max(len(recent_s), 1))

    @staticmethod
    def _steps(life: Life, lives_s: float) -> Iterator[tuple[float, str]]:
        if life.open_after_s < lives_s:
            yield life.open_after_s, "open"
        if life.restart_share is not None:
            yield life.restart_share * lives_s, "restart"

    async def _open(self, user: User) -> None:
        if self._set_open(user, is_open=True):
            self.tally.opened(user, time.monotonic())

    async def _restart(self, pod: Pod) -> None:
        self.tally.restarts += 1
        try:
            await self._manager.options(pod)
        except RefusedError:
            self._failed_starts += 1

    async def _end(self, pod: Pod, user: User, life: Life) -> None:
        """Let it be active no more; its VF is closed a while later."""
        user.ended_s = time.monotonic()
        self._left()
        await self._manager.delete(pod)
        await asyncio.sleep(life.close_after_s)
        user.closed_s = time.monotonic()
        if user.opened_s is not None and not self.tally.is_open(user.vf):
            self._set_open(user, is_open=False)

    def _set_open(self, user: User, *, is_open: bool) -> bool:
        """Return whether it could be done: a VF that somebody holds should be there."""
        try:
            self._node.set_open(user.vf, is_open=is_open)
        except FileNotFoundError:
            self._vanished += 1
            return False
        return True

    def _left(self) -> None:
        self._pods -= 1
        self._changed.set()

    # What else goes on

    def _helpers(self) -> Iterator[Any]:
        yield self._keep_looking()
        if self.plan.devices_every_s:
            yield self._list_devices()
        if self.plan.move_every_s:
            yield self._move()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self._look()

    async def _list_devices(self) -> None:
        while True:
            await asyncio.sleep(self.plan.devices_every_s)
            self._devices += await self._daemon.list_devices()

    async def _move(self) -> None:
        """Give the second half of the PFs to another resource, and back."""
        half = self._node.pfs[: len(self._node.pfs) // 2]
        while True:
            for pfs in (half, self._node.pfs):
                await asyncio.sleep(self.plan.move_every_s)
                self._configure(pfs)

    @asynccontextmanager
    async def _looking_clients(self) -> AsyncIterator[None]:
        plan = self.plan
        words = ("--socket", self._daemon.socket, "--status", plan.status, "--port", self._daemon.port)
        more = ("--metrics", plan.metrics, "--agent", POD_RESOURCES, "--lists-per-s", plan.lists_per_s)
        async with looking(*words, *more) as answered:
            yield
        self._clients = answered

    # What came of it

    def _result(self, took_s: float) -> dict[str, Any]:
        tally, own_s = self.tally, self._lists_s[self._own]
        return {
            "seed": self.plan.seed,
            "seconds": round(took_s, 1),
            "admissions": tally.admitted,
            "pods_at_admission": round(sum(self._living) / max(len(self._living), 1), 1),
            "restarts": tally.restarts,
            "failed_starts": self._failed_starts,
            "vfs_gone_while_held": self._vanished,
            "lists_by_daemon": len(own_s),
            "lists_by_daemon_near_calls": near_calls(own_s, tally.calls),
            "lists_by_agent": len(self._lists_s[POD_RESOURCES]),
            "double_bookings": tally.double_bookings,
            "double_booking_gap_ms": _quantiles_ms(tally.gaps_s),
            "given_again_within_2_s": tally.again_soon,
            "open_in_two_living_pods": tally.open_in_two,
            "given_while_open": dict(tally.given_open),
            "opened_beside": dict(tally.opened_by_two),
            "refused": dict(tally.refusals),
            "innocent": tally.innocent,
            "innocent_by_plugin": tally.innocent_by_plugin,
            "absences_s": [round(to_s - from_s, 3) for from_s, to_s in tally.absences_s],
            "refusal_texts": dict(tally.texts.most_common(TEXTS)),
            "admission_ms": _quantiles_ms(self._durations_s),
            "clients": self._clients,
            "devices_runs": self._devices,
            "plan": asdict(self.plan),
            "examples": tally.examples,
            "repartitions": self._daemon.log().count("outcome=Changed"),
            "warnings": self._daemon.logged(),
        }


async def _sleep_until(at_s: float) -> None:
    await asyncio.sleep(max(0.0, at_s - time.monotonic()))


def _quantiles_ms(values_s: Sequence[float]) -> dict[str, float]:
    shares = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    return {name: round(1e3 * quantile(values_s, share), 2) for name, share in shares}
