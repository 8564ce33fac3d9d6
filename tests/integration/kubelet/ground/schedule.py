"""A schedule: what happens to a node, its kubelet, its pods and its configuration, and when, as a seed has it.

The seed decides what is done and in which order the gates open. How the processes run meanwhile it does not decide, so
a schedule that failed may have to be run some times to fail again.

One thing that can happen on a node is left out: no pod ends while another one is being admitted. A PodResources List
that comes then makes the kubelet itself give a device twice (test_schedules.py shows it), whatever qatdp does.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from ground.changes import Changes
from ground.invariants import Invariants
from ground.pods import Container, Pod
from ground.shuffler import Shuffler
from ground.stage import Stage
from ground.waiting import now_s, pause, until, until_equal

ACTIONS = 25
LONGEST_PAUSE_S = 0.04
GRACE_S = 0.15
LONGEST_S = 0.4 * GRACE_S  # at one gate: see shuffler.py
SAMPLE_S = 0.01

VFS = 3
SERVICES = ("sym;asym", "dc")  # of the PFs
BASE = "version: 1\n"
FINALLY_S = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a schedule. `void`: the machine was slower than the contract allows, so it proves nothing."""

    seed: int
    violations: tuple[str, ...]
    void: bool
    trace: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join((f"SEED={self.seed}", *self.violations, "what was done, and what passed:", *self.trace))


class Schedule:
    """One run of one seed, on a stage on which nothing runs yet.

    It ends with the first thing that is not as it must be, or `to_the_end`: with its last action, or with a crash.
    """

    def __init__(self, stage: Stage, seed: int, *, to_the_end: bool = False) -> None:
        self._stage, self._seed, self._chance = stage, seed, random.Random(seed)
        self._to_the_end = to_the_end
        pace = replace(stage.settings.pace, grace_s=GRACE_S)
        stage.settings = replace(stage.settings, pace=pace, scan_period_s=0.05)
        stage.configure(BASE)
        self._pfs = stage.host.fill(pfs=len(SERVICES), vfs=VFS)
        self._changes = Changes(stage.host, self._pfs, VFS, self._chance)
        self._shuffler = Shuffler(random.Random(seed), LONGEST_S)
        self._invariants = Invariants(stage)
        self._admission: asyncio.Task[None] | None = None
        self._pods = 0
        self._begun_s = now_s()
        self._done: list[tuple[float, str]] = []

    async def run(self) -> Outcome:
        """Run it, and return what became of it."""
        gates = self._stage.gates
        gates.watchers += [self._shuffler.watch, self._invariants.watch]
        async with self._stage:
            gates.keepers.append(self._shuffler)
            helpers = [asyncio.create_task(work) for work in (self._shuffler.run(), self._sample())]
            try:
                await self._act_all()
            finally:
                gates.keepers.remove(self._shuffler)
                for helper in helpers:
                    helper.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)
                self._shuffler.open_all()
            await self._admitted()
            crash = self._stage.kubelet.crashed()
            if crash:
                self._invariants.violations.append(f"the kubelet crashed: {crash[:2000]}")
            if not self._invariants.violations:
                await self._come_to_rest()
        return self._outcome()

    def _outcome(self) -> Outcome:
        violations = tuple(dict.fromkeys(self._invariants.violations))
        passed = [(passage.went_s, f"    {passage}") for passage in self._stage.gates.passed] if violations else []
        trace = tuple(f"{at_s - self._begun_s:.3f} {what}" for at_s, what in sorted([*self._done, *passed]))
        return Outcome(self._seed, violations, self._shuffler.slowest_s >= GRACE_S, trace)

    async def _act_all(self) -> None:
        actions: dict[Callable[[], Awaitable[str]], int] = {
            self._admit: 7,
            self._end: 4,
            self._change_node: 5,
            self._configure: 4,
            self._restart_kubelet: 1,
            self._restart_daemon: 1,
        }
        for act in self._chance.choices([*actions], [*actions.values()], k=ACTIONS):
            if self._stage.kubelet.crashed() or (self._invariants.violations and not self._to_the_end):
                return
            try:
                self._say(await act())
            except RuntimeError:
                if not self._stage.kubelet.crashed():
                    raise
                return
            await pause(self._chance.uniform(0, LONGEST_PAUSE_S))

    def _say(self, what: str) -> None:
        self._done.append((now_s(), what))

    async def _sample(self) -> None:
        """Look again and again at what the kubelet would hand out."""
        while True:
            with contextlib.suppress(RuntimeError):  # it does not run now
                self._invariants.check_offers((await self._stage.kubelet.capacity()).healthy)
            await pause(SAMPLE_S)

    # Pods

    async def _admit(self) -> str:
        """Begin to admit a pod, which goes on beside what is done next."""
        await self._admitted()
        resources = sorted(self._stage.node.pools.pools)
        if not resources:
            return "there is nothing to ask for"
        self._pods += 1
        pod = self._pod(f"pod{self._pods}", self._chance.choices(resources, k=2))
        self._admission = asyncio.create_task(self._admit_one(pod))
        return f"{pod.name} comes: {[(one.name, dict(one.limits)) for one in (*pod.init, *pod.containers)]}"

    def _pod(self, name: str, resources: list[str]) -> Pod:
        first, second = resources
        one, two = Container(limits={first: self._chance.randint(1, 2)}), {first: 1, second: 1}
        shapes = (
            Pod(name, (one,)),
            Pod(name, (Container(limits=two),)),
            Pod(name, (Container(),), init=(replace(one, name="init"),)),
            Pod(name, (Container(),), init=(replace(one, name="sidecar", restartable=True),)),
            Pod(name, (one,), init=(replace(one, name="init"),)),
            Pod(name, (one, Container("other", {second: 1}))),
        )
        return self._chance.choice(shapes)

    async def _admit_one(self, pod: Pod) -> None:
        try:
            admission = await self._stage.admit(pod)
        except RuntimeError:
            self._invariants.admission_ended(pod, None)
            self._say(f"{pod.name} was lost with its kubelet")
            return
        self._invariants.admission_ended(pod, admission)
        self._say(f"{pod.name} has {sorted(admission.ids)}" if admission.admitted else f"{pod.name}: {admission.error}")

    async def _admitted(self) -> None:
        """Wait until no pod is being admitted."""
        if self._admission:
            await self._admission
            self._admission = None

    async def _end(self) -> str:
        await self._admitted()
        if not self._stage.pods:
            return "there is no pod to end"
        pod, _ = self._chance.choice([*self._stage.pods.values()])
        await self._stage.end(pod)
        return f"{pod.name} has ended"

    # The others

    async def _change_node(self) -> str:
        return self._changes.one()

    async def _configure(self) -> str:
        text = self._configuration()
        self._stage.configure(text)
        return "configured: " + " ".join(text.split())

    def _configuration(self) -> str:
        """Return one that renames, limits or deselects what others do not."""
        lines = []
        for services, names in (("[sym, asym]", ("cy", "fast")), ("[dc]", ("dc", "zip"))):
            if self._chance.random() < 0.2:
                continue
            lines += [f"  - name: {self._chance.choice(names)}", f"    services: {services}"]
            if self._chance.random() < 0.4:
                lines.append(f"    limit: {self._chance.randint(0, 2)}")
            if self._chance.random() < 0.3:
                lines.append(f'    pfs: ["{self._chance.choice(self._pfs)}"]')
        return "\n".join(("version: 1", "resources:", *lines)) + "\n" if lines else BASE

    async def _restart_kubelet(self) -> str:
        kill = self._chance.random() < 0.5
        await self._stage.end_kubelet(kill=kill)
        await self._admitted()
        # A pod is refused, for one, whose VF has vanished: a daemon that starts after that cannot know the NUMA node.
        await self._stage.start_kubelet(pods_after_s=self._chance.choice((0, 0.1)), may_refuse=True)
        return f"the kubelet was {'killed' if kill else 'stopped'} and started again"

    async def _restart_daemon(self) -> str:
        """A daemon takes longer to start than what its forerunner has answered takes to arrive."""
        await self._admitted()
        await self._stage.end_daemon()
        await pause(GRACE_S)
        await self._stage.start_daemon()
        await until("it has begun", lambda: self._stage.node.snapshot.pfs, timeout_s=FINALLY_S)
        return "qatdp was stopped and started again"

    async def _come_to_rest(self) -> None:
        """End all that was begun; then the kubelet must offer all that there is."""
        for pod, _ in tuple(self._stage.pods.values()):
            await self._stage.end(pod)
        self._changes.restore(SERVICES)
        self._stage.configure(BASE)
        self._say("all that was begun is ended")
        try:
            await until_equal("all is offered", self._stage.offered, self._changes.there_is(), timeout_s=FINALLY_S)
        except AssertionError as error:
            self._invariants.violations.append(f"at the end: {error}")
